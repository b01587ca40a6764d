"""Training experts on real images, and recording their weights at every timestep.

As in MTT, experts are trained by SGD on shuffled batches with the cross-entropy loss, and each batch is
augmented with one family of transformations. Recorders always copy weights. MTT's script records
`p.detach().cpu()`, which is not a copy on a CPU, so it then stores the same weights for all timesteps.

References:
    MTT's `buffer.py`.
"""

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

import trajfmt
from mct.data.augment import augmentation
from mct.data.datasets import Dataset
from mct.data.difficulty import Order
from mct.errors import ConfigError, CorruptError, DivergedError
from mct.events import ExpertContinued, ExpertDone, ExpertEpoch
from mct.experts.curriculum import passes
from mct.experts.pupil import Keeping, Pupil
from mct.experts.recording import ExpertRecorder
from mct.experts.starts import Start
from mct.experts.states import Saved
from mct.inner.steps.step import Notes
from mct.inner.steps.table import choose
from mct.models import networks
from mct.runtime.interruption import Guard
from mct.runtime.seeds import generator
from mct.settings.config import Engine
from mct.settings.expert import ExpertConfig
from mct.training.jobs import JobPool
from mct.training.learners import is_random, learners
from mct.training.loader import Loader
from mct.training.sharpness import Sharpness


class Store(Protocol):
    """Stores recorded experts."""

    @property
    def finished(self) -> int:
        """Number of stored experts."""
        ...

    def recorder(self) -> ExpertRecorder:
        """Return an empty recorder for the next expert."""
        ...

    def keep(self, recorder: ExpertRecorder, /) -> None:
        """Store a recorded expert."""
        ...


Event = ExpertEpoch | ExpertDone | ExpertContinued


def train_experts(
    dataset: Dataset,
    model: trajfmt.Model,
    config: ExpertConfig,
    store: Store,
    *,
    numbers: Sequence[int] | None = None,
    order: Order | None = None,
    start: Start | None = None,
    device: str | torch.device = "cpu",
    engine: Engine = "auto",
    at_once: int = 1,
    keeping: Callable[[int], Keeping] | None = None,
    notes: Notes | None = None,
) -> Iterator[Event]:
    """Train experts, in groups of `at_once`, and store them in the order of their numbers.

    Args:
        dataset: The real dataset.
        model: The network.
        config: Settings of expert training.
        store: Receives the recorded experts. Their timesteps are `(P,)` float32, and timestep 0 is the
            beginning.
        numbers: Numbers of the experts; None: those that are not in the store yet, up to `config.experts`.
        order: The images of each class by difficulty, for a `curriculum`; None without one.
        start: Returns the network from which an expert starts; None: a fresh one. It is not called for an
            expert that continues from a saved state.
        device: Device on which experts are trained. The images are copied to it once.
        engine: How updates are computed. `auto` decides by the number of updates of one expert, so that an
            expert does not depend on the number of experts.
        at_once: Number of experts that are trained at the same time. It affects time and memory, but not the
            experts. On a CPU, each expert has its own Python thread, and its operations use all of torch's
            threads, so set `OMP_NUM_THREADS` to the number of cores for one expert.
        keeping: Returns where the state of the expert with this number is saved while it is trained, and how
            often. Training continues from a saved state, and on a CPU has the same result bit for bit. The
            caller removes a state when the expert is stored. None: nothing is saved.
        notes: Called with each note for the user.

    Yields:
        The start of every expert that continues from a saved state, every epoch of every expert, and the end
        of every expert.

    Raises:
        ConfigError: If the settings have a curriculum and there is no order, or the other way round.
        DivergedError: If a loss is not finite. The experts of earlier groups are stored.
        ExistsError: If a saved state belongs to a run with other settings.
    """
    here, place = dataset.to(device), torch.device(device)
    loader = Loader(
        here.train_images,
        here.train_labels,
        classes=model.classes,
        size=config.batch_size,
        augment=augmentation(config.augment),
        passes=_passes(config, order),
    )
    way = choose(engine, loader.updates(config.epochs), model, place)
    chosen = range(store.finished, config.experts) if numbers is None else numbers
    for first in range(0, len(chosen), at_once):
        group = chosen[first : first + at_once]
        randoms = [generator(config.seed, "expert", number) for number in group]
        started = [networks.build(model, generator=random, device=place).train() for random in randoms]
        kept = [None if keeping is None else keeping(number) for number in group]
        states = [_saved(each, notes) for each in kept]
        if start is not None:
            for index, number in enumerate(group):
                if states[index] is None:
                    started[index] = start(number).train()
        pool = JobPool.alone(place)
        if not is_random(started[0]):
            pool.at_once = at_once
        ways = learners(
            started,
            model,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            engine=way,
            sharpness=Sharpness(config.sharpness, config.surrogate_gap) if config.sharpness else None,
            shapes=loader.shapes,
            notes=notes,
        )
        guard, pupils = Guard(), list[Pupil]()
        for number, learner, random, where, saved in zip(group, ways, randoms, kept, states, strict=True):
            pupils.append(
                Pupil(
                    number, learner, loader, config, random, store.recorder(),
                    guard=guard, keeping=where, saved=saved,
                )
            )  # fmt: skip
        yield from (pupil.continued() for pupil in pupils if pupil.resumed)
        done = []
        with _saved_at_the_end(pupils):
            yield from _epochs(pupils, config, pool, guard)
            with contextlib.closing(pool.run([pupil.test(here) for pupil in pupils])) as ended:
                done = [pupils[index].finish() for index in ended]
        for pupil in pupils:
            store.keep(pupil.recorder)
        yield from done


def _passes(config: ExpertConfig, order: Order | None) -> list[Tensor] | None:
    """Return the images of every epoch; None if all epochs pass over all images."""
    if (config.curriculum is None) != (order is None):
        given = "no order" if order is None else "an order"
        raise ConfigError(
            f"`curriculum` is {config.curriculum}, but {given} of the images by difficulty is given"
        )
    return None if order is None else passes(order, config.epochs)


def _epochs(
    pupils: Sequence[Pupil], config: ExpertConfig, pool: JobPool, guard: Guard
) -> Iterator[ExpertEpoch]:
    """Train experts at once to their ends, and yield their epochs."""
    for epoch in range(config.epochs):
        behind = [pupil for pupil in pupils if pupil.epochs == epoch]
        with contextlib.closing(pool.run([pupil.epoch() for pupil in behind])) as ended:
            while (index := _next(ended, guard)) is not None:
                yield behind[index].examine()


@contextlib.contextmanager
def _saved_at_the_end(pupils: Sequence[Pupil]) -> Iterator[None]:
    """Save the states of experts if the block ends early. Experts that diverge are not to be continued."""
    try:
        yield
    except DivergedError:
        for pupil in pupils:
            pupil.forget()
        raise
    except BaseException:
        with Guard(), contextlib.suppress(OSError):  # the disk may be full, and that is the error
            for pupil in pupils:
                pupil.interrupted()
        raise


def _next(ended: Generator[int, None, None], guard: Guard) -> int | None:
    """Return the next job that is done; None if all are. A signal is raised between two updates."""
    with guard:
        return next(ended, None)


def _saved(kept: Keeping | None, notes: Notes | None) -> Saved | None:
    """Return the saved state of an expert; None if there is none that can be used, which a note says."""
    try:
        return None if kept is None else kept.file.load()
    except CorruptError as exc:
        if notes is not None:
            notes(f"{exc}; this expert is trained from its beginning")
        return None

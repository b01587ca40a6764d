"""A run that trains experts and writes their trajectories to a bundle or to MTT's replay buffers.

An interrupted run can be resumed with the same settings, and continues after the finished experts. The
identity of a `Job` ensures that the settings are the same. `mct.experts.train` trains experts, and
`mct.experts.distributed` divides them between processes. Independent processes, such as the jobs of an array,
train `only` some experts each, into parts (`mct.experts.parts`) that a run of all experts collects.
"""

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

import trajfmt
from mct.data.datasets import Dataset, load
from mct.data.record import UNIT_ZCA
from mct.errors import ConfigError, ExistsError
from mct.events import ExpertsFound
from mct.experts import difficulty, recording
from mct.experts.distributed import Train, train_distributed, train_parts
from mct.experts.job import Job, buffer_folder, job_of, require_possible, require_told_by_buffers
from mct.experts.parts import Parts, parts_folder
from mct.experts.recording import BufferStore, BundleStore
from mct.experts.starts import Starts
from mct.experts.states import ExpertFile, saved_in
from mct.experts.train import Event, train_experts
from mct.inner.steps.step import Notes
from mct.models import networks
from mct.runtime import tensorfile
from mct.runtime.devices import device_of
from mct.runtime.ranks import Alone, Ranks, from_first, together
from mct.settings import defaults
from mct.settings.config import Engine
from mct.settings.expert import ExpertConfig
from mct.trajectories.provenance import parse_preprocessing


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertRun:
    """A run that trains experts, with checked inputs. Create it with `prepare`, and run it with `events`."""

    dataset: Dataset
    """The real dataset."""

    model: trajfmt.Model
    """The network."""

    config: ExpertConfig
    """Settings of expert training."""

    path: Path
    """Destination: a bundle (`.mct` for convex, `.mtt` for full), or a folder of replay buffers."""

    device: torch.device
    """Device on which experts are trained."""

    knots: tuple[int, ...] = ()
    """Timesteps of inserted waypoints, for a `.mct` bundle."""

    smooth: bool = False
    """Whether to average inserted waypoints with their neighbours, for a `.mct` bundle."""

    average: int = 1
    """Number of timesteps of which every knot but the first is the mean, for a `.mct` bundle."""

    engine: Engine = "auto"
    """How updates of the experts are computed."""

    at_once: int = 1
    """Number of experts that are trained at the same time in each process."""

    notes: Notes | None = None
    """Called with each note for the user."""

    ranks: Ranks = field(default_factory=Alone)
    """The processes that share the experts."""

    only: tuple[int, ...] | None = None
    """Numbers of the experts to train, each into a part of its own; None for all, into the destination."""

    order_from: difficulty.Difficulty | None = None
    """Where the order of the images comes from, for a curriculum."""

    starts: Starts | None = None
    """The distilled images that experts start from; None if they start at random."""

    save_every: float | None = 300.0
    """Seconds of training after which the state of an expert is saved; None for never."""

    @classmethod
    def prepare(
        cls,
        dataset: str,
        out: Path,
        *,
        model: str | None = None,
        preprocessing: str | None = None,
        root: Path | None = None,
        image_size: int | None = None,
        limit: int | None = None,
        knots: Sequence[int] = (),
        smooth: bool = False,
        average: int = 1,
        device: str = "cpu",
        engine: Engine = "auto",
        at_once: int = 1,
        notes: Notes | None = None,
        ranks: Ranks | None = None,
        only: Sequence[int] | None = None,
        save_every: float | None = 300.0,
        scores: str | Path | None = None,
        scores_from: str | Path | None = None,
        start_from: Path | None = None,
        **settings: Any,
    ) -> "ExpertRun":
        """Load a dataset, and check the model, the settings and the destination.

        Args:
            dataset: Name or path of a dataset, see `mct.data.datasets.load`.
            out: A bundle with the suffix `.mct` or `.mtt`, or a folder for replay buffers, see
                `buffer_folder`.
            model: Name of the network, such as ConvNetD3W128; None for the default of the dataset.
            preprocessing: `none`, `normalize` or `zca`; None for `normalize`.
            root: Folder of the files of datasets; None for the default.
            image_size: Size in pixels to which the images of a folder are scaled; None to leave them.
            limit: Train on the first images of each class, as many as this; None to train on all. The
                recipe of a bundle records it.
            knots: Timesteps of inserted waypoints, for a `.mct` bundle.
            smooth: Whether to average inserted waypoints with their neighbours, for a `.mct` bundle.
            average: Number of timesteps of which every knot but the first is the mean, for a `.mct` bundle.
            device: Device on which experts are trained.
            engine: How updates are computed, see `mct.experts.train.train_experts`.
            at_once: Number of experts that are trained at the same time in each process.
            notes: Called with each note for the user.
            ranks: The processes that share the experts, all of which must make this call; None for this
                process alone.
            only: Numbers of the experts to train, in increasing order, each into a bundle of its own in the
                folder `parts`; None for all, into `out`, which collects finished parts.
            save_every: Seconds of training after which the state of an expert is saved, so that a run that
                is killed continues within it; 0 for after every update, None for never.
            scores: Difficulty of the training images, for a `curriculum`: a file, see
                `mct.data.difficulty.read`, or `el2n`, which is computed with the experts of `scores_from`.
            scores_from: The bundle of these experts.
            start_from: Distilled images, the folder of a run or its file: every expert starts from a network
                that was trained on them, as `mct.experts.starts` explains; None: from a fresh network.
            **settings: Fields of `ExpertConfig`. A field that is None or not given has its default for the
                dataset.

        Raises:
            ConfigError: If a setting is invalid.
            DataError: If the dataset cannot be loaded.
            ExistsError: If the destination exists.
        """
        if (knots or smooth or average != 1) and out.suffix != ".mct":
            raise ConfigError(
                "`knots`, `smooth` and `average` require a bundle of convexified trajectories, --out NAME.mct"
            )
        difficulty.check(settings.get("curriculum"), scores, scores_from)
        if at_once < 1:
            raise ConfigError(f"`at_once` must be >= 1, got {at_once}")
        if save_every is not None and not 0 <= save_every < math.inf:
            raise ConfigError(f"`save_every` must be a finite number of seconds >= 0, got {save_every}")
        if recording.is_bundle(out) and out.exists():
            raise ExistsError(f"{out} exists; use another --out, or remove it")
        if preprocessing == UNIT_ZCA:
            raise ConfigError(
                "`preprocessing` unit-zca cannot be recorded in a bundle; use none, normalize or zca"
            )
        here = device_of(device)
        real = load(
            dataset,
            preprocessing=parse_preprocessing(preprocessing or "normalize"),
            root=root,
            image_size=image_size,
        )
        if limit is not None:
            real = real.limited(limit)
        if notes is not None:
            for line in real.notes:
                notes(line)
        name = defaults.MODELS.get(real.name, "ConvNet") if model is None else model
        network = networks.parse(
            name, channels=real.channels, image_size=real.image_size, classes=real.classes
        )
        config = defaults.expert_config(real.name, **settings)
        if not recording.is_bundle(out):
            require_told_by_buffers(real, config)
        path = out if recording.is_bundle(out) else buffer_folder(out, real, network)
        require_possible(config, len(real.train_labels), only=only, knots=knots, average=average)
        hard = difficulty.chosen(
            real,
            scores=scores,
            scores_from=scores_from,
            name=dataset,
            root=root,
            preprocessing=preprocessing,
            model=model,
            device=here,
        )
        return cls(
            dataset=real,
            model=network,
            config=config,
            path=path,
            device=here,
            knots=tuple(knots),
            smooth=smooth,
            average=average,
            engine=engine,
            at_once=at_once,
            notes=notes,
            ranks=ranks or Alone(),
            only=None if only is None else tuple(only),
            save_every=save_every,
            order_from=hard,
            starts=None if start_from is None else Starts.prepare(start_from, real, network),
        )

    @property
    def parts(self) -> Path:
        """Folder of the bundles that `only` writes, one for each expert."""
        return parts_folder(self.path)

    @property
    def saved(self) -> list[int]:
        """Numbers of the experts in training that have a saved state."""
        return saved_in(self.path.parent, self.path.name) + saved_in(self.parts)

    def missing(self) -> list[int]:
        """Return the numbers of the experts (of `only`) that have no finished part.

        Raises:
            ExistsError: If the folder of the parts belongs to a run with other settings.
        """
        numbers = range(self.config.experts) if self.only is None else self.only
        return Parts(self.path, self._job(), self.config.experts).missing(numbers)

    def events(self) -> Generator[Event | ExpertsFound, None, None]:
        """Train all experts that are not stored yet, and store them.

        A bundle appears when all experts are finished, and replay buffer files as soon as they are complete.
        With `only`, and where there are parts already, experts are trained into parts, which a run of all
        experts then collects. If the loop ends early, for whatever reason, finished experts are stored, the
        state of experts in training is saved, and a later run with the same settings continues from both.
        Only rank 0 writes to the destination. Others yield only the epochs of the experts that they train.

        Raises:
            ExistsError: If the destination contains something else, or other processes train some experts.
            OSError: If the experts cannot be written, or would not fit on the disk.
            MctError: If training fails.
        """
        with tensorfile.explained(self.path, "finished experts are kept; the same command continues"):
            job = self._job()
            (apart,) = from_first(self.ranks, [self.only is not None or self.parts.exists()])
            yield from self._in_parts(job) if apart else self._in_order(job)

    def _in_order(self, job: Job) -> Iterator[Event | ExpertsFound]:
        """Train experts into the destination."""
        with together(self.ranks):
            store = self._store(job) if self.ranks.rank == 0 else None
        with recording.released(store):
            if store is not None and store.finished:
                yield ExpertsFound(count=min(store.finished, self.config.experts))
            yield from train_distributed(
                self.config,
                store,
                train=self._trainer(),
                recorder=lambda: recording.recorder_for(self.path, job),
                file=lambda number: ExpertFile(self.path, number, job.identity),
                save_every=self.save_every if self.path.absolute().parent.is_dir() else None,
                ranks=self.ranks,
                at_once=self.at_once,
            )
            if store is not None:
                store.publish()
        for number in saved_in(self.path.parent, self.path.name):  # e.g. on another disk than that of rank 0
            ExpertFile(self.path, number, job.identity).remove()

    def _in_parts(self, job: Job) -> Iterator[Event | ExpertsFound]:
        """Train experts into parts, and collect them if the run is of all experts."""
        with together(self.ranks):
            parts = Parts(self.path, job, self.config.experts)
            store = self._store(job) if self.ranks.rank == 0 and self.only is None else None
        with recording.released(store):
            (finished,) = from_first(self.ranks, [0 if store is None else store.finished])
            if finished:
                yield ExpertsFound(count=min(finished, self.config.experts))
            yield from train_parts(
                self.config,
                parts,
                range(finished, self.config.experts) if self.only is None else self.only,
                train=self._trainer(),
                save_every=self.save_every,
                ranks=self.ranks,
                at_once=self.at_once,
            )
            if store is not None:
                parts.collect(store, self.config.experts)
                store.publish()

    def _trainer(self) -> Train:
        return partial(
            train_experts,
            self.dataset.to(self.device),
            self.model,
            device=self.device,
            engine=self.engine,
            at_once=self.at_once,
            notes=self.notes,
            start=None
            if self.starts is None
            else partial(self.starts.network, model=self.model, seed=self.config.seed, device=self.device),
            order=None
            if self.order_from is None
            else difficulty.shared(self.order_from, self.dataset, self.ranks),
        )

    def _store(self, job: Job) -> BundleStore | BufferStore:
        """Open the store, and check that the experts that it does not contain yet fit on the disk."""
        store = recording.store(self.path, job)
        try:
            missing = self.config.experts - store.finished
            tensorfile.require_space(self.path.parent, missing * self._expert_bytes(job.layout))
        except BaseException:
            store.release()
            raise
        return store

    def _expert_bytes(self, layout: trajfmt.ParamLayout) -> int:
        """Return the bytes of an expert on disk: its knots in a `.mct` bundle, otherwise all timesteps."""
        every = self.config.timesteps(len(self.dataset.train_labels))
        kept = 2 + len(self.knots) if self.path.suffix == ".mct" else every
        return kept * layout.nbytes

    def _job(self) -> Job:
        return job_of(
            self.dataset,
            self.model,
            self.config,
            knots=self.knots,
            smooth=self.smooth,
            average=self.average,
            curriculum=difficulty.recorded(self.order_from),
            starts=None if self.starts is None else self.starts.facts(),
        )

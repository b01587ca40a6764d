"""Hours and bytes of a plan, from five timed steps of each shape.

No data set is needed, because random images of the same shape take the same time. Steps are timed with plain
autograd. Long runs use compiled steps, which are faster, so the hours are an upper bound on the same machine.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import torch

import trajfmt
from mct.evaluation.comparison import BASELINE_RATES
from mct.evaluation.protocol import train_network
from mct.inner.problem import Problem, minibatches, targets_of
from mct.inner.steps.table import make_step
from mct.inner.unroll import ExactUnroll
from mct.models import networks
from mct.objectives.objective import LossAndAdjoint
from mct.reproduce.arms import CONDENSATION
from mct.reproduce.job import Job, Kind
from mct.runtime.devices import device_of
from mct.runtime.seeds import generator
from mct.settings.config import EvaluateConfig

_STEPS: Final = 5
"""Steps that are timed, after some that are not."""

_TIMED: Final = 16
"""Most images of a timed step on a CPU."""

_FORWARD: Final = 1 / 3
"""Share of a training step that is the forward pass: about that of its multiplications."""

_BATCH: Final = 256
"""Images of a step of experts and of evaluations."""

_HELDOUT: Final = 0.1
"""Share of the training images on which evaluations during a run test."""

_IMAGES: Final = 7
"""Sets of synthetic images that the folder of a distillation holds, with their momentum and the best ones."""


@dataclass(frozen=True)
class _Shape:
    """The size of a data set."""

    channels: int
    size: int
    classes: int
    train: int
    test: int


_SHAPES: Final[Mapping[str, _Shape]] = {
    "digits": _Shape(1, 8, 10, 1352, 445),
    "CIFAR10": _Shape(3, 32, 10, 50_000, 10_000),
    "CIFAR100": _Shape(3, 32, 100, 50_000, 10_000),
    "Tiny": _Shape(3, 64, 200, 100_000, 10_000),
}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What all jobs of one kind cost."""

    kind: Kind
    """The kind."""

    jobs: int
    """Number of jobs."""

    seconds: float
    """Seconds of one process, one job after another, without those whose time is unknown."""

    unknown: int
    """Number of jobs whose time is not estimated."""

    bytes: int
    """Bytes of their files."""


def estimate(jobs: Iterable[Job], *, device: str = "cpu") -> list[Cost]:
    """Return what jobs cost on this machine, by kind.

    Args:
        jobs: The jobs.
        device: Where to compute.
    """
    timer = _Timer(device)
    found: dict[Kind, list[tuple[float | None, int]]] = {}
    for job in jobs:
        found.setdefault(job.kind, []).append((_seconds(job, timer), _bytes(job)))
    return [
        Cost(
            kind=kind,
            jobs=len(pairs),
            seconds=sum(seconds for seconds, _ in pairs if seconds is not None),
            unknown=sum(seconds is None for seconds, _ in pairs),
            bytes=sum(size for _, size in pairs),
        )
        for kind, pairs in found.items()
    ]


def _seconds(job: Job, timer: "_Timer") -> float | None:
    """Return the seconds of a job; None if they are not estimated."""
    if job.kind in ("images", "convert"):
        return 0.0
    settings, shape = _settings(job), _shape(job)
    model = _model(settings["model"], shape)
    forward = _FORWARD * timer.update(model, shape.size, _BATCH) / _BATCH
    test = shape.test * forward
    if job.kind == "along":
        return float(2 * settings["points"] * test)
    if job.kind == "experts":
        batch = settings.get("batch_size", _BATCH)
        updates = settings["epochs"] * -(-_train(job) // batch)
        return float(settings["experts"] * (updates * timer.update(model, shape.size, batch) + test))
    synthetic = int(settings["ipc"]) * shape.classes
    passes = -(-synthetic // _BATCH) * timer.update(model, shape.size, min(synthetic, _BATCH))

    def trained(networks: int, epochs: int, tested: float = test) -> float:
        return networks * ((epochs + 1) * passes + tested)

    if job.kind == "random":
        return len(BASELINE_RATES) * trained(settings["networks"], settings["epochs"])
    if job.kind == "test":
        return 2 * trained(job.settings["networks"], job.settings["epochs"])
    if settings.get("method", "").upper() in CONDENSATION:
        return None
    batch = min(settings.get("batch_syn") or synthetic, synthetic)
    steps = settings["outer_steps"] * settings["inner_steps"] * timer.inner(model, shape.size, batch)
    evaluations = settings["outer_steps"] // settings["eval_every"] + 1
    tested = test if settings["select"] == "test" else _HELDOUT * _train(job) * forward
    return float(steps + evaluations * trained(settings["eval_networks"], settings["eval_epochs"], tested))


def _bytes(job: Job) -> int:
    """Return the bytes of the files of a job, without those of less than a few kB."""
    shape = _shape(job)
    pixels = shape.channels * shape.size**2
    if job.kind == "images":
        return int((job.settings["first"] + shape.test) * pixels)
    if job.kind in ("experts", "convert"):
        trained = _settings(job)
        network = networks.build(_model(trained["model"], shape), generator=generator(0))
        weights = 4 * sum(parameter.numel() for parameter in network.parameters())
        kept = trained["epochs"] + 1 if job.kind == "experts" else 2 + len(job.settings["knots"])
        return int(trained["experts"]) * kept * weights
    if job.kind == "distill":
        return int(_IMAGES * 4 * job.settings["ipc"] * shape.classes * pixels)
    return 0


def _settings(job: Job) -> dict[str, Any]:
    """Return the settings of a job, with those of what it is about."""
    if job.kind in ("test", "convert", "along"):
        about = next(each for each in job.needs if each.kind in ("distill", "experts"))
        return {**_settings(about), **job.settings}
    return dict(job.settings)


def _shape(job: Job) -> _Shape:
    if "dataset" in job.settings:
        return _SHAPES[job.settings["dataset"]]
    return _shape(job.needs[0])


def _train(job: Job) -> int:
    """Return the number of training images."""
    smaller = next((needed for needed in job.needs if needed.kind == "images"), None)
    return _shape(job).train if smaller is None else int(smaller.settings["first"])


def _model(name: str, shape: _Shape) -> trajfmt.Model:
    return networks.parse(name, channels=shape.channels, image_size=shape.size, classes=shape.classes)


class _Timer:
    """Times each kind of step once for every shape."""

    def __init__(self, device: str) -> None:
        self._device = device_of(device)
        self._timed_update: Callable[[trajfmt.Model, int, int], float] = cache(self._update)
        self._timed_inner: Callable[[trajfmt.Model, int, int], float] = cache(self._inner)

    def update(self, model: trajfmt.Model, size: int, batch: int) -> float:
        """Return the seconds of an update in training, forwards and backwards."""
        few = self._few(batch)
        return batch / few * self._timed_update(model, size, few)

    def inner(self, model: trajfmt.Model, size: int, batch: int) -> float:
        """Return the seconds of an inner step of a distillation, with its part of the way back."""
        few = self._few(batch)
        return batch / few * self._timed_inner(model, size, few)

    def _few(self, batch: int) -> int:
        """Return the number of images that are timed: on a CPU, the time grows with their number."""
        return batch if self._device.type == "cuda" else min(batch, _TIMED)

    def _update(self, model: trajfmt.Model, size: int, batch: int) -> float:
        images = self._images(model, size, batch)
        labels = torch.arange(batch, device=self._device) % model.classes

        def passes(count: int) -> float:
            config = EvaluateConfig(networks=1, epochs=count - 1, batch_size=batch)
            return self._timed(lambda: train_network(images, labels, model, config, 0.01, generator(0)))

        few = min(passes(2), passes(2))
        return max(1e-9, passes(2 + _STEPS) - few) / _STEPS

    def _inner(self, model: trajfmt.Model, size: int, batch: int) -> float:
        network = networks.build(model, generator=generator(0), device=self._device)
        step = make_step(network)
        weights = torch.cat([parameter.detach().reshape(-1) for parameter in network.parameters()])
        labels = torch.arange(batch, device=self._device) % model.classes
        images = self._images(model, size, batch)

        def loop(count: int) -> float:
            problem = Problem(
                weights=weights,
                images=images,
                targets=targets_of(labels, model.classes, torch.float32),
                learning_rate=0.01,
                batches=[piece.to(self._device) for piece in minibatches(batch, None, count, generator(0))],
            )
            end = LossAndAdjoint(loss=0.0, adjoint=torch.ones_like(weights))
            return self._timed(lambda: ExactUnroll(step).gradients(problem, lambda _path: end))

        loop(1)
        return loop(_STEPS) / _STEPS

    def _images(self, model: trajfmt.Model, size: int, count: int) -> torch.Tensor:
        shape = (count, model.channels, size, size)
        return torch.randn(shape, generator=generator(0, "images")).to(self._device)

    def _timed(self, work: Callable[[], object]) -> float:
        if self._device.type != "cuda":
            began = time.process_time()  # of one thread, as jobs have; other programs do not count
            work()
            return time.process_time() - began
        torch.cuda.synchronize(self._device)
        began = time.perf_counter()
        work()
        torch.cuda.synchronize(self._device)
        return time.perf_counter() - began

"""Small distillations of a fake bundle."""

import json

import torch

import trajfmt
from mct.data.datasets import Dataset
from mct.distillation.distiller import Distiller
from mct.distillation.folder import RunFolder
from mct.distillation.loop import distill
from mct.evaluation.protocol import summarize
from mct.events import Evaluated, OuterStep
from mct.inner.unroll import Gradients
from mct.settings.config import DistillConfig, EvaluateConfig

CONFIG = DistillConfig(ipc=1, inner_steps=3, expert_steps=2, max_start=3, outer_steps=6, lr_img=10,
                       lr_lr=1e-4, lr_init=0.02, batch_syn=4, save_every=4)  # fmt: skip
PROTOCOL = EvaluateConfig(networks=2, epochs=1)


def distiller_of(bundle, digits: Dataset, model: trajfmt.Model, config=CONFIG, **extra) -> Distiller:
    """Return a distiller on a fake bundle."""
    return Distiller(bundle, digits, model, config, artifact_sha256="ab" * 32, **extra)


class StubEngine:
    """An engine that returns given gradients."""

    def __init__(self, loss=1.0, image=1.0, slope=1.0) -> None:
        self.loss, self.image, self.slope = loss, image, slope

    def gradients(self, problem, terminal) -> Gradients:
        """Return constants, after asking the terminal once."""
        self.problem = problem
        terminal([problem.weights])
        return Gradients(loss=self.loss, images=torch.full_like(problem.images, self.image),
                         learning_rate=self.slope)  # fmt: skip


def run_whole(distiller: Distiller, folder: RunFolder, **options) -> list[Evaluated | OuterStep]:
    """Run a distillation to its end."""
    return list(distill(distiller, folder, evaluation=PROTOCOL, **options))


def metrics_of(folder: RunFolder) -> list[dict]:
    """Return the metrics without what differs between runs."""
    taken = dict.fromkeys(("seconds", "parts", "memory_mb", "utilisation"), 0)
    return [json.loads(line) | taken for line in folder.metrics.read_text().splitlines()]


def assert_same_run(one: RunFolder, two: RunFolder) -> None:
    """Results, state, picture and metrics are bit for bit the same, seconds apart."""
    files = sorted(entry.relative_to(one.path) for entry in one.path.rglob("*"))
    assert files == sorted(entry.relative_to(two.path) for entry in two.path.rglob("*"))
    for name in files:
        if (one.path / name).is_file() and one.path / name != one.metrics:
            assert (one.path / name).read_bytes() == (two.path / name).read_bytes(), name
    assert metrics_of(one) == metrics_of(two)


class Rehearsed:
    """An evaluation that returns given means, and remembers what it was asked."""

    def __init__(self, means) -> None:
        self.means, self.seen = list(means), []

    def __call__(self, images, labels, learning_rate, dataset, model, config, *, on, **_):
        """Stand for `evaluate`."""
        self.seen.append((images, labels, dataset.test_images, (model, config), on))
        yield from ()
        return summarize([self.means.pop(0)], learning_rate, on=on)

"""DD-Ranking's own package and `mct evaluate --protocol dd-ranking` on the same sets: the same four scores?

Unpack its wheel beside this repository, it is not part of it; tqdm, pandas and PyYAML must be installed:

    pip download ddranking==0.2.0 --no-deps
    python -m zipfile -e ddranking-0.2.0-py3-none-any.whl ddranking

    python benchmarks/parity/ranking.py ddranking

Its evaluators train on the embedded digits, in float64, with networks, orders of images, augmentation and
random images that ours drew. Everything else is theirs: losses, optimizer, schedules, search, tests, scores.
What stops them before a score is repaired in this process, and a line says so. Takes about a minute on a CPU.
The exit code is 1 if a line fails.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import inspect
import io
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import kornia  # noqa: F401  # so that the package finds it loaded
import torch
from reference import _Stub, fingerprint
from table import Line, Lines
from torch import Tensor

from mct.data import datasets
from mct.data.augment import augmentation
from mct.data.datasets import Dataset
from mct.data.picking import pick_per_class
from mct.evaluation.comparison import Comparison
from mct.evaluation.ranking import Ranking
from mct.evaluation.reference import Reference, obtain
from mct.evaluation.scores import normalised
from mct.models import networks
from mct.results.origin import ForeignOrigin
from mct.results.synthetic import SyntheticDataset
from mct.runtime.ranks import Alone
from mct.runtime.seeds import generator
from mct.sets.labels import logits
from mct.settings.config import EvaluateConfig
from mct.settings.ranking import RankingConfig, ReferenceConfig
from mct.training.loader import Batch, Loader

IPC, EPOCHS, BATCH = 2, 20, 8
STUBS = ("torchvision", "torchvision.transforms", "torchvision.transforms.v2", "torchvision.datasets", "timm")
FILES = ("hard_label", "soft_label", "aug_robust")

CASES = {
    "hard labels": RankingConfig(
        runs=2, epochs=EPOCHS, batch_size=BATCH, step_size=8, labels="hard", test_every=10
    ),
    "soft labels, SCE": RankingConfig(
        runs=2, epochs=EPOCHS, batch_size=BATCH, step_size=8, labels="soft", test_every=20
    ),
    "soft labels, KL with T = 2, scaled": RankingConfig(
        runs=1, epochs=EPOCHS, batch_size=BATCH, labels="soft", test_every=20, loss="kl", temperature=2.0,
        scale_loss=True, schedule="cosineannealing", augment="crop_flip", weight=0.3,
    ),
    "a teacher's labels, MSE and CE": RankingConfig(
        runs=1, epochs=EPOCHS, batch_size=BATCH, labels="teacher", test_every=20, loss="mse_gt",
        mse_weight=0.7, ce_weight=0.3, schedule="cosine",
    ),
}  # fmt: skip
"""What both sides evaluate, by its description."""


@dataclass(frozen=True)
class Job:
    """One case with its data."""

    config: RankingConfig
    comparison: Comparison
    reference: Reference

    def random(self, run: int) -> tuple[Tensor, Tensor]:
        """Return the random images of a run, and their classes."""
        data = self.comparison.dataset
        chosen = pick_per_class(
            data.train_labels, 10, IPC, generator(self.config.seed, "dd-ranking", run, "images")
        )
        return data.train_images[chosen], data.train_labels[chosen]


class Replay:
    """Stands for their data loader and augmentation: yields what ours drew for a network."""

    def __init__(self) -> None:
        self.tests: Any = None
        self._batches: Iterator[Batch] = iter(())
        self._updates, self._augments, self._ready = 0, False, torch.empty(0)

    def begin(self, batches: Iterator[Batch], updates: int, *, augments: bool) -> None:
        """Go on with another network."""
        self._batches, self._updates, self._augments = batches, updates, augments

    def loader(self, pairs: Any, *, batch_size: int, **_: Any) -> Any:
        """Return a data loader of tests, or one of the network's batches."""
        if pairs is self.tests:
            return torch.utils.data.DataLoader(pairs, batch_size=batch_size)
        return self

    def __len__(self) -> int:
        return self._updates

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch. Pixels that ours augments are NaN until `augment` is called."""
        for _ in range(self._updates):
            batch = next(self._batches)
            self._ready = batch.pixels
            yield batch.pixels * (torch.nan if self._augments else 1), batch.labels

    def augment(self, _: Tensor) -> Tensor:
        """Return the augmented pixels of the batch."""
        if not self._augments:
            raise AssertionError("the package augments images that mct does not")
        return self._ready


class Theirs:
    """Their evaluators on a job, and what had to be repaired in them."""

    def __init__(self, modules: dict[str, ModuleType], job: Job) -> None:
        self.modules, self.job, self.repairs = modules, job, dict[str, None]()
        self.replay, self.run = Replay(), -1

    def scores(self) -> dict[str, list[float]]:
        """Return HLR and IOR in points, LRS and ARS, of every run."""
        soft = self.job.config.labels != "hard"
        quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
        with tempfile.TemporaryDirectory() as folder, quiet[0], quiet[1]:
            name = "soft_label" if soft else "hard_label"
            found = self._evaluate(
                name, "LabelRobustScoreSoft" if soft else "LabelRobustScoreHard", Path(folder)
            )
            more = self._evaluate("aug_robust", "AugmentationRobustScore", Path(folder))
        return {
            "HLR": found["hard_label_recovery"],
            "IOR": found["improvement_over_random"],
            "LRS": found["lrs"][:: len(found["lrs"]) // self.job.config.runs],
            "ARS": more["ars_list"],
            "augmented": more["with_aug_scores"],
            "plain": more["without_aug_scores"],
        }

    def _evaluate(self, name: str, kind: str, folder: Path) -> dict[str, list[float]]:
        module, config, results = self.modules[name], self.job.config, dict[str, list[float]]()
        pairs = self.modules["data"].TensorDataset
        data = self.job.comparison.dataset
        train = pairs(data.train_images, data.train_labels)
        self.replay.tests = pairs(data.test_images, data.test_labels)
        classes = {label: label for label in range(10)}
        real = (1, (8, 8), [0.5], [0.5], 10, train, self.replay.tests, self.replay.tests, classes, classes)
        save, draw, schedule = module.save_results, module.get_random_data_tensors, module.get_lr_scheduler

        def saved(found: dict[str, list[float]], path: str) -> None:
            results.update(found)
            try:
                save(found, path)
            except ValueError as exc:
                self.repairs[f"{kind}: its results cannot be saved: {exc}"] = None

        def drawn(*arguments: Any) -> tuple[Tensor, Tensor]:
            if not isinstance(inspect.signature(draw).bind(*arguments).arguments["class_map"], dict):
                self.repairs[f"{kind}: get_random_data_tensors is not given its class_map"] = None
            return self.job.random(self.run)

        def scheduled(name: str, optimizer: Any, epochs: int, step_size: int | None = None) -> Any:
            if name == "step" and step_size is None:
                self.repairs[f"{kind}: the schedule `step` is not given its step_size"] = None
            return schedule(name, optimizer, epochs, step_size or config.step_size)

        def seeded() -> None:
            self.run += 1

        self.run, teacher = -1, self.job.reference.network
        patches = {
            "get_dataset": lambda *_: real, "DataLoader": self.replay.loader, "save_results": saved,
            "get_random_data_tensors": drawn, "get_lr_scheduler": scheduled, "set_seed": seeded,
            "build_model": lambda *_, pretrained=False, **__: teacher if pretrained else None,
            "get_pretrained_model_path": lambda *_: [None],
        }  # fmt: skip
        with contextlib.ExitStack() as stack:
            for attribute, value in patches.items():
                if hasattr(module, attribute):
                    stack.enter_context(mock.patch.object(module, attribute, value))
            evaluator = self._evaluator(getattr(module, kind), folder)
            self._compute(evaluator)
        return results

    def _evaluator(self, kind: type, folder: Path) -> Any:
        """Return an evaluator with the settings of the job, and with attributes that it misses."""
        config, hard = self.job.config, self.job.config.labels == "hard"
        mse = {"mse_weight": config.mse_weight, "ce_weight": config.ce_weight}
        scale = {"temperature": config.temperature, "scale_loss": config.scale_loss}
        wanted = {
            "ipc": IPC, "num_epochs": config.epochs, "num_eval": config.runs, "lr_scheduler": config.schedule,
            "step_size": config.step_size, "weight_decay": config.weight_decay, "momentum": config.momentum,
            "data_aug_func": None, "im_size": (8, 8), "device": "cpu", "num_workers": 0,
            "save_path": str(folder / "scores.csv"), "random_data_format": "tensor", "eval_full_data": True,
            "syn_batch_size": config.batch_size, "batch_size": config.batch_size,
            "real_batch_size": self.job.reference.config.batch_size, "label_type": "hard" if hard else "soft",
            "soft_label_mode": "M" if config.labels == "teacher" else "S",
            "teacher_model_names": ["ConvNet-3"],
            "soft_label_criterion": config.loss, "use_aug_for_hard": False,
            "loss_fn_kwargs": mse if config.loss == "mse_gt" else scale,
        }  # fmt: skip
        taken = inspect.signature(kind).parameters
        theirs = self

        class Fed(kind):  # type: ignore[misc, valid-type]
            """Their evaluator, whose networks start where ours do and learn from the same batches."""

            def _compute_hard_label_metrics(self, *, image_tensor: Any, lr: Any, **options: Any) -> float:
                role = theirs.role(image_tensor, options, hard=True)
                model = theirs.prepare(role, image_tensor, options["hard_labels"], lr)
                return float(
                    super()._compute_hard_label_metrics(
                        **options | {"model": model, "image_tensor": image_tensor, "lr": lr}
                    )
                )

            def _compute_soft_label_metrics(self, *, image_tensor: Any, lr: Any, **options: Any) -> float:
                role = theirs.role(image_tensor, options, hard=False)
                labels = options["soft_labels"]
                if labels is None:
                    labels = torch.arange(10).repeat_interleave(IPC)
                model = theirs.prepare(role, image_tensor, labels, lr)
                return float(
                    super()._compute_soft_label_metrics(
                        **options | {"model": model, "image_tensor": image_tensor, "lr": lr}
                    )
                )

        evaluator = Fed(**{key: value for key, value in wanted.items() if key in taken})
        evaluator.aug_func = self.replay.augment
        evaluator.test_interval = config.test_every
        missing = {"test_loader_real": getattr(evaluator, "test_loader_syn", None), "teacher_models": None}
        if not hard:
            missing = {"teacher_model": self.job.reference.network}
        for attribute, value in missing.items():
            used = attribute in inspect.getsource(kind)
            if used and not hasattr(evaluator, attribute):
                if attribute != "teacher_model" or "self.teacher_model(" in inspect.getsource(kind):
                    self.repairs[f"{kind.__name__}: it has no attribute {attribute}"] = None
                setattr(evaluator, attribute, value)
        return evaluator

    def _compute(self, evaluator: Any) -> None:
        now = self.job.comparison.synthetic
        options: dict[str, Any] = {"image_tensor": now.images, "syn_lr": now.learning_rate}
        parameters = inspect.signature(evaluator.compute_metrics).parameters
        options["lrs_lambda" if "lrs_lambda" in parameters else "ars_lambda"] = self.job.config.weight
        if "soft_labels" in parameters and now.soft_labels is not None and self.job.config.labels == "soft":
            options["soft_labels"] = logits(now.soft_labels, "probabilities", 10).double()
        evaluator.compute_metrics(**options)

    def role(self, images: Any, options: dict[str, Any], *, hard: bool) -> str:
        """Return for what ours trains the same network."""
        if options.get("mode") == "real":
            return "real"
        random = images is not self.job.comparison.synthetic.images
        if not options.get("use_aug", True):
            return "random_plain" if random else "plain"
        if hard and self.job.config.labels != "hard":
            return "hard"
        return "random" if random else "own"

    def prepare(self, role: str, images: Any, labels: Any, rate: Any) -> torch.nn.Module:
        """Return a fresh network, and have its batches replayed."""
        config, settings, model = self.job.config, self.job.reference.config, self.job.comparison.model
        if role == "real":
            data = self.job.comparison.dataset
            loader = Loader(
                data.train_images, data.train_labels, classes=10, size=settings.batch_size, augment=None
            )
            epochs = (generator(settings.seed, "reference", "epoch", epoch) for epoch in range(EPOCHS))
            batches = (batch for random in epochs for batch in loader.batches(1, random))
            self.replay.begin(batches, loader.updates(1), augments=False)
            return networks.build(model, generator=generator(settings.seed, "reference"))
        random = generator(config.seed, "dd-ranking", self.run, role, repr(rate))
        network = networks.build(model, generator=random)
        augments = role in ("own", "random")
        how = augmentation(config.augment) if augments else None
        loader = Loader(images, labels, classes=10, size=config.batch_size, augment=how)
        self.replay.begin(loader.batches(EPOCHS, random), loader.updates(1), augments=augments)
        return network


def made(data: Dataset, config: RankingConfig) -> Job:
    """Return a job on random real images with noise; their soft labels are peaked at their classes."""
    random = generator(7)
    chosen = pick_per_class(data.train_labels, 10, IPC, random)
    labels = data.train_labels[chosen]
    rows = torch.randn(len(labels), 10, generator=random) + 3 * torch.nn.functional.one_hot(labels, 10)
    model = networks.parse("ConvNetD2W8", channels=1, image_size=8, classes=10)
    synthetic = SyntheticDataset(
        images=data.train_images[chosen] + 0.3 * torch.randn(20, 1, 8, 8, generator=random),
        labels=labels,
        soft_labels=rows.double().softmax(1) if config.labels == "soft" else None,
        learning_rate=0.02,
        origin=ForeignOrigin(
            dataset=data.name, class_names=data.class_names, preprocessing=data.transform.record, model=model,
            layout="ddranking", files=(), labels="logits", known_from={},
        ),
    )  # fmt: skip
    comparison = Comparison(synthetic=synthetic, dataset=data, model=model, config=EvaluateConfig())
    settings = ReferenceConfig(
        epochs=EPOCHS, batch_size=256, step_size=100, test_every=config.test_every or 10
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reference.safetensors"
        reference = drained(obtain(data, model, settings, path=path, ranks=Alone()))
    return Job(config, comparison, reference)


def drained(events: Any) -> Any:
    """Return what a generator returns."""
    while True:
        try:
            next(events)
        except StopIteration as stop:
            return stop.value


def check(modules: dict[str, ModuleType]) -> Lines:
    """Evaluate every case on both sides."""
    data = datasets.load("digits")
    data = replace(data, train_images=data.train_images.double(), test_images=data.test_images.double())
    for what, config in CASES.items():
        job = made(data, config)
        ranking = Ranking(comparison=job.comparison, config=config, baseline=False)
        ours = drained(ranking.evaluate(job.reference))
        theirs = Theirs(modules, job)
        found = theirs.scores()
        for line in theirs.repairs:
            print(f"REPAIRED {'':>15}  {line}")
        mean = {name: sum(values) / len(values) for name, values in found.items()}
        shown = ", ".join(f"{name} {value:.4g}" for name, value in mean.items())
        yield Line(f"{what}: HLR", abs(100 * ours.mean.hlr - mean["HLR"]), 1e-4)
        yield Line(f"{what}: IOR", abs(100 * ours.mean.ior - mean["IOR"]), 1e-4)
        for name, value in (("LRS", ours.mean.lrs_percent), ("ARS", ours.mean.ars_percent)):
            error = abs(value - mean[name]) / abs(mean[name])
            yield Line(f"{what}: {name} of percentages, relative", error, 1e-4)
        for name, score, first, second, sign in (
            ("LRS", ours.mean.lrs, "IOR", "HLR", -1),
            ("ARS", ours.mean.ars, "augmented", "plain", 1),
        ):
            pairs = list(zip(found[first], found[second], strict=True))
            weight = config.weight
            shares = [normalised((weight * a + sign * (1 - weight) * b) / 100) for a, b in pairs]
            error = abs(score - sum(shares) / len(shares))
            yield Line(f"{what}: {name} of shares, from their {first} and {second}", error, 1e-6)
        print(
            f"THEIRS   {'':>15}  {what}: {shown}; LRS of shares {ours.mean.lrs:.4f}, ARS {ours.mean.ars:.4f}"
        )


def package(folder: Path) -> dict[str, ModuleType]:
    """Import modules of the package, with stubs for what digits do not need and this machine lacks."""
    for name in FILES:
        if not (folder / "ddranking" / "metrics" / f"{name}.py").is_file():
            sys.exit(f"{folder}: no ddranking/metrics/{name}.py; expected the unpacked wheel of ddranking")
    for name in STUBS:
        top = name.split(".")[0]
        stubbed = isinstance(sys.modules.get(top), _Stub)
        if stubbed or (top not in sys.modules and importlib.util.find_spec(top) is None):
            sys.modules[name] = _Stub(name)
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(folder))
    modules = {name: importlib.import_module(f"ddranking.metrics.{name}") for name in FILES}
    table = importlib.import_module("ddranking.utils.train_and_eval").REAL_DATA_TRAINING_CONFIG
    assert table["CIFAR10-ConvNet-3"]["lr"] == ReferenceConfig().lr
    assert asdict(ReferenceConfig())["momentum"] == table["CIFAR10-ConvNet-3"]["momentum"]
    return modules | {"data": importlib.import_module("ddranking.utils.data")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("package", type=Path, metavar="PATH", help="folder of the unpacked wheel")
    options = parser.parse_args()
    modules = package(options.package)
    torch.set_default_dtype(torch.float64)
    files = [f"ddranking/metrics/{name}.py" for name in FILES]
    print(f"torch {torch.__version__}, Python {sys.version.split()[0]}")
    print("ddranking", fingerprint(options.package, *files))
    lines = []
    for line in check(modules):
        print(line, flush=True)
        lines.append(line)
    failed = sum(line.failed for line in lines)
    print(f"{failed} failed, {len(lines) - failed} passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

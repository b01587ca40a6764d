"""The folder of a distillation run, written without distilling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import torch

import trajfmt
from mct.results import synthetic
from mct.results.origin import Origin, Selection
from mct.results.synthetic import SyntheticDataset
from mct.runtime import tensorfile
from mct.settings.config import DistillConfig, EvaluateConfig


def origin(ipc: int = 1, names: tuple[str, ...] = ("cat", "dog"), size: int = 8, **changes: Any) -> Origin:
    """Return the origin of a run on a data set of two classes of grey images."""
    model = trajfmt.Model(
        family="ConvNet", depth=2, width=4, channels=1, classes=len(names), image_size=size,
        norm="instance", pooling="avg",
    )  # fmt: skip
    facts: dict[str, Any] = {
        "dataset": "digits",
        "class_names": names,
        "preprocessing": trajfmt.Preprocessing(kind="normalize", mean=[0.5], std=[0.25]),
        "model": model,
        "config": DistillConfig(ipc=ipc, outer_steps=3, seed=7),
        "artifact_sha256": "ab" * 32,
        "outer_step": 3,
        "evaluation": EvaluateConfig(networks=2, epochs=4),
    }
    return Origin(**(facts | changes))


def write(
    folder: Path, own: Origin, *, lines: list[dict[str, Any]] | None = None, best: bool = False
) -> Path:
    """Write settings, metrics and images of a run, and return the folder."""
    folder.mkdir(parents=True)
    facts = {
        "settings": msgspec.to_builtins(own),
        "device": "cpu",
        "hardware": "the CPU, 1 thread",
        "versions": {"torch": "2.13.0"},
    }
    (folder / "settings.json").write_text(json.dumps(facts))
    if lines is None:
        lines = [step(1, 0.8), step(2, 0.7, accuracy=(0.5, 0.01)), step(3, 0.6, accuracy=(0.75, 0.02))]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    ipc, classes, size = own.config.ipc, len(own.class_names), own.model.image_size or 8
    labels = torch.arange(classes).repeat_interleave(ipc)
    pixels = torch.rand(
        (len(labels), own.model.channels, size, size), generator=torch.Generator().manual_seed(0)
    )
    dataset = SyntheticDataset(images=(pixels - 0.5) / 0.25, labels=labels, learning_rate=0.05, origin=own)
    name = synthetic.BEST_NAME if best else synthetic.RESULT_NAME
    content = {"kind": "synthetic dataset", "version": 1, "origin": msgspec.to_builtins(own)}
    tensorfile.save(folder / name, dataset.tensors() | {"pixels": pixels}, content)
    return folder


def step(
    number: int, loss: float, *, accuracy: tuple[float, float] | None = None, on: str = "heldout"
) -> dict[str, Any]:
    """Return a line of the metrics as a run writes it."""
    line: dict[str, Any] = {
        "step": number, "loss": loss, "learning_rate": 0.05 + number / 1000, "seconds": 0.25,
        "parts": {"forward": 0.1, "adjoint": 0.14}, "memory_mb": 400.0 + number, "utilisation": 0.5,
        "start": 1.0, "target": 3.0, "trajectory": 0,
    }  # fmt: skip
    if accuracy is not None:
        mean, std = accuracy
        line["accuracy"] = {
            "mean": mean, "std": std, "networks": [mean - std, mean + std], "learning_rate": 0.05, "on": on,
        }  # fmt: skip
        line["parts"] |= {"evaluate": 2.0}
    return line


SELECTED = Selection(on="heldout", mean=0.75, std=0.02)

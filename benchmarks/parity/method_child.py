"""Runs one unmodified distillation script of a checkout in float64, and keeps what every iteration computed.

A process of its own, for the reasons that `loop_child` gives. Called by `methods.py`; argument: a JSON file
that says what. The script's file is run as it is. Around it, in this process:

* `torch.float` stands for float64, which is also the default dtype;
* packages that the loop does not need are replaced, as in `loop_child`; that of the settings takes any name;
* the real images are made up;
* `torch.randperm` and the augmentation take the numbers of `method_scene.randoms`;
* the tracker, which the script calls at the end of every iteration, reads the variables of its caller.
"""

from __future__ import annotations

import json
import os
import random
import runpy
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import loop_child
import method_scene
import numpy as np
import reference
import torch

from mct.data.augment import DSA

VALUES = {"images": ("image_syn", "optimizer_img"), "labels": ("label_syn", "optimizer_y"),
          "learning_rate": ("syn_lr", "optimizer_lr")}  # fmt: skip
"""What we call what they learn, their variable, and its optimizer."""


def values_of(names: dict[str, Any]) -> dict[str, dict[str, torch.Tensor]]:
    """Return value, gradient and velocity of everything that is learned, and the average if there is one."""
    found = {}
    for name, (variable, optimizer) in VALUES.items():
        value = names[variable]
        parts = {"value": value}
        if optimizer in names:
            velocity = names[optimizer].state.get(value, {}).get("momentum_buffer")
            parts |= {"gradient": value.grad, "velocity": velocity}
        found[name] = {part: kept.detach().clone() for part, kept in parts.items() if kept is not None}
    if "ema" in names:
        found["images"]["average"] = names["ema"].module[0].detach().clone()
    return found


class Recorder:
    """The tracker: called with numbers to plot, of which it only takes which iteration it is."""

    def __init__(self) -> None:
        self.initial: dict[str, Any] = {}
        self.iterations: list[dict[str, Any]] = []

    def log(self, shown: dict[str, Any], **_: Any) -> None:
        """Read the variables of the caller, before the first iteration and at the end of each."""
        frame: FrameType = sys._getframe(1)
        names = frame.f_locals
        if shown.get("Progress") == 0:
            self.initial = values_of(names)
        if "Grand_Loss" in shown:
            facts = {
                "loss": float(names["grand_loss"]),
                "start": int(names["start_epoch"]),
                "bound": names.get("Upper_Bound"),
                "index": names.get("index"),
                "theta": names["starting_params"].clone(),
                "target": names["target_params"].clone(),
            }
            self.iterations.append(facts | {"learned": values_of(names)})


class Randoms:
    """Feeds the script with the numbers of the iteration that it is in."""

    def __init__(self, recorder: Recorder, utilities: Any) -> None:
        self._recorder, self._utilities = recorder, utilities
        self._now, self._generators = -1, method_scene.randoms(0)
        self._randperm, self._augment = torch.randperm, utilities.DiffAugment
        torch.randperm = lambda count: self._randperm(count, generator=self._of_now()[0])
        utilities.DiffAugment = self.augment

    def _of_now(self) -> tuple[torch.Generator, torch.Generator]:
        if self._now != len(self._recorder.iterations):
            self._now = len(self._recorder.iterations)
            self._generators = method_scene.randoms(self._now)
        return self._generators

    def augment(self, images: torch.Tensor, strategy: str, param: Any) -> torch.Tensor:
        """Augment a batch as they do, with the next numbers of ours."""
        draws = DSA().draw(len(images), images.shape[-1], self._of_now()[1])
        with reference.fed(self._utilities, [draws], strategy, torch.float64):
            found: torch.Tensor = self._augment(images, strategy, param=param)
        return found


def data() -> tuple[Any, ...]:
    """Return what their `get_dataset` returns."""
    images, labels = method_scene.real()
    same = {label: label for label in range(method_scene.CLASSES)}
    pairs = [(image, int(label)) for image, label in zip(images, labels, strict=True)]
    names = [str(label) for label in same]
    return 3, (32, 32), len(same), names, [0.0], [1.0], pairs, pairs, None, None, same, same


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    checkout, script = Path(job["checkout"]), Path(job["script"])
    loop_child.stand_in()
    recorder = Recorder()
    tracker: Any = sys.modules["wandb"]
    tracker.log, tracker.Settings = recorder.log, lambda **_: None
    sys.dont_write_bytecode = True
    here = str(Path(__file__).parent)
    sys.path[:] = [str(script.parent), str(checkout), *(entry for entry in sys.path if entry != here)]
    utilities = __import__(job["utilities"], fromlist=["get_dataset"])
    utilities.get_dataset = lambda *_, **__: data()
    Randoms(recorder, utilities)
    orders: list[list[int]] = []
    permutation = np.random.permutation

    def permuted(items: Any) -> Any:
        orders.append(permutation(items).tolist())
        return np.array(orders[-1])

    np.random.permutation = permuted
    random.seed(1)
    np.random.seed(1)
    torch.set_num_threads(1)
    torch.save(torch.zeros(1), job["record"])
    torch.load(job["record"])  # PyTorch looks up the names of its dtypes once, and must find `float` as it is
    torch.set_default_dtype(torch.float64)
    torch.float = torch.float64
    os.chdir(job["folder"])
    sys.argv = [str(script), *job["arguments"]]
    runpy.run_path(str(script), run_name="__main__")
    found = {"initial": recorder.initial, "iterations": recorder.iterations, "orders": orders}
    torch.save(found, job["record"])


if __name__ == "__main__":
    main()

"""Runs one unmodified script of dataset condensation in float64, and keeps what its image updates saw.

A process of its own, for the reasons that `loop_child` gives. Called by `condense.py`; argument: a JSON file
that says what. The script's file is run as it is. Around it, in this process:

* `torch.float` stands for float64, which is also the default dtype, and `Tensor.float` makes float64;
* packages that the loop does not need are replaced, as in `loop_child`;
* the numbers of updates and passes may be smaller ones, as their table has 450 passes for ten images;
* the real images are made up, and the time, from which the script takes its seeds, is a counter;
* the optimizer of the images reads the variables of the script before it updates them.
"""

from __future__ import annotations

import itertools
import json
import os
import runpy
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import loop_child
import numpy as np
import torch

CLASSES, PER_CLASS = 10, 12


def images() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the real images `(120, 3, 32, 32)` in float64, and their classes."""
    random = torch.Generator().manual_seed(5)
    pixels = torch.randn(CLASSES * PER_CLASS, 3, 32, 32, generator=random, dtype=torch.float64)
    labels = torch.arange(CLASSES * PER_CLASS) % CLASSES
    return pixels + labels.double().view(-1, 1, 1, 1) / CLASSES, labels


def data() -> tuple[Any, ...]:
    """Return what their `get_dataset` returns."""
    pairs = [(image, int(label)) for image, label in zip(*images(), strict=True)]
    names = [str(label) for label in range(CLASSES)]
    return 3, (32, 32), CLASSES, names, [0.0] * 3, [1.0] * 3, pairs, pairs, None


class Recorder:
    """What the script has drawn and done since it began, and what every update of the images saw."""

    def __init__(self, utilities: Any) -> None:
        self.orders: list[list[int]] = []
        self.shuffles: list[list[int]] = []
        self.seeds: list[int] = []
        self.passes, self.training = 0, False
        self.updates: list[dict[str, Any]] = []
        permutation, randperm = np.random.permutation, torch.randperm
        augment, epoch = utilities.DiffAugment, utilities.epoch

        def permuted(items: Any) -> Any:
            self.orders.append(permutation(items).tolist())
            return np.array(self.orders[-1])

        def shuffled(count: int, **options: Any) -> torch.Tensor:
            found = randperm(count, **options)
            self.shuffles += [found.tolist()] if self.training else []
            return found

        def augmented(pixels: torch.Tensor, strategy: str = "", seed: int = -1, param: Any = None) -> Any:
            self.seeds.append(seed)
            return augment(pixels, strategy, seed=seed, param=param)

        def passed(mode: str, *arguments: Any, **options: Any) -> Any:
            self.training = mode == "train"
            self.passes += self.training
            return epoch(mode, *arguments, **options)

        np.random.permutation, torch.randperm = permuted, shuffled
        utilities.DiffAugment, utilities.epoch = augmented, passed

    def update(self, names: dict[str, Any], pixels: torch.Tensor) -> None:
        """Read the variables of the script before an update of the images."""
        assert pixels.grad is not None
        facts = {
            "iteration": names["it"],
            "loss": names["loss"].detach().clone(),
            "images": pixels.detach().clone(),
            "gradient": pixels.grad.clone(),
            "network": [value.detach().clone() for value in names["net"].parameters()],
            "orders": self.orders[-CLASSES:],
            "shuffles": self.shuffles,
            "seeds": self.seeds[-2 * CLASSES :],
            "passes": self.passes,
        }
        self.updates.append(facts)
        self.shuffles, self.passes = [], 0


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    checkout, script = Path(job["checkout"]), Path(job["script"])
    loop_child.stand_in()
    sys.dont_write_bytecode = True
    here = str(Path(__file__).parent)
    sys.path[:] = [str(checkout), *(entry for entry in sys.path if entry != here)]
    utilities = __import__("utils")
    utilities.get_dataset = lambda *_, **__: data()
    if job["loops"] is not None:
        utilities.get_loops = lambda *_: tuple(job["loops"])
    recorder = Recorder(utilities)

    class Optimizer(torch.optim.SGD):
        """SGD, which is read before it updates images."""

        def step(self, *_: Any) -> None:
            (first, *others) = self.param_groups[0]["params"]
            if first.ndim == 4 and not others:
                frame: FrameType | None = sys._getframe(1)
                while frame is not None and "image_syn" not in frame.f_locals:
                    frame = frame.f_back  # PyTorch wraps this method
                assert frame is not None
                recorder.update(frame.f_locals, first)
            super().step()

    torch.optim.SGD = Optimizer
    ticks = itertools.count(1)
    time.time = lambda: next(ticks) * 0.0173
    np.random.seed(1)
    torch.manual_seed(1)
    torch.set_num_threads(1)
    torch.save(torch.zeros(1), job["record"])
    torch.load(job["record"])  # PyTorch looks up the names of its dtypes once, and must find `float` as it is
    torch.set_default_dtype(torch.float64)
    torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    os.chdir(job["folder"])
    sys.argv = [str(script), *job["arguments"]]
    runpy.run_path(str(script), run_name="__main__")
    torch.save(recorder.updates, job["record"])


if __name__ == "__main__":
    main()

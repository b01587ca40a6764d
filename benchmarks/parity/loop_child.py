"""Runs one unmodified distillation script of a checkout for a few iterations, and keeps the weights it saw.

A process of its own, because those scripts are programs: they read the command line, change global state and
expect packages that their loop does not need. Called by `loops.py`; argument: a JSON file that says what.
"""

from __future__ import annotations

import json
import os
import random
import runpy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import kornia  # noqa: F401  # before the stubs, so that the script finds it loaded
import numpy as np
import reference
import torch
import torch._dynamo  # before the stubs, at whose sight it would end

STUBS = (
    "torchvision",
    "torchvision.utils",
    "torchvision.transforms",
    "torchvision.datasets",
    "scipy.ndimage.interpolation",
    "tqdm",
    "yaml",
)


class _Config(dict):  # type: ignore[type-arg]
    """What the script uses of yacs: attributes, and a file merged into them."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def merge_from_file(self, path: str) -> None:
        self.update(json.loads(Path(path).read_text()))


def stand_in() -> None:
    """Put stubs in the place of packages that the loop does not need, and of the tracker it reads back."""
    for name in STUBS:
        if name in ("tqdm", "yaml") or name not in sys.modules:
            sys.modules[name] = reference._Stub(name)
    sys.modules["tqdm"].tqdm = lambda items, **_: items  # type: ignore[attr-defined]
    tracker = ModuleType("wandb")
    tracker.config = SimpleNamespace(_items={})  # type: ignore[attr-defined]
    tracker.init = lambda config, **_: tracker.config._items.update(vars(config))  # type: ignore[attr-defined]
    tracker.log = tracker.finish = lambda *_, **__: None  # type: ignore[attr-defined]
    sys.modules["wandb"] = tracker
    yacs, config = ModuleType("yacs"), ModuleType("yacs.config")
    config.CfgNode = _Config  # type: ignore[attr-defined]
    sys.modules |= {"yacs": yacs, "yacs.config": config}


def data(classes: int) -> tuple[Any, ...]:
    """Return what their `get_dataset` returns, of seeded noise."""
    generator = torch.Generator().manual_seed(0)
    images = [(torch.randn(3, 32, 32, generator=generator), n % classes) for n in range(classes * 20)]
    same = {n: n for n in range(classes)}
    return 3, (32, 32), classes, [str(n) for n in same], [0.0], [1.0], images, images, None, None, same, same


def record() -> list[torch.Tensor]:
    """Return a list that gets every start and target: what their loss compares without a gradient."""
    seen: list[torch.Tensor] = []
    original = torch.nn.functional.mse_loss

    def loss(first: torch.Tensor, second: torch.Tensor, **options: Any) -> torch.Tensor:
        if not first.requires_grad:
            seen.extend(tensor.detach().clone() for tensor in (first, second))
        return original(first, second, **options)

    torch.nn.functional.mse_loss = loss
    return seen


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    checkout, script = Path(job["checkout"]), Path(job["script"])
    stand_in()
    sys.dont_write_bytecode = True
    here = str(Path(__file__).parent)
    sys.path[:] = [str(checkout), *(entry for entry in sys.path if entry != here)]
    utilities = __import__(job["utilities"], fromlist=["get_dataset"])
    utilities.get_dataset = lambda *_, **__: data(job["classes"])
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    torch.set_num_threads(1)
    seen = record()
    os.chdir(job["folder"])
    sys.argv = [str(script), *job["arguments"]]
    runpy.run_path(str(script), run_name="__main__")
    np.savez(job["record"], *[tensor.numpy() for tensor in seen])


if __name__ == "__main__":
    main()

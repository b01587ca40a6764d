"""Runs `distill.py` of a checkout of MTT or TESLA, as published, and watches it from outside.

It is told its settings by its own options; only what it reads is replaced (the data set by images in memory)
and what it reports to (wandb, whose calls mark the iterations). Evaluation and pictures are off by
`--eval_it -1`. Its buffer is one expert that is loaded once, where the published settings load 653 MB
every ten iterations. Packages that its loop never uses are not imported. Nothing of
it is copied, and no bytecode is written beside it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import runpy
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from outer_step.job import EXPERT_STEPS, LR_IMG, LR_INIT, LR_LR, Job
from outer_step.meter import Meter

_UNUSED = (
    *("torchvision", "torchvision.utils", "scipy", "scipy.ndimage", "scipy.ndimage.interpolation"),
    *("kornia", "tqdm", "wandb", "PIL"),
)


class _Stub(ModuleType):
    """Has every attribute, none of which does anything."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)  # torch looks for some of them

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Stub(name)

    def __call__(self, *_: Any, **__: Any) -> _Stub:
        return self


class _Board(_Stub):
    """Stands for wandb: an iteration begins where the loop reports its progress."""

    def __init__(self, meter: Meter) -> None:
        super().__init__("wandb")
        self.config = SimpleNamespace(_items={})
        self.meter = meter

    def init(self, *, config: Any, **_: Any) -> None:
        """Keep the settings, which the loop reads back."""
        self.config._items = dict(vars(config))

    def log(self, facts: dict[str, Any], **_: Any) -> None:
        """Note the time."""
        if "Progress" in facts:
            self.meter.stamp()

    def finish(self) -> None:
        """Note the time."""
        self.meter.stamp()


def run(job: Job) -> dict[str, Any]:
    """Run as many iterations as the meter wants, or one without augmentation."""
    assert job.source is not None
    shape = job.shape
    os.chdir(job.folder)  # whatever it writes
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(job.source))
    sys.modules |= {name: _Stub(name) for name in _UNUSED}
    sys.modules["tqdm"].tqdm = lambda items, **_: items  # type: ignore[attr-defined]
    utils = importlib.import_module("utils")
    meter = Meter(job.device, job.steps)
    sys.modules["wandb"] = _Board(meter)
    images, labels = torch.load(job.folder / "images.pt")
    pairs = list(zip(images, labels.tolist(), strict=True))
    classes = range(shape.classes)
    identity = {label: label for label in classes}
    utils.get_dataset = lambda *_, **__: (
        *(3, (32, 32), shape.classes, list(classes), None, None),
        *(pairs, pairs, None, None, identity, None),
    )
    if shape.width != 128:
        utils.get_default_convnet_setting = lambda: (shape.width, 3, "relu", "instancenorm", "avgpooling")
    found: dict[str, Any] = {}
    if job.found:
        register_optimizer_step_pre_hook(lambda optimizer, *_: _note(optimizer, found))
    options: dict[str, object] = {
        "dataset": shape.dataset,
        "model": "ConvNet",
        "ipc": shape.ipc,
        "syn_steps": shape.inner_steps,
        "expert_epochs": EXPERT_STEPS,
        "max_start_epoch": 1,
        "max_files": 1,
        "lr_teacher": LR_INIT,
        "lr_img": LR_IMG,
        "lr_lr": LR_LR,
        "pix_init": "real",
        "dsa": not job.found,
        "buffer_path": job.folder / "buffers",
        "eval_it": -1,
        "Iteration": 0 if job.found else meter.total - 1,
    }
    script = job.source / "distill.py"
    sys.argv = [str(script), *(f"--{name}={value}" for name, value in options.items())]
    with contextlib.redirect_stdout(sys.stderr):
        runpy.run_path(str(script), run_name="__main__")
    if job.found:
        torch.save(found, job.found)
        return {}
    return meter.result()


def _note(optimizer: torch.optim.Optimizer, found: dict[str, Any]) -> None:
    """Keep what an optimizer is about to use: that of the images, or that of the learning rate."""
    (value,) = optimizer.param_groups[0]["params"]
    if value.ndim == 4:
        found["images"], found["gradient"] = value.detach().cpu().clone(), value.grad.cpu().clone()
    else:
        found["slope"] = float(value.grad)

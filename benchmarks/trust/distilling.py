"""One save of a distillation run: state, results and picture after a step, in the folder of the run."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from mct.data.datasets import Dataset, load
from mct.distillation.folder import RunFolder
from mct.distillation.state import State
from mct.initial.start import start
from mct.models import networks
from mct.results import synthetic
from mct.runtime.seeds import generator
from mct.settings.config import DistillConfig


@cache
def states() -> tuple[Dataset, State, State]:
    """Return real digits, and the states before and after a step."""
    digits = load("digits")
    origin = synthetic.Origin(
        dataset=digits.name,
        class_names=digits.class_names,
        preprocessing=digits.transform.record,
        model=networks.parse("ConvNetD2W4", channels=1, image_size=8, classes=10),
        config=DistillConfig(ipc=1, max_start=3.5),
        artifact_sha256="ab" * 32,
        outer_step=0,
    )
    images = start(digits, origin, generator=generator(3))
    before = State(
        synthetic=images,
        memory={"images": {"velocity": torch.zeros_like(images.images)}, "learning_rate": {"velocity": 0.0}},
        random=generator(1).get_state(),
    )
    return digits, before, replace(before, synthetic=replace(images, origin=replace(origin, outer_step=1)))


def save(path: Path) -> None:
    """Begin or continue the run in a folder, as `mct distill` does, and save its state after the step."""
    digits, before, after = states()
    folder = RunFolder(path)
    with folder.lock():
        if folder.state.is_file():
            folder.resume(before.synthetic.run, device=torch.device("cpu"))
        else:
            folder.check_free()
            folder.start(before)
        folder.open(before, torch.device("cpu"))
        folder.save(after, digits)

"""Runs `Distiller.step`, which is all that `mct distill` does in an outer step, from a bundle on disk."""

from __future__ import annotations

from typing import Any

import torch

import trajfmt
from mct.distillation.distiller import Distiller
from mct.runtime.allocator import keep_memory
from mct.runtime.execution import Execution
from outer_step.job import EXPERT_STEPS, LR_IMG, LR_INIT, LR_LR, Job
from outer_step.meter import Meter

STREAMED = 2.5
"""Trajectories whose knots fit where they are streamed."""


def run(job: Job) -> dict[str, Any]:
    """Do as many steps as the meter wants, or one without augmentation from the start that MTT takes."""
    keep_memory()  # as the command does
    meter, shape = Meter(job.device, job.steps), job.shape
    with trajfmt.open(job.folder / ("one.mtt" if job.found else "many.mct")) as bundle:
        weights = bundle.layout.size * 4 / 2**20
        execution = Execution(
            keep_mb=job.settings.get("keep_mb"),
            knots_mb=max(1, int(STREAMED * 2 * weights)) if job.settings.get("streamed") else 1024,
        )
        distiller = Distiller.from_bundle(
            bundle,
            dataset=str(job.folder / "pictures.npz"),
            model=shape.model,
            preprocessing="normalize",
            device=job.device,
            ipc=shape.ipc,
            inner_steps=shape.inner_steps,
            expert_steps=EXPERT_STEPS if job.found else 1.5,
            max_start=1 if job.found else 0.5,
            augment="none" if job.found else "dsa",
            lr_init=LR_INIT,
            lr_img=LR_IMG,
            lr_lr=LR_LR,
            select="test",
            engine=job.settings["engine"],
            precision=job.settings.get("precision"),
            execution=execution,
        )
        state = distiller.initial()
        if job.found:
            images = state.synthetic.images.cpu()
            state, _ = distiller.step(state)
            gradient, slope = (state.memory[name]["velocity"] for name in ("images", "learning_rate"))
            torch.save({"images": images, "gradient": gradient.cpu(), "slope": slope}, job.found)
            distiller.stream.close()
            return {}
        for _ in range(meter.total):
            meter.stamp()
            state, _ = distiller.step(state)
        meter.stamp()
        distiller.stream.close()
    return {"weights": weights, "notes": list(distiller.notes), **meter.result()}

"""The exact gradient in float64, and how close the gradients come that others wrote down."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import trajfmt
from mct.inner.problem import Problem, targets_of
from mct.inner.steps.table import make_step
from mct.inner.unroll import ExactUnroll, Gradients
from mct.models import networks
from mct.objectives.objective import LossAndAdjoint, Path
from mct.runtime.seeds import generator
from outer_step.job import EXPERT_STEPS, LR_INIT, Job


def run(job: Job) -> dict[str, Any]:
    """Return for every `*.found` in the folder what it has of the exact gradient: cosine and size."""
    truth = reference(job)
    paths = sorted(job.folder.glob("*.found"))
    return {path.stem: compared(torch.load(path), *truth) for path in paths}


def reference(job: Job) -> tuple[Tensor, Tensor, Gradients]:
    """Return images, labels, and the exact gradient in them."""
    images, labels = torch.load(job.folder / "images.pt")
    return images, labels, gradients(job, images, labels)


def compared(found: dict[str, Any], images: Tensor, labels: Tensor, exact: Gradients) -> dict[str, float]:
    """Return what a gradient has of the exact one; its images may be in another order."""
    place = {image.numpy().tobytes(): number for number, image in enumerate(images)}
    order = [place[image.contiguous().numpy().tobytes()] for image in found["images"]]
    assert torch.equal(labels[order], labels), "the images are not the same ones"
    one, other = found["gradient"].double().flatten(), exact.images.cpu()[order].flatten()
    return {
        "cosine": float(one @ other / (one.norm() * other.norm())),
        "size": float(one.norm() / other.norm()),
        "slope": found["slope"] / float(exact.learning_rate),
    }


def gradients(job: Job, images: Tensor, labels: Tensor) -> Gradients:
    """Return the exact gradient for the first start and its target, without augmentation."""
    shape = job.shape
    model = networks.parse(shape.model, channels=3, image_size=32, classes=shape.classes)
    network = networks.build(model, generator=generator(0), device=job.device).double()
    step = make_step(network, engine="eager")
    with trajfmt.open(job.folder / "one.mtt") as bundle:
        weights = [torch.from_numpy(bundle[0].at(time)).double() for time in (0, EXPERT_STEPS)]
    start, target = (step.pack(value.to(job.device)) for value in weights)
    distance = (start - target).square().sum()

    def terminal(path: Path) -> LossAndAdjoint:
        gap = path[-1] - target
        return LossAndAdjoint(float(gap.square().sum() / distance), 2 * gap / distance)

    problem = Problem(
        weights=start,
        images=images.double().to(job.device),
        targets=targets_of(labels, shape.classes, torch.float64).to(job.device),
        learning_rate=LR_INIT,
        batches=[torch.arange(len(images), device=job.device)] * shape.inner_steps,
    )
    return ExactUnroll(step, step_images=100).gradients(problem, terminal)

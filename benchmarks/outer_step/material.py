"""Makes what all contestants work on: images, experts, and both in each one's format.

The data set has as many images as the synthetic one, so that every contestant's random choice is of the
same images, in some order. The expert is trained for a moment, so that gradients are compared on a path that
gradient descent takes; the others are it plus noise, and only there to be chosen from.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

import trajfmt
from mct.data import datasets
from mct.data.readers import arrays, cifar
from mct.models import networks
from mct.runtime.seeds import generator
from outer_step.job import EXPERT_STEPS, LR_INIT, Job

EXPERTS = 20
POOL = 50
"""Training images of the expert, per class."""

UPDATES = 15
"""Updates of the expert between timesteps."""


def run(job: Job) -> dict[str, Any]:
    """Write `pictures.npz`, `images.pt`, `buffers/`, `one.mtt` and `many.mct` to the folder of the job."""
    job.folder.mkdir(parents=True)
    images, labels = pool(job)
    shape = job.shape
    first = np.arange(len(images)).reshape(-1, POOL)[:, : shape.ipc].ravel()
    np.savez(
        job.folder / "pictures.npz",
        train_images=images[first],
        train_labels=labels[first],
        test_images=images[first],
        test_labels=labels[first],
    )
    seen = datasets.load(str(job.folder / "pictures.npz"))
    torch.save([seen.train_images, seen.train_labels], job.folder / "images.pt")

    model = networks.parse(shape.model, channels=3, image_size=32, classes=shape.classes)
    network = networks.build(model, generator=generator(0), device=job.device)
    pixels = seen.transform.forward(torch.from_numpy(images).float() / 255).to(job.device)
    targets = torch.from_numpy(labels).to(job.device)
    path = [networks.flatten(network).detach().cpu()]
    for number in range(EXPERT_STEPS):
        for update in range(UPDATES):
            batch = torch.randperm(len(labels), generator=generator(number, update))[:64].to(job.device)
            loss = cross_entropy(network(pixels[batch]), targets[batch])
            found = torch.autograd.grad(loss, list(network.parameters()))
            with torch.no_grad():
                for value, gradient in zip(network.parameters(), found, strict=True):
                    value -= LR_INIT * gradient
        path.append(networks.flatten(network).detach().cpu())
    expert = torch.stack(path)

    layout = trajfmt.ParamLayout.of(networks.parameters_of(network))
    shapes = [value.shape for value in network.parameters()]
    sizes = [value.numel() for value in network.parameters()]
    steps = [
        [part.view(form).clone() for part, form in zip(step.split(sizes), shapes, strict=True)]
        for step in expert
    ]
    buffers = job.folder / "buffers" / f"{shape.dataset}_NO_ZCA" / "ConvNet"
    buffers.mkdir(parents=True)
    torch.save([steps], buffers / "replay_buffer_0.pt")
    with trajfmt.create(job.folder / "one.mtt", layout, encoding="full") as writer:
        writer.add(trajfmt.ArrayTrajectory(expert.numpy(), layout))
    with trajfmt.create(job.folder / "many.mct", layout, encoding="convex") as writer:
        for number in range(EXPERTS):
            noise = 0.01 * torch.randn(expert.shape, generator=generator(number, "noise"))
            writer.add(trajfmt.ArrayTrajectory((expert + noise).numpy(), layout))
    return {"parameters": layout.size, "loss": float(loss)}


def pool(job: Job) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 images `(K*POOL, 3, 32, 32)` and their labels, sorted by class: real ones, or noise."""
    classes = job.shape.classes
    if job.source is None:
        random = np.random.default_rng(0)
        patterns = random.normal(128, 30, (classes, 1, 3, 32, 32))
        images = (patterns + random.normal(0, 50, (classes, POOL, 3, 32, 32))).clip(0, 255).astype(np.uint8)
        return images.reshape(-1, 3, 32, 32), np.repeat(np.arange(classes), POOL)
    read = cifar.read100 if job.shape.dataset == "CIFAR100" else cifar.read10
    raw = arrays.read(job.source) if job.source.is_file() else read(job.source)
    images, labels = np.asarray(raw.train_images), np.asarray(raw.train_labels)
    if images.shape[-1] == 3:
        images = images.transpose(0, 3, 1, 2)
    counts = np.bincount(labels, minlength=classes)
    if images.dtype != np.uint8 or images.shape[1:] != (3, 32, 32) or len(counts) != classes:
        sys.exit(
            f"{job.source}: expected uint8 images of {job.shape.dataset}, found {images.dtype} {images.shape}"
        )
    if counts.min() < POOL:
        sys.exit(f"{job.source}: expected {POOL} training images of every class, found {counts.min()}")
    chosen = np.concatenate([np.flatnonzero(labels == label)[:POOL] for label in range(classes)])
    return np.ascontiguousarray(images[chosen]), labels[chosen].astype(np.int64)

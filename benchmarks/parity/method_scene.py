"""What both sides of `methods.py` are given: real images, experts, and random numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

import trajfmt
from mct.inner.problem import minibatches
from mct.models import networks
from mct.models.functional import Functional
from mct.runtime.seeds import generator

CLASSES, PER_CLASS = 3, 20
MODEL = "ConvNetW32"
"""A name that is the same in all codebases: three blocks of 32 channels, with instance norm."""


def model() -> trajfmt.Model:
    """Return the network of experts and students."""
    return networks.parse(MODEL, channels=3, image_size=32, classes=CLASSES)


def real() -> tuple[torch.Tensor, torch.Tensor]:
    """Return images `(60, 3, 32, 32)` in float64, noise around one pattern for each class, and labels."""
    random = generator(0, "images")
    labels = torch.arange(CLASSES * PER_CLASS) % CLASSES
    patterns = torch.randn(CLASSES, 3, 32, 32, generator=random, dtype=torch.float64)
    noise = torch.randn(len(labels), 3, 32, 32, generator=random, dtype=torch.float64)
    return noise + 0.3 * patterns[labels], labels


def experts(count: int, timesteps: int, rate: float) -> Iterator[list[list[torch.Tensor]]]:
    """Yield trajectories in float64, of two updates of SGD with batches of 10 between timesteps."""
    images, labels = real()
    for seed in range(count):
        network = networks.build(model(), generator=generator(seed, "expert")).double()
        shapes = [parameter.shape for parameter in network.parameters()]
        function, theta = Functional(network), networks.flatten(network).detach()
        batches = iter(minibatches(len(images), 10, 2 * (timesteps - 1), generator(seed, "batches")))
        path = []
        for step in range(timesteps):
            for batch in (next(batches), next(batches)) if step else ():
                theta.requires_grad_()
                loss = cross_entropy(function(theta, images[batch]), labels[batch])
                theta = (theta - rate * torch.autograd.grad(loss, theta)[0]).detach()
            pieces = torch.split(theta, [shape.numel() for shape in shapes])
            path.append([piece.view(shape).clone() for piece, shape in zip(pieces, shapes, strict=True)])
        yield path


def write_buffer(folder: Path, made: Iterable[list[list[torch.Tensor]]]) -> Path:
    """Write trajectories in the layout that all the scripts read, and return the folder of the file."""
    place = folder / "buffers" / "CIFAR10_NO_ZCA" / MODEL
    place.mkdir(parents=True)
    torch.save(list(made), place / "replay_buffer_0.pt")
    return place


def randoms(iteration: int) -> tuple[torch.Generator, torch.Generator]:
    """Return the generators of the batches and of the augmentation of one outer iteration."""
    return generator(iteration, "parity batches"), generator(iteration, "parity augmentation")

"""Networks of MTT by name."""

import functools

import torch

from mct.models import networks
from mct.runtime.seeds import generator


def build(
    name: str, *, channels: int = 3, size: int = 32, classes: int = 10, seed: int = 0
) -> torch.nn.Module:
    """Return a network by name."""
    model = networks.parse(name, channels=channels, image_size=size, classes=classes)
    return networks.build(model, generator=generator(seed))


shared = functools.cache(build)
"""The same, for tests that only look at it."""

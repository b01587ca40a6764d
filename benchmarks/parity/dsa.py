"""Augmentation: every family on the same draws, values and gradients."""

from __future__ import annotations

from types import ModuleType

import torch
from reference import fed
from table import Line, Lines, relative

from mct.data.augment import DSA, STRATEGY
from mct.runtime.seeds import generator

SIZES = ((16, 3, 32), (16, 1, 28), (8, 3, 64), (9, 3, 15), (9, 1, 8))
REPEATS = 4


def check(utils: ModuleType) -> Lines:
    """Compare in float64 and in float32, at several sizes."""
    for dtype, allowed in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        for family in STRATEGY.split("_"):
            value = slope = 0.0
            for count, channels, size in SIZES:
                for repeat in range(REPEATS):
                    found = errors(utils, family, dtype, (count, channels, size), repeat)
                    value, slope = max(value, found[0]), max(slope, found[1])
            what = f"DSA {family}, {dtype}, {len(SIZES)} sizes".replace("torch.", "")
            yield Line(f"{what}: values", value, allowed)
            yield Line(f"{what}: gradient of the images", slope, allowed)


def errors(
    utils: ModuleType, family: str, dtype: torch.dtype, shape: tuple[int, int, int], repeat: int
) -> tuple[float, float]:
    """Return the errors of one call and of its gradient for a random cotangent."""
    (count, channels, size), random = shape, generator(repeat, family)
    images = torch.randn(count, channels, size, size, generator=random, dtype=dtype).requires_grad_()
    weights = torch.randn(images.shape, generator=random, dtype=dtype)
    dsa = DSA(family)
    draws = dsa.draw(count, size, random)
    ours = dsa.apply(images, draws)
    with fed(utils, [draws], family, dtype):
        theirs = utils.DiffAugment(images, family, param=utils.ParamDiffAug())
    gradients = [torch.autograd.grad((result * weights).sum(), images)[0] for result in (ours, theirs)]
    return relative(ours, theirs), relative(*gradients)

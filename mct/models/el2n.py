"""EL2N scores: how difficult images are for networks early in their training.

The score of an image x of class y is the mean over networks of || softmax f(x; theta(t)) - onehot(y) ||, at
timestep t = 10 of the first ten experts.

References:
    Paul et al., "Deep Learning on a Data Diet: Finding Important Examples Early in Training", NeurIPS 2021.
"""

from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor, nn

from mct.models.functional import Functional

NAME: Final = "el2n"
"""Name of these scores, in settings and in bundles."""

TIMESTEP: Final = 10
"""Timestep of the networks; an epoch each in MTT's buffers."""

EXPERTS: Final = 10
"""Number of experts, if there are as many."""

_BLOCK = 1024
"""Images per forward pass."""


def scores(network: nn.Module, weights: Iterable[Tensor], images: Tensor, labels: Tensor) -> Tensor:
    """Return the EL2N scores `(N,)` float64 of images, on the CPU.

    Args:
        network: A network without buffers, on the device that computes.
        weights: The weights `(P,)` of each expert.
        images: `(N, C, H, W)`.
        labels: `(N,)` int64.
    """
    functional, device = Functional(network), next(network.parameters()).device
    norms_of = []
    for theta in weights:
        there, norms = theta.to(device), []
        for x, y in zip(torch.split(images, _BLOCK), torch.split(labels, _BLOCK), strict=True):
            error = functional.probabilities(there, x.to(device)).double()
            error[torch.arange(len(y), device=device), y.to(device)] -= 1
            norms.append(error.norm(dim=1))
        norms_of.append(torch.cat(norms).cpu())
    return torch.stack(norms_of).mean(0)

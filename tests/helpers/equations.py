"""Equations 8 to 10 in float64, element by element, for a network of five parameters."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from trajfmt import ParamLayout

Array = NDArray[np.generic]
SHAPES = [
    ("conv.weight", (4, 3, 2, 2)),
    ("conv.bias", (4,)),
    ("fc.weight", (5, 4)),
    ("fc.bias", (5,)),
    ("s", ()),
]


def columns_of(layout: ParamLayout, layer: int) -> list[int]:
    """Return the elements of a layer."""
    return [
        i for p in layout.layers[layer].parameters for i in range(layout.offsets[p], layout.offsets[p + 1])
    ]


def beta_of(theta: Array, layout: ParamLayout, knots: list[int]) -> NDArray[np.float64]:
    """Return eq. 9 of every stretch, from the weights, in float64."""
    wide = theta.astype(np.float64)
    u = np.zeros((len(theta), layout.num_layers))
    for layer in range(layout.num_layers):
        own = wide[:, columns_of(layout, layer)]
        norm = [float(np.linalg.norm(own[t + 1] - own[t])) for t in range(len(theta) - 1)]
        for s, (a, b) in enumerate(itertools.pairwise(knots)):
            for t in range(a, b + 1):
                length = sum(norm[a:b])
                u[t, layer] = s + (sum(norm[a:t]) / length if length else (t - a) / (b - a))
    return u


def weights_at(
    theta: Array, u: NDArray[np.float64], layout: ParamLayout, knots: list[int], t: float
) -> Array:
    """Return eqs. 8 and 10 in float64, element by element."""
    wide = theta.astype(np.float64)
    n = min(int(np.floor(t)), len(theta) - 2)
    out = np.zeros(layout.size)
    for layer in range(layout.num_layers):
        x = (1 - (t - n)) * u[n, layer] + (t - n) * u[n + 1, layer]
        s = min(int(np.floor(x)), len(knots) - 2)
        own = columns_of(layout, layer)
        out[own] = (1 - (x - s)) * wide[knots[s]][own] + (x - s) * wide[knots[s + 1]][own]
    return out

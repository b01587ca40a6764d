"""Bundles in which another order of operations, or one rounding more, gives other bits.

Owns the numbers of section 6.4: near ties, subnormal numbers, zeros with a sign, and overflow.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from bundles import Files, convex
from containers import ITEM

NET = [("w", [6]), ("v", [2, 2]), ("s", [])]
"""Eleven elements in three layers."""

LOWEST = {"F16": -24, "BF16": -133, "F32": -149, "F64": -1074}
"""Exponent of the smallest number of each type."""


def uneven(seed: int, timesteps: int, dtype: str) -> np.ndarray:
    """Return weights `(T+1, 11)` whose fractions use all bits of their type, of very different sizes."""
    state, rows = seed, []
    for _ in range(timesteps * 11):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        size = state % 7 - 3
        rows.append((state >> 11) / 2.0**53 * 2.0**size * (-1) ** (state >> 10 & 1))
    return np.array(rows).reshape(timesteps, 11).astype(ITEM[dtype])


def near_ties(dtype: str) -> np.ndarray:
    """Return two timesteps whose mean at t = 0.25 is a tie of the type and a little more or less.

    Three quarters of a number a with an odd last bit lie halfway between two numbers of the type. The last
    elements are the smallest of the type, of which a part is no number of the type either.
    """
    bits = {"F16": 10, "BF16": 7, "F32": 23, "F64": 52}[dtype]
    odd = [1 + k * 2.0**-bits for k in (1, 2, 3, 5, 6, 7)]
    little = {"F16": 2.0**-20, "BF16": 2.0**-40, "F32": 2.0**-40, "F64": 2.0**-60}[dtype]
    scale = 2.0**8 if dtype == "F16" else 1.0
    tiny = 2.0 ** LOWEST[dtype]
    first = [scale * x for x in odd] + [tiny, 3 * tiny, 5 * tiny, -0.0, -7 * tiny]
    last = [-little, little, little, -little, 0.0, little, -0.0, tiny, -tiny, 0.0, 2 * tiny]
    return np.array([first, last]).astype(ITEM[dtype])


def forms(a: float, b: float, eta: float) -> list[float]:
    """Return x as the text says, and in each form in which other programs compute a mean."""
    low, high = (1 - eta) * a, eta * b
    fused = (
        Fraction(low) + Fraction(eta) * Fraction(b),
        Fraction(1 - eta) * Fraction(a) + Fraction(high),
        Fraction(a) + Fraction(eta) * Fraction(b - a),
    )
    return [low + high, a + eta * (b - a), *map(float, fused)]


def telling(u: list[list[float]], count: int) -> list[float]:
    """Return some t at which x of the first layer has bits that no other form has."""
    found, state = [], 1
    while len(found) < count:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        t = 1 + (state >> 11) / 2.0**53 * (len(u) - 3)
        n = int(t)
        right, *others = forms(u[n][0], u[n + 1][0], t - n)
        if right not in others:
            found.append(t)
    return found


def pinned() -> Files:
    """Return a bundle whose first element is x itself: it is 0 at the first knot, and 1 at the second."""
    theta = uneven(53, 6, "F64")
    theta[0, :6], theta[-1, :6] = 0.0, 1.0
    one = {"theta": theta, "knots": [0, 5]}
    u = json.loads(convex([one], params=NET, dtype="F64")["expected.json"])["trajectories"][0]["u"]
    return convex([{**one, "at": telling(u, 6)}], params=NET, dtype="F64")


def valid() -> Iterator[tuple[str, Files, dict[str, Any]]]:
    """Yield the bundles: name, files, entries of the index."""
    for number, dtype in enumerate(("F64", "F32", "F16", "BF16")):
        theta = uneven(31 + number, 6, dtype)
        files = convex(
            [
                {"theta": theta, "knots": [0, 2, 5]},
                {"theta": near_ties(dtype), "knots": [0, 1], "at": [0.25, 0.75]},
            ],
            params=NET,
            dtype=dtype,
        )
        why = "every bit between knots: order of operations, near ties, subnormal numbers, zeros with a sign"
        yield f"convex-bits-{dtype.lower()}.mct", files, {"purpose": why}
    free = [[-1.5, 2.25, 0.5], [1e6, -1e6, 1.0], [0.0, 1.0, -0.0]]
    theta = uneven(41, 3, "F16")
    theta[:, 0] = [-0.0, 1.0, 2.0]
    wanted = {"theta": theta, "knots": [0, 2], "free": free, "no_norms": True}
    why = "a free table whose results are too large for their type, and become infinite"
    yield "convex-free-overflow.mct", convex([wanted], params=NET, dtype="F16"), {"purpose": why}
    theta = uneven(43, 3, "BF16")
    theta[:, 0] = [1e38, 1.0, -3e38]
    wanted = {"theta": theta, "knots": [0, 2], "free": free, "no_norms": True}
    why = "a free table whose results are too large for bfloat16, and become infinite"
    yield "convex-free-overflow-bf16.mct", convex([wanted], params=NET, dtype="BF16"), {"purpose": why}
    why = "bits of x: neither a + eta (b - a) nor a fused product and sum gives them"
    yield "convex-bits-x.mct", pinned(), {"purpose": why}

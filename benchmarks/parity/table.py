"""One line for each check: what was compared, how far apart the two sides are, and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Line:
    """The outcome of one check, or, without an error, what could not be checked and why."""

    what: str
    error: float | None
    allowed: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether the two sides are further apart than allowed; NaN is."""
        return self.error is not None and not self.error <= self.allowed

    def __str__(self) -> str:
        if self.error is None:
            return f"SKIP  {'':>17}  {self.what}"
        return f"{'FAIL' if self.failed else 'PASS'}  {self.error:7.1e} <= {self.allowed:4.0e}  {self.what}"


Lines = Iterator[Line]


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the largest deviation, as a share of the largest expected value; infinite with a NaN."""
    found, expected = found.detach().double(), expected.detach().double()
    if found.shape != expected.shape:
        raise ValueError(f"cannot compare {tuple(found.shape)} with {tuple(expected.shape)}")
    scale = float(expected.abs().max())
    error = float((found - expected).abs().max()) / (scale if scale else 1.0)
    return math.inf if math.isnan(error) else error

"""Tensors of a timestep, to compare bit for bit."""

from __future__ import annotations

from typing import Any


def flat(step: Any) -> bytes:
    """Return the bytes of the tensors of a timestep, one after the other."""
    return b"".join(tensor.detach().contiguous().numpy().tobytes() for tensor in step)

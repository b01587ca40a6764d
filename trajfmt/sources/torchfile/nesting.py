"""A check that an unpickled file is a replay buffer, with a description of what it is if it is not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trajfmt.errors import CorruptError
from trajfmt.sources.torchfile.stored import is_tensor

__all__ = ["check_nesting"]


def check_nesting(buffer: Any, path: Path) -> None:
    """Require a list of trajectories. The error describes other files that are common in the field.

    Raises:
        CorruptError: the value is something else.
    """
    found = _other_kind(buffer)
    if found is not None:
        raise CorruptError(
            "source_invalid", f"a buffer is a list of trajectories, this holds {found}", path=path
        )


def _other_kind(buffer: Any) -> str | None:
    """Return a description of a value that is no list of trajectories, or None."""
    if is_tensor(buffer):
        return _images([buffer]) or f"one tensor of shape {tuple(buffer.shape)}"
    if isinstance(buffer, Mapping):
        tensors = [value for value in buffer.values() if is_tensor(value)]
        return _images(tensors) or (
            "a dict: a checkpoint is one timestep; give the folder of all of them (--from checkpoints)"
        )
    if not isinstance(buffer, (list, tuple)):
        return type(buffer).__name__
    if buffer and all(map(is_tensor, buffer)):
        return _images(buffer) or "a list of tensors: one timestep, or parameters of one network"
    one_level_short = buffer and all(
        isinstance(step, (list, tuple)) and step and all(map(is_tensor, step)) for step in buffer
    )
    if one_level_short:
        return "a list of lists of tensors: one trajectory; save it in a list of its own"
    return None


def _images(tensors: Any) -> str | None:
    """Return a description if the tensors are images `(N, C, H, W)` or `(C, H, W)` with 1 or 3 channels."""
    shapes = [tuple(tensor.shape) for tensor in tensors]
    pictures = [
        shape for shape in shapes if len(shape) in (3, 4) and shape[-3] in (1, 3) and min(shape[-2:]) > 7
    ]
    if not pictures or len(pictures) < len([shape for shape in shapes if len(shape) > 2]):
        return None
    return f"images of shape {pictures[0]}, not weights: `mct evaluate` reads distilled sets"

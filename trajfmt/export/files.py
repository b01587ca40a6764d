"""Writing the files of a target, each of them complete or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from trajfmt.errors import WriteError, display
from trajfmt.storage.writing import replacing

__all__ = ["ranges", "save"]


def save(value: Any, target: Path) -> None:
    """`torch.save` a value at `target`, atomically and durably.

    torch writes to the name of the partial file and not to its descriptor, since that name enters the bytes.

    Raises:
        WriteError: the file cannot be written.
    """
    try:
        with replacing(target) as file:
            torch.save(value, file.name)
    except (RuntimeError, OSError) as exc:  # torch reports a full disk as RuntimeError
        reason = str(exc).splitlines()[0]
        raise WriteError(f"{display(target)}: cannot be written: {reason}") from exc


def ranges(count: int, per_file: int) -> Iterator[tuple[int, range]]:
    """Yield, for each file, its number and the range of trajectories in it."""
    for number, first in enumerate(range(0, count, per_file)):
        yield number, range(first, min(first + per_file, count))

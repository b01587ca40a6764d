"""Writing what other code reads: one file at a time, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from trajfmt.errors import WriteError, display
from trajfmt.storage.files import fsync_directory, fsync_file

__all__ = ["ranges", "save"]


def save(value: Any, target: Path) -> None:
    """`torch.save` a value, atomically and durably.

    Raises:
        WriteError: the file cannot be written.
    """
    partial = target.parent / f".{target.name}.partial"
    try:
        torch.save(value, partial)
        fsync_file(partial)
        os.replace(partial, target)
    except BaseException as exc:
        partial.unlink(missing_ok=True)
        if isinstance(exc, (RuntimeError, OSError)):  # torch reports a full disk as RuntimeError
            reason = str(exc).splitlines()[0]
            raise WriteError(f"{display(target)}: cannot be written: {reason}") from exc
        raise
    fsync_directory(target.parent)


def ranges(count: int, per_file: int) -> Iterator[tuple[int, range]]:
    """Yield the number of each file and the trajectories in it."""
    for number, first in enumerate(range(0, count, per_file)):
        yield number, range(first, min(first + per_file, count))

"""Writing the files of a target, each of them complete or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

import torch

from trajfmt.errors import WriteError, display
from trajfmt.storage.writing import replacing, write_at

__all__ = ["ranges", "save"]

_PROBE: Final = 2**20
"""Bytes that are written to find out why torch could not write."""


def save(value: Any, target: Path) -> None:
    """`torch.save` a value at `target`, atomically and durably.

    torch writes to the name of the partial file and not to its descriptor, since that name enters the bytes.

    Raises:
        WriteError: the file cannot be written.
    """
    try:
        with replacing(target) as file:
            try:
                torch.save(value, file.name)
            except RuntimeError as exc:
                _explain(file, exc)
    except OSError as exc:
        raise WriteError(f"{display(target)}: cannot be written: {exc.strerror or exc}") from exc


def _explain(file: BinaryIO, exc: RuntimeError) -> NoReturn:
    """Raise the error of the operating system behind one of torch, which names no file and no cause.

    A full disk takes no further bytes.

    Raises:
        OSError: always.
    """
    write_at(file.fileno(), bytes(_PROBE), os.fstat(file.fileno()).st_size)
    os.fsync(file.fileno())
    raise OSError(f"torch says: {str(exc).splitlines()[0]}") from exc


def ranges(count: int, per_file: int) -> Iterator[tuple[int, range]]:
    """Yield, for each file, its number and the range of trajectories in it."""
    for number, first in enumerate(range(0, count, per_file)):
        yield number, range(first, min(first + per_file, count))

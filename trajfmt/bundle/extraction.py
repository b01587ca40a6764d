"""Writing one timestep of a bundle as an ordinary checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

import numpy as np

from trajfmt.bundle.reader import Bundle, Trajectory
from trajfmt.encodings.parts.knots import checkpoint_header
from trajfmt.errors import ExistsError, TrajfmtError, UsageError, WriteError, display
from trajfmt.storage.address import local
from trajfmt.storage.writing import occupied, replacing

__all__ = ["extract"]

_BLOCK: Final = 2**20
"""Number of elements that are computed and written at a time."""


def extract(bundle: Bundle, trajectory: int, t: float, output: str | os.PathLike[str]) -> None:
    """Write the weights of a trajectory at timestep t as a safetensors file, by the names of the parameters.

    The module buffers of the last stored timestep up to t follow the parameters.

    Args:
        bundle: the bundle.
        trajectory: the number of the trajectory.
        t: the timestep. Between whole numbers only for a convex bundle.
        output: the file, whose name ends in `.safetensors`.

    Raises:
        ExistsError: `output` exists.
        TimestepError: t is outside the trajectory, or between the timesteps of a full one.
        UsageError: `output` does not end in `.safetensors`, or its folder is missing.
        WriteError: the file cannot be written.
        TrajfmtError: the bundle cannot be read.
    """
    path = local(output)
    if path.suffix != ".safetensors":
        raise UsageError(f"{display(path)}: the output must end in .safetensors")
    if occupied(path):
        raise ExistsError(f"{display(path)} already exists; choose another name or remove it")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{display(path.absolute().parent)}: no such folder; create it first")
    about = {"bundle_sha256": bundle.sha256, "t": float(t), "trajectory": trajectory}
    try:
        with replacing(path) as file:
            file.writelines(_read(bundle, _checkpoint(bundle[trajectory], t, about)))
    except TrajfmtError:
        raise
    except OSError as exc:
        raise WriteError(f"{display(path)}: cannot be written: {exc.strerror or exc}") from exc


def _read(bundle: Bundle, pieces: Iterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """Yield pieces of a bundle; an error of its disk is not one of the output's.

    Raises:
        TrajfmtError: the bundle cannot be read.
    """
    try:
        yield from pieces
    except OSError as exc:
        if isinstance(exc, TrajfmtError):
            raise
        raise TrajfmtError(f"{display(bundle.place)}: cannot be read: {exc.strerror or exc}") from exc


def _checkpoint(trajectory: Trajectory, t: float, about: object) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a checkpoint, one block of weights at a time."""
    layout = trajectory.layout
    trajectory.prepare(t, 0, layout.size)
    names = {parameter.name for parameter in layout.parameters}
    buffers = [(name, held) for name, held in trajectory.buffers(t).items() if name not in names]
    yield checkpoint_header(layout, buffers, about)
    for start in range(0, layout.size, _BLOCK):
        piece = trajectory.pieces(t, start, min(start + _BLOCK, layout.size))
        yield np.ascontiguousarray(piece).view(np.uint8).data
    for _, held in buffers:
        yield np.ascontiguousarray(held).reshape(-1).view(np.uint8).data

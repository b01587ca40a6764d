"""Writing one timestep of a bundle as an ordinary checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.bundle.reader import Bundle, Trajectory
from trajfmt.encodings.parts.knots import checkpoint_header
from trajfmt.errors import ExistsError, TrajfmtError, UsageError, WriteError, display
from trajfmt.storage.address import local
from trajfmt.storage.writing import occupied, replacing

__all__ = ["extract"]

_MOST_NAMES: Final = 20
"""Layers that an error lists."""

_BLOCK: Final = 2**20
"""Number of elements that are computed and written at a time."""


def extract(
    bundle: Bundle, trajectory: int, t: float, output: str | os.PathLike[str], *, layer: str | None = None
) -> list[str]:
    """Write the weights of a trajectory at timestep t as a safetensors file, by the names of the parameters.

    The module buffers of the last stored timestep up to t follow the parameters, unless only one layer is
    wanted.

    Args:
        bundle: the bundle.
        trajectory: the number of the trajectory.
        t: the timestep. Between whole numbers only for a convex bundle.
        output: the file, whose name ends in `.safetensors`.
        layer: name of the layer to write. By default all parameters are written.

    Returns:
        Remarks for the user: which timestep the module buffers are from, if it is not t.

    Raises:
        ExistsError: `output` exists.
        TimestepError: t is outside the trajectory, or between the timesteps of a full one.
        UsageError: `output` does not end in `.safetensors`, its folder is missing, there is no such layer,
            or a parameter has the name of a module buffer.
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
    chosen = _parameters(bundle, layer)
    try:
        with replacing(path) as file:
            buffers = [] if chosen is not None else _buffers(bundle[trajectory], t)
            file.writelines(_read(bundle, _checkpoint(bundle[trajectory], t, about, chosen, buffers)))
    except TrajfmtError:
        raise
    except OSError as exc:
        raise WriteError(f"{display(path)}: cannot be written: {exc.strerror or exc}") from exc
    stored = max(knot for knot in bundle[trajectory].knots if knot <= t)
    if not buffers or stored == t:
        return []
    return [f"the module buffers are those of t = {stored}, the last knot before: they are not interpolated"]


def _buffers(trajectory: Trajectory, t: float) -> list[tuple[str, NDArray[Any]]]:
    """Return the module buffers of the last stored timestep up to t.

    Raises:
        UsageError: one has the name of a parameter.
    """
    names = {parameter.name for parameter in trajectory.layout.parameters}
    held = trajectory.buffers(t)
    if twice := names & held.keys():
        raise UsageError(
            f"`{display(min(twice))}` is the name of a parameter and of a module buffer; pass --layer"
        )
    return list(held.items())


def _parameters(bundle: Bundle, layer: str | None) -> list[int] | None:
    """Return the numbers of the parameters in a layer; None for all parameters.

    Raises:
        UsageError: the bundle has no layer of this name, or several.
    """
    if layer is None:
        return None
    found = [list(each.parameters) for each in bundle.layout.layers if each.name == layer]
    if len(found) != 1:
        names = ", ".join(display(each.name) for each in bundle.layout.layers[:_MOST_NAMES])
        more = ", …" if len(bundle.layout.layers) > _MOST_NAMES else ""
        raise UsageError(
            f"the bundle must have one layer {display(layer)!r}, got {len(found)}; its layers are"
            f" {names}{more}"
        )
    return found[0]


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


def _checkpoint(
    trajectory: Trajectory,
    t: float,
    about: object,
    chosen: list[int] | None,
    buffers: list[tuple[str, NDArray[Any]]],
) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a checkpoint, one block of weights at a time."""
    layout = trajectory.layout
    spans = [(0, layout.size)]
    if chosen is not None:
        spans = [(layout.offsets[number], layout.offsets[number + 1]) for number in chosen]
    numbers = range(len(layout.parameters)) if chosen is None else chosen
    yield checkpoint_header([layout.parameters[number] for number in numbers], buffers, about)
    for first, stop in spans:
        trajectory.prepare(t, first, stop)
        for start in range(first, stop, _BLOCK):
            piece = trajectory.pieces(t, start, min(start + _BLOCK, stop))
            yield np.ascontiguousarray(piece).view(np.uint8).data
    for _, held in buffers:
        yield np.ascontiguousarray(held).reshape(-1).view(np.uint8).data

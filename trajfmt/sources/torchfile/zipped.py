"""A plain MTT buffer read in place: where its tensors lie in the zip file, without making any tensor.

Owns what of them is kept: a tensor costs 28 bytes here and 1.5 kB there, and no torch is needed. What is more
than lists of lists of lists of contiguous floats is `Unusual`, and the file goes to `unpickle` and torch.
"""

from __future__ import annotations

import math
import mmap
import os
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import SourceError
from trajfmt.schema.layout import DTYPES, Dtype
from trajfmt.sources.base.collection import Plain, Shapes, check_timesteps
from trajfmt.sources.torchfile.instructions import run
from trajfmt.sources.torchfile.members import Members, Unusual, compare
from trajfmt.sources.torchfile.placement import Tensor
from trajfmt.storage.files import open_regular

__all__ = ["Unusual", "ZippedTrajectory", "read"]


class Piece(NamedTuple):
    """Some neighbouring tensors of a timestep; equal shapes and dtypes are one object for all timesteps."""

    shapes: Shapes
    dtypes: tuple[Dtype, ...]
    starts: array[int]
    sums: array[int]


def read(path: Path) -> list[ZippedTrajectory]:
    """Return the trajectories of a plain buffer, mapped.

    Raises:
        Unusual: it is not plain.
        CorruptError: its pickle is damaged, or made to do harm.
    """
    fd = open_regular(path.resolve())
    try:
        mapped = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
    except ValueError as exc:
        raise Unusual from exc
    finally:
        os.close(fd)
    members = Members(mapped, path)
    begin, end = members.pickle()
    buffer = run(mapped, members, _Memo(), tensor=_plain, listed=partial(_packed, known={}))
    _check_nesting(buffer, end - begin)
    return [ZippedTrajectory(mapped, steps, path) for steps in buffer]


def _check_nesting(buffer: Any, most: int) -> None:
    """Require lists of lists of lists of tensors, no more of them than the pickle has bytes.

    A list may stand in another many times over: without the bound a small file costs days.
    """
    if not isinstance(buffer, list):
        raise Unusual
    seen = 0
    for steps in buffer:
        if not isinstance(steps, list):
            raise Unusual
        for step in steps:
            if not isinstance(step, list) or not all(isinstance(piece, Piece) for piece in step):
                raise Unusual
            seen += 1 + sum(len(piece.starts) for piece in step)
            if seen > most:
                raise Unusual


def _plain(tensor: Tensor) -> Tensor:
    """Require contiguous floats."""
    if tensor.dtype not in DTYPES or tensor.strides is not None:
        raise Unusual
    return tensor


def _packed(items: list[Any], known: dict[Any, Any]) -> list[Any]:
    """Return what a list gets: one piece in place of tensors."""
    if not items or not all(isinstance(item, Tensor) for item in items):
        return items
    shapes, dtypes = tuple(item.shape for item in items), tuple(item.dtype for item in items)
    return [
        Piece(
            known.setdefault(shapes, shapes),
            known.setdefault(dtypes, dtypes),
            array("q", [item.start for item in items]),
            array("I", [item.crc for item in items]),
        )
    ]


class _Memo:
    """What a pickle may refer to again, as far as torch does so: names, lists, and keys of storages.

    A tensor or a tuple that is referred to again is unusual; to keep them all would cost more than the
    conversion.
    """

    def __init__(self) -> None:
        self._last = -1
        self._kept: dict[int, Any] = {}
        self._places, self._keys = array("q"), array("q")

    def __setitem__(self, place: int, value: Any) -> None:
        if place <= self._last:
            raise Unusual  # Python's pickler counts upwards
        self._last = place
        if isinstance(value, str) and value.isdecimal() and str(int(value)) == value:
            self._places.append(place)
            self._keys.append(int(value))
        elif not isinstance(value, (tuple, dict)):
            self._kept[place] = value

    def __getitem__(self, place: int) -> Any:
        found = bisect_left(self._places, place)
        if found < len(self._places) and self._places[found] == place:
            return str(self._keys[found])
        return self._kept[place]


class ZippedTrajectory(Plain):
    """One trajectory of a mapped buffer, as a `Source`."""

    def __init__(self, mapped: mmap.mmap, steps: Sequence[Sequence[Piece]], path: Path) -> None:
        self._mapped = mapped
        self._steps = [_joined(step) for step in steps]
        self._path = path

    @property
    def timesteps(self) -> int:
        """Return T + 1."""
        return len(self._steps)

    @property
    def shapes(self) -> Shapes:
        """Return the parameters' shapes at t = 0."""
        return self._steps[0].shapes if self._steps else ()

    @property
    def dtype(self) -> Dtype:
        """Return the common dtype of all tensors.

        Raises:
            SourceError: they differ.
        """
        found = {dtype for step in self._steps for dtype in step.dtypes}
        if len(found) != 1:
            names = ", ".join(sorted(DTYPES[name].name for name in found))
            raise SourceError(
                "mixed_dtypes",
                f"all weights must share one dtype, got {names}; --dtype stores all in one",
                path=self._path,
            )
        return found.pop()

    def read(self, t: int, parameter: int) -> NDArray[np.generic]:
        """Return one parameter at timestep t, flattened: a read-only view of the mapped file.

        Raises:
            CorruptError: its bytes are not those that torch wrote.
        """
        step = self._steps[t]
        count, dtype = math.prod(step.shapes[parameter]), DTYPES[step.dtypes[parameter]]
        if count == 0:
            return np.empty(0, dtype)
        values = np.frombuffer(self._mapped, dtype, count, step.starts[parameter])
        return compare(values, step.sums[parameter], f"timestep {t}, tensor {parameter}", self._path)

    def close(self) -> None:
        """Drop the places."""
        self._steps = []

    def check(self) -> None:
        """Refuse what MTT's own script saves by mistake.

        Raises:
            CorruptError: a timestep without tensors.
            SourceError: timesteps of different shapes, or all timesteps are one and the same memory.
        """
        check_timesteps(
            [step.shapes for step in self._steps], [step.starts for step in self._steps], self._path
        )


def _joined(step: Sequence[Piece]) -> Piece:
    """Return a timestep as one piece; a pickle holds a long list in several."""
    if len(step) == 1:
        return step[0]
    starts, sums = array("q"), array("I")
    for piece in step:
        starts.extend(piece.starts)
        sums.extend(piece.sums)
    shapes = tuple(shape for piece in step for shape in piece.shapes)
    return Piece(shapes, tuple(dtype for piece in step for dtype in piece.dtypes), starts, sums)

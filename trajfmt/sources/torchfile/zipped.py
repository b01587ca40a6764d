"""A plain replay buffer of MTT, read in place without torch.

Only the places of tensors are kept. A tensor takes 28 bytes of memory here and 1.5 kB in torch. A buffer that
is more than lists of lists of lists of contiguous floats, each in a storage of its own, is `Unusual`, and is
left to `pickled`.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from trajfmt.errors import SourceError
from trajfmt.schema.layout import DTYPES, Dtype
from trajfmt.sources.base.trajectories import Plain, Shapes
from trajfmt.sources.torchfile.calls import run
from trajfmt.sources.torchfile.members import Members, Unusual, compare
from trajfmt.sources.torchfile.nesting import check_timesteps
from trajfmt.sources.torchfile.placement import Tensor
from trajfmt.storage.inputs import InputFile, Row

__all__ = ["Unusual", "ZippedTrajectory", "read"]


class Piece(NamedTuple):
    """Consecutive tensors of a timestep. Timesteps with equal shapes and dtypes share these objects."""

    shapes: Shapes
    dtypes: tuple[Dtype, ...]
    starts: array[int]
    """Position of each tensor in the file."""

    sums: array[int]
    """CRC-32 of each tensor."""


def read(path: Path) -> list[ZippedTrajectory]:
    """Return the trajectories of a plain replay buffer. Weights stay in the file.

    Raises:
        Unusual: the buffer is not plain.
        CorruptError: the pickle is damaged or harmful.
        UnsafeError: the path is no regular file.
    """
    file = InputFile(path.resolve(), least=0)
    if not file.nbytes:
        raise Unusual
    members = Members(file, path)
    buffer = run(members, _Memo(), tensor=_plain, listed=partial(_packed, known={}))
    begin, end = members.pickle()
    _check_nesting(buffer, end - begin)
    return [ZippedTrajectory(file, steps, path) for steps in buffer]


def _check_nesting(buffer: Any, most: int) -> None:
    """Require lists of lists of lists of tensors, in all at most `most` tensors: the bytes of the pickle.

    A pickle may put the same list into another many times. Without the limit a small file could take days.
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
    """Return a tensor of contiguous floats that is all of its storage. Any other is `Unusual`."""
    if tensor.dtype not in DTYPES or tensor.span is not None:
        raise Unusual
    return tensor


def _packed(items: list[Any], known: dict[Any, Any]) -> list[Any]:
    """Return one `Piece` for a list of tensors, and any other list as it is."""
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
    """The values that torch's pickles refer to again: names, lists, and keys of storages.

    Tensors and tuples are not kept. To keep them all would take more memory than the conversion, and a pickle
    that refers to one again is `Unusual`.
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

    def __len__(self) -> int:
        return self._last + 1

    def __getitem__(self, place: int) -> Any:
        found = bisect_left(self._places, place)
        if found < len(self._places) and self._places[found] == place:
            return str(self._keys[found])
        return self._kept[place]


class ZippedTrajectory(Plain):
    """One trajectory of a buffer in its file, as a `Source`."""

    def __init__(self, file: InputFile, steps: Sequence[Sequence[Piece]], path: Path) -> None:
        self._file = file
        self._steps = [_joined(step) for step in steps]
        self._path = path

    @property
    def timesteps(self) -> int:
        """The number of timesteps, T + 1."""
        return len(self._steps)

    @property
    def shapes(self) -> Shapes:
        """The shapes of the parameters at t = 0."""
        return self._steps[0].shapes if self._steps else ()

    @property
    def dtype(self) -> Dtype:
        """The common dtype of all tensors.

        Raises:
            SourceError: the tensors have different dtypes.
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

    def read(self, t: int, parameter: int) -> Row:
        """Return one parameter at timestep t, flattened. Slices of it are read from the file.

        A slice raises `CorruptError` if it ends the parameter, and the parameter does not have its CRC-32.
        """
        step = self._steps[t]
        count, dtype = math.prod(step.shapes[parameter]), DTYPES[step.dtypes[parameter]]
        crc, what = step.sums[parameter], f"timestep {t}, tensor {parameter}"
        verify = partial(compare, crc=crc, what=what, path=self._path) if crc else None
        return self._file.row(dtype, count, step.starts[parameter], verify)

    def close(self) -> None:
        """Free the places of the tensors."""
        self._steps = []

    def check(self) -> None:
        """Refuse trajectories without timesteps, of mixed shapes, or whose timesteps are the same memory.

        Raises:
            CorruptError: a timestep has no tensors.
            SourceError: there are no timesteps, they differ in shapes, or all are the same memory.
        """
        self.remarks = check_timesteps(
            [step.shapes for step in self._steps], [step.starts for step in self._steps], self._path
        )


def _joined(step: Sequence[Piece]) -> Piece:
    """Return a timestep as one piece. A pickle contains a long list in several."""
    if len(step) == 1:
        return step[0]
    starts, sums = array("q"), array("I")
    for piece in step:
        starts.extend(piece.starts)
        sums.extend(piece.sums)
    shapes = tuple(shape for piece in step for shape in piece.shapes)
    return Piece(shapes, tuple(dtype for piece in step for dtype in piece.dtypes), starts, sums)

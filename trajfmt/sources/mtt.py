"""MTT's buffers: `replay_buffer_{n}.pt`, a pickled list of trajectories of timesteps of tensors.

Owns every trap of that layout. Tensors stay in the mapped file: anonymous memory holds no weights.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import CorruptError, SourceError
from trajfmt.files import sha256_mapped
from trajfmt.layout import DTYPES, Dtype, ParamLayout
from trajfmt.manifest import Provenance
from trajfmt.sources import zipped
from trajfmt.sources.base import ForeignTrajectory, Shapes, check_timesteps
from trajfmt.sources.unpickle import load

__all__ = ["MttCollection", "MttPart", "TensorTrajectory"]

_NUMBERED: Final = re.compile(r"replay_buffer_(\d+)\.pt")
_SHOWN: Final = 8
"""Missing numbers that a remark names."""


class MttCollection:
    """A folder of `replay_buffer_*.pt`, or one such file."""

    layout_name = "MTT buffer"
    layout: ParamLayout | None = None
    provenance = Provenance()
    convex = False

    def __init__(self, path: Path, *, trust_pickle: bool = False) -> None:
        self.notices: list[str] = []
        if path.is_file():
            self.folder = path.parent
            files = [path]
        else:
            self.folder = path
            numbered = sorted(
                (int(match[1]), file)
                for file in path.iterdir()
                if (match := _NUMBERED.fullmatch(file.name)) and file.is_file()
            )
            files = [file for _, file in numbered]
            if not files:
                raise SourceError("nothing_to_convert", "no replay_buffer_<n>.pt in this folder", path=path)
            self._check_numbers([number for number, _ in numbered])
            if (path / "checkpoint.pt").exists():
                self.notices.append("checkpoint.pt is no buffer and is left out (EDF keeps experts there)")
        self.parts: Sequence[MttPart] = [MttPart(file, trust_pickle=trust_pickle) for file in files]

    def _check_numbers(self, numbers: list[int]) -> None:
        """Remark on a numbering that MTT's own reader would not get through."""
        missing: list[int] = []
        expected = 0
        for number in numbers:
            missing += range(expected, min(number, expected + _SHOWN + 1 - len(missing)))
            expected = number + 1
        if missing:
            shown = ", ".join(map(str, missing[:_SHOWN])) + (", …" if len(missing) > _SHOWN else "")
            gaps = any(b - a > 1 for a, b in itertools.pairwise(numbers))
            what = "has gaps" if gaps else "does not start at 0"
            self.notices.append(
                f"the numbering {what} (no file {shown}): MTT's reader would miss files, all are used here"
            )


class MttPart:
    """One `replay_buffer_{n}.pt`."""

    verifies = False

    @property
    def nbytes(self) -> int:
        """Return the size of the file."""
        return self.path.stat().st_size

    def __init__(self, path: Path, *, trust_pickle: bool = False) -> None:
        self.path = path
        self._trust = trust_pickle

    def sha256(self) -> str:
        """Return the file's hash."""
        return sha256_mapped(self.path.resolve())

    def open(self, scratch: Path) -> Sequence[ForeignTrajectory]:
        """Return the file's trajectories: of a plain buffer in place, of any other through torch."""
        del scratch
        try:
            return zipped.read(self.path)
        except zipped.Unusual:
            pass
        buffer = load(self.path, trust_pickle=self._trust)
        if not isinstance(buffer, (list, tuple)):
            raise CorruptError(
                "source_invalid",
                f"an MTT buffer is a list of trajectories, this holds {type(buffer).__name__}",
                path=self.path,
            )
        claimed, most = 0, self.nbytes
        for steps in buffer:
            for step in steps if isinstance(steps, (list, tuple)) else ():
                claimed += 1 + (len(step) if isinstance(step, (list, tuple)) else 0)
                if claimed > most:  # one list, many times over
                    raise CorruptError(
                        "source_invalid", "claims more tensors than the file has bytes", path=self.path
                    )
        return [TensorTrajectory(item, self.path) for item in buffer]


class TensorTrajectory:
    """One trajectory of a buffer, as a `Source`."""

    def __init__(self, steps: Any, path: Path) -> None:
        self._steps: Sequence[Sequence[Any]] = steps
        self._path = path

    @property
    def timesteps(self) -> int:
        """Return T + 1."""
        return len(self._steps)

    @property
    def shapes(self) -> Shapes:
        """Return the parameters' shapes at t = 0."""
        return _shapes(self._steps[0]) if self._steps else ()

    @property
    def dtype(self) -> Dtype:
        """Return the common dtype of all tensors.

        Raises:
            SourceError: they differ, or are of a type that version 1 of the format does not have.
        """
        found = {str(tensor.dtype).removeprefix("torch.") for step in self._steps for tensor in step}
        names = {np.dtype(kind).name: name for name, kind in DTYPES.items()}
        if len(found) != 1 or (name := names.get(found.copy().pop())) is None:
            raise SourceError(
                "mixed_dtypes",
                f"all weights must share one of {', '.join(names)}, got {', '.join(sorted(found))}",
                path=self._path,
            )
        return name  # type: ignore[return-value]  # a key of DTYPES

    def read(self, t: int, parameter: int) -> NDArray[np.generic]:
        """Return one parameter at timestep t, flattened; a view of the mapped file if it is contiguous."""
        values: NDArray[np.generic] = self._steps[t][parameter].detach().reshape(-1).numpy()
        return values

    def close(self) -> None:
        """Drop the tensors."""
        self._steps = []

    def check(self) -> None:
        """Refuse what is not a trajectory, and what MTT's own script saves by mistake.

        Raises:
            CorruptError: not a list of lists of plain tensors.
            SourceError: timesteps of different shapes, or all timesteps are one and the same memory.
        """
        if not isinstance(self._steps, (list, tuple)):
            raise CorruptError(
                "source_invalid",
                f"must be a list of timesteps, got {type(self._steps).__name__}",
                path=self._path,
            )
        for t, step in enumerate(self._steps):
            if not isinstance(step, (list, tuple)) or not all(hasattr(x, "untyped_storage") for x in step):
                raise CorruptError(
                    "source_invalid", f"timestep {t} must be a list of tensors", path=self._path
                )
        for t, step in enumerate(self._steps):
            for index, tensor in enumerate(step):
                if problem := _odd(tensor):
                    raise CorruptError(
                        "source_invalid",
                        f"timestep {t}, tensor {index}: {problem}",
                        path=self._path,
                    )
        check_timesteps(
            [_shapes(step) for step in self._steps],
            [[_place(tensor) for tensor in step] for step in self._steps],
            self._path,
        )


def _shapes(step: Sequence[Any]) -> Shapes:
    return tuple(tuple(tensor.shape) for tensor in step)


def _odd(tensor: Any) -> str | None:
    """Say why a tensor is not plain numbers in the file, if it is not."""
    if str(tensor.layout) != "torch.strided" or tensor.is_quantized:
        return f"must be a plain tensor, got {str(tensor.layout).removeprefix('torch.')}"
    if tensor.device.type != "cpu":
        return f"must be on the CPU, got {tensor.device.type}"
    if tensor.is_conj() or tensor.is_neg():
        return "must be stored as it is, got a lazily negated or conjugated view"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"claims {tensor.numel()} elements, but fewer are stored"
    return None


def _place(tensor: Any) -> tuple[int, int]:
    return tensor.untyped_storage().data_ptr(), tensor.storage_offset()

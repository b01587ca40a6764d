"""A trajectory as lists of torch's tensors: what a file gives that torch had to read.

Owns what may be wrong with such a list. Tensors stay in the mapped file where torch can map it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import CorruptError, SourceError
from trajfmt.schema.layout import DTYPES, Dtype
from trajfmt.sources.base.collection import Plain, Shapes, check_timesteps
from trajfmt.sources.torchfile.stored import LoadedTensor

__all__ = ["TensorTrajectory"]


class TensorTrajectory(Plain):
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
            advice = "; --dtype stores all in one" if found <= names.keys() else ""
            raise SourceError(
                "mixed_dtypes",
                f"all weights must share one of {', '.join(names)}, got {', '.join(sorted(found))}{advice}",
                path=self._path,
            )
        return name  # type: ignore[return-value]  # a key of DTYPES

    def read(self, t: int, parameter: int) -> NDArray[np.generic]:
        """Return one parameter at timestep t, flattened; a view of the mapped file if it is contiguous."""
        return LoadedTensor(self._steps[t][parameter]).read()

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

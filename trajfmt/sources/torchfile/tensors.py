"""A trajectory as lists of tensors, in their file or loaded by torch.

Tensors stay in the mapped file, unless torch has loaded them and cannot map it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import CorruptError, SourceError
from trajfmt.schema.layout import DTYPES, Dtype
from trajfmt.sources.base.trajectories import Plain, Shapes
from trajfmt.sources.torchfile.nesting import check_timesteps
from trajfmt.sources.torchfile.stored import PlacedTensor, as_stored, is_tensor, require_plain
from trajfmt.storage.inputs import Row
from trajfmt.storage.safetensors import NUMPY

__all__ = ["TensorTrajectory"]


class TensorTrajectory(Plain):
    """One trajectory of a replay buffer, as a `Source`."""

    def __init__(self, steps: Any, path: Path) -> None:
        self._steps: Sequence[Sequence[Any]] = steps
        self._path = path

    @property
    def timesteps(self) -> int:
        """The number of timesteps, T + 1."""
        return len(self._steps)

    @property
    def shapes(self) -> Shapes:
        """The shapes of the parameters at t = 0."""
        return _shapes(self._steps[0]) if self._steps else ()

    @property
    def dtype(self) -> Dtype:
        """The common dtype of all tensors.

        Raises:
            SourceError: the tensors have different dtypes, or one that version 1 of the format does not have.
        """
        found = {as_stored(tensor).dtype for step in self._steps for tensor in step}
        if len(found) != 1 or (name := found.copy().pop()) not in DTYPES:
            advice = "; --dtype stores all in one" if found <= DTYPES.keys() else ""
            known, names = (
                sorted(NUMPY[n].name if n in NUMPY else n for n in kinds) for kinds in (DTYPES, found)
            )
            raise SourceError(
                "mixed_dtypes",
                f"all weights must share one of {', '.join(known)}, got {', '.join(names)}{advice}",
                path=self._path,
            )
        return name  # type: ignore[return-value]  # a key of DTYPES

    def read(self, t: int, parameter: int) -> NDArray[np.generic] | Row:
        """Return one parameter at timestep t, flattened: a view of the mapped file if it is contiguous.

        Raises:
            CorruptError: the parameter or its storage does not have its CRC-32.
        """
        try:
            return as_stored(self._steps[t][parameter]).read()
        except CorruptError as exc:
            message = f"timestep {t}, tensor {parameter}: {exc.message}"
            raise CorruptError(exc.reason, message, path=self._path) from None

    def close(self) -> None:
        """Free the tensors."""
        self._steps = []

    def check(self) -> None:
        """Refuse what is no trajectory, or one of mixed shapes, or one whose timesteps are the same memory.

        Raises:
            CorruptError: the trajectory is not a list of lists of tensors.
            SourceError: a tensor is not plain, there are no timesteps, they differ in shapes, or all are the
                same memory.
        """
        if not isinstance(self._steps, (list, tuple)):
            raise CorruptError(
                "source_invalid",
                f"must be a list of timesteps, got {type(self._steps).__name__}",
                path=self._path,
            )
        for t, step in enumerate(self._steps):
            if not isinstance(step, (list, tuple)) or not all(map(is_tensor, step)):
                raise CorruptError(
                    "source_invalid", f"timestep {t} must be a list of tensors", path=self._path
                )
        for t, step in enumerate(self._steps):
            for index, tensor in enumerate(step):
                where = f"timestep {t}, tensor {index}:"
                require_plain(tensor, f"{where} the tensor", self._path)
                if not isinstance(tensor, PlacedTensor) and (tensor.is_conj() or tensor.is_neg()):
                    raise CorruptError(
                        "source_invalid",
                        f"{where} must be stored as it is, got a lazily negated or conjugated view",
                        path=self._path,
                    )
        self.remarks = check_timesteps(
            [_shapes(step) for step in self._steps],
            [[as_stored(tensor).place for tensor in step] for step in self._steps],
            self._path,
        )


def _shapes(step: Sequence[Any]) -> Shapes:
    return tuple(tuple(tensor.shape) for tensor in step)

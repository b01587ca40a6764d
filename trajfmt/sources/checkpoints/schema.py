"""Which tensors of a run's checkpoints are parameters, and which are module buffers.

All checkpoints of a source must have the same parameters. Three things are no parameters although a state
dict contains them: module buffers, tables of numbers that are not finite and never change, such as masks, and
a tensor that some checkpoints spell out although it is tied to another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import SourceError, display
from trajfmt.schema.layout import DTYPES
from trajfmt.sources.base.collection import BufferMode
from trajfmt.sources.torchfile.stored import State, Stored
from trajfmt.storage.safetensors import NUMPY
from trajfmt.trajectory.rounding import finite

__all__ = ["Rules", "Schema", "is_buffer", "may_be_fixed", "same"]

_BLOCK: Final = 2**18
"""Items that are read at a time."""

_STATISTICS: Final = re.compile(r"(?:.*\.)?(?:running_mean|running_var|num_batches_tracked)")
_INTEGERS: Final = frozenset({"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64"})
_WEIGHT: Final = re.compile(r"(?:.*\.)?weight")
_BIAS: Final = re.compile(r"(?:.*\.)?bias")


def is_buffer(name: str, dtype: str) -> bool:
    """Return whether a tensor is a module buffer: statistics of a batch norm, or whole numbers.

    Whole numbers that are called a weight are quantised weights, which cannot be interpolated.

    >>> is_buffer("bn.running_mean", "F32"), is_buffer("mask", "BOOL"), is_buffer("fc.weight", "I8")
    (True, True, False)
    """
    if dtype in _INTEGERS:
        return dtype == "BOOL" or not _WEIGHT.fullmatch(name)
    return _STATISTICS.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Rules:
    """What is no parameter, besides what `is_buffer` recognises."""

    mode: BufferMode = "keep"
    named: Sequence[str] = ()
    """Patterns of names that the user calls module buffers."""

    unmoving: frozenset[str] = frozenset()
    """Names of tensors that never change and cannot be weights: complex, or not finite."""

    tied: Mapping[str, str] = field(default_factory=dict)
    """The parameter that a tensor repeats, by the name of the tensor."""

    def is_buffer(self, name: str, dtype: str) -> bool:
        """Return whether a tensor is a module buffer."""
        named = any(fnmatchcase(name, pattern) for pattern in self.named)
        return named or name in self.unmoving or is_buffer(name, dtype)

    def is_moved(self, name: str, dtype: str) -> bool:
        """Return whether a module buffer is interpolated like a parameter."""
        return self.mode == "interpolate" and dtype in DTYPES and name not in self.unmoving


@dataclass(frozen=True, slots=True)
class Schema:
    """The parameters and module buffers that all checkpoints of a source have."""

    parameters: dict[str, tuple[int, ...]]
    """The shapes of the parameters, by name, in order."""

    buffers: tuple[str, ...]
    """Names of the module buffers that are not interpolated."""

    first: Path
    """The checkpoint that the schema was read from."""

    @classmethod
    def of(cls, state: State, path: Path, rules: Rules) -> Schema:
        """Return the schema of one checkpoint."""
        tensors = {name: tensor for name, tensor in state.tensors.items() if name not in rules.tied}
        buffers = [name for name, tensor in tensors.items() if rules.is_buffer(name, tensor.dtype)]
        moved = [name for name in buffers if rules.is_moved(name, tensors[name].dtype)]
        carried = set(buffers) - set(moved)
        names = [name for name in tensors if name not in set(buffers)] + moved
        return cls(
            {name: tensors[name].shape for name in names},
            tuple(name for name in buffers if name in carried),
            path,
        )

    def check(self, other: Schema) -> None:
        """Require that another checkpoint has the same parameters.

        Raises:
            SourceError: the parameters differ. The message names both checkpoints.
        """
        ours, theirs = self.parameters, other.parameters
        for name in {**ours, **theirs}:
            if ours.get(name) != theirs.get(name):
                raise SourceError(
                    "mixed_architectures",
                    f"two models in one source: `{display(name)}` is {_shape(theirs.get(name))} here, and"
                    f" {_shape(ours.get(name))} in {display(self.first)}; move one model's checkpoints"
                    " elsewhere, or choose one model with --select",
                    path=other.first,
                )
        if set(self.buffers) != set(other.buffers):
            name = min(set(self.buffers) ^ set(other.buffers))
            where = display((self if name in self.buffers else other).first)
            raise SourceError(
                "mixed_architectures",
                f"the module buffer `{display(name)}` is in {where} and not in all checkpoints; --buffers"
                " drop leaves module buffers out",
                path=other.first,
            )


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else str(shape)


def may_be_fixed(name: str, tensor: Stored) -> bool:
    """Return whether a tensor cannot be a weight, so that it is a module buffer if it never changes.

    These are masks, which are not finite, and tables of complex frequencies. Tensors that are weights or
    biases by name and shape are not read: if they are not finite, the training has failed.
    """
    if tensor.dtype not in NUMPY or tensor.dtype in _INTEGERS or _WEIGHT.fullmatch(name):
        return False
    if _BIAS.fullmatch(name) and len(tensor.shape) == 1:
        return False
    return tensor.dtype not in DTYPES or not all(map(finite, _pieces(tensor)))


def same(one: Stored, other: Stored) -> bool:
    """Return whether two tensors have the same type, shape and bits."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    pairs = zip(_pieces(one), _pieces(other), strict=True)
    return all(a.tobytes() == b.tobytes() for a, b in pairs)


def _pieces(tensor: Stored) -> Iterator[NDArray[Any]]:
    """Yield the items of a tensor, some at a time, so that memory does not grow with the tensor."""
    items = tensor.read()
    for start in range(0, items.shape[0], _BLOCK):
        yield np.asarray(items[start : start + _BLOCK])

"""The named tensors of one checkpoint, in their file or loaded by torch."""

from __future__ import annotations

import importlib
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import CorruptError, SourceError
from trajfmt.sources.torchfile.calls import OtherTensor
from trajfmt.sources.torchfile.members import compare
from trajfmt.sources.torchfile.placement import MOST_REPEATED, Span
from trajfmt.storage.inputs import InputFile, Row
from trajfmt.storage.safetensors import NUMPY, SafetensorsFile

__all__ = [
    "TORCH",
    "LoadedTensor",
    "NamedTensor",
    "PlacedTensor",
    "State",
    "Stored",
    "as_stored",
    "is_tensor",
    "require_plain",
]


class Stored(Protocol):
    """One tensor of a checkpoint."""

    @property
    def dtype(self) -> str:
        """The item type, as safetensors names it."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The dimensions."""
        ...

    @property
    def place(self) -> Hashable:
        """The place of the tensor. Tensors of one checkpoint at equal places are the same tensor."""
        ...

    def read(self) -> NDArray[Any] | Row:
        """Return the items, flattened. Those of a contiguous tensor are read when they are sliced."""
        ...


class PlacedTensor(NamedTuple):
    """A tensor in its file."""

    file: InputFile
    dtype: str
    shape: tuple[int, ...]
    start: int
    """Position of the first item in the file."""

    strides: tuple[int, ...] | None
    """Strides in items; None if the tensor is contiguous."""

    crc: int
    """CRC-32 of the tensor's bytes; 0 if it is not known."""

    span: Span | None = None
    """The storage, if the tensor is not all of it in order."""

    @property
    def place(self) -> Hashable:
        """The place of the tensor."""
        return self.start, self.shape, self.strides

    def read(self) -> NDArray[Any] | Row:
        """Return the items, flattened.

        The slice that ends a tensor raises `CorruptError` if the tensor does not have its CRC-32.

        Raises:
            CorruptError: the storage of several tensors does not have its CRC-32.
        """
        dtype, count = NUMPY[self.dtype], math.prod(self.shape)
        if count == 0:
            return np.empty(0, dtype)
        if self.span is not None:
            self.span.compare(self.file, self.file.path)
        if self.strides is None:
            what = f"the tensor at byte {self.start}"
            verify = partial(compare, crc=self.crc, what=what, path=self.file.path) if self.crc else None
            return self.file.row(dtype, count, self.start, verify)
        last = sum((size - 1) * step for size, step in zip(self.shape, self.strides, strict=True))
        data = self.file.read(self.start, (last + 1) * dtype.itemsize)
        steps = tuple(dtype.itemsize * step for step in self.strides)
        return np.ndarray(self.shape, dtype, data, 0, steps).reshape(-1)


class NamedTensor(NamedTuple):
    """A tensor of a safetensors file."""

    file: SafetensorsFile
    name: str

    @property
    def dtype(self) -> str:
        """The item type."""
        return self.file.tensors[self.name].dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The dimensions."""
        return self.file.tensors[self.name].shape

    @property
    def place(self) -> Hashable:
        """The tensor's name: no two tensors of a safetensors file are the same."""
        return self.name

    def read(self) -> NDArray[Any] | Row:
        """Return the items, flattened."""
        return self.file.row(self.name)


TORCH: Final = {
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "bool": "BOOL",
    "complex64": "C64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}
"""The names of safetensors for torch's item types."""


class LoadedTensor(NamedTuple):
    """A tensor that torch has loaded."""

    tensor: Any

    @property
    def dtype(self) -> str:
        """The item type, as safetensors names it, or torch's name if safetensors has none."""
        name = str(self.tensor.dtype).removeprefix("torch.")
        return TORCH.get(name, name)

    @property
    def shape(self) -> tuple[int, ...]:
        """The dimensions."""
        return tuple(self.tensor.shape)

    @property
    def place(self) -> Hashable:
        """The place of the tensor."""
        return self.tensor.untyped_storage().data_ptr(), self.tensor.storage_offset(), self.shape

    def read(self) -> NDArray[Any]:
        """Return the items, flattened."""
        dtype = NUMPY[self.dtype]
        flat = self.tensor.detach().resolve_conj().resolve_neg().reshape(-1)
        torch = importlib.import_module("torch")
        bits: NDArray[Any] = flat.view(getattr(torch, f"int{8 * dtype.itemsize}", flat.dtype)).numpy()
        return bits.view(dtype)


def is_tensor(value: Any) -> bool:
    """Return whether a value is a tensor of any kind. Works without importing torch."""
    return isinstance(value, (PlacedTensor, OtherTensor)) or hasattr(value, "untyped_storage")


def as_stored(tensor: Any) -> Stored:
    """Return a tensor in its file, or one of torch, as `Stored`."""
    return tensor if isinstance(tensor, PlacedTensor) else LoadedTensor(tensor)


def require_plain(tensor: Any, name: str, path: Path) -> None:
    """Require that a tensor is made of plain numbers that are in its file.

    Args:
        tensor: any value for which `is_tensor` holds.
        name: its name, for the error.
        path: its file.

    Raises:
        SourceError: it is quantised or sparse, or has no numbers.
        CorruptError: it repeats few items to more than 1000 times the bytes of the file.
    """
    if isinstance(tensor, PlacedTensor):
        return
    kind = tensor.kind if isinstance(tensor, OtherTensor) else _other_kind(tensor)
    if kind is not None:
        advice = _ADVICE.get(kind, "save it as a plain tensor")
        raise SourceError("nothing_to_convert", f"{name} is {kind}, not plain numbers; {advice}", path=path)
    nbytes = tensor.numel() * tensor.element_size()
    if nbytes > max(tensor.untyped_storage().nbytes(), MOST_REPEATED * path.stat().st_size):
        message = f"{name} claims {tensor.numel()} elements, but far fewer are stored"
        raise CorruptError("source_invalid", message, path=path)


_ADVICE: Final = {
    "a DTensor": "its numbers are split over ranks: save its full_tensor()",
    "quantised": "save what its `dequantize()` returns",
    "sparse": "save what its `to_dense()` returns",
}


def _other_kind(tensor: Any) -> str | None:
    """Return what a tensor of torch is, if it is not made of plain numbers."""
    if type(tensor).__name__ not in ("Tensor", "Parameter", "Buffer"):
        return f"a {type(tensor).__name__}"
    if tensor.is_nested:
        return "a nested tensor"
    if tensor.is_quantized:
        return "quantised"
    if str(tensor.layout) != "torch.strided":
        return "sparse" if "sparse" in str(tensor.layout) else str(tensor.layout).removeprefix("torch.")
    return None if tensor.device.type == "cpu" else f"without numbers (on the device `{tensor.device.type}`)"


@dataclass(frozen=True, slots=True)
class State:
    """The named tensors of one checkpoint."""

    tensors: Mapping[str, Stored]
    """In the order of the file."""

    ordered: bool = True
    """Whether the order is that of `Module.parameters()`."""

    ignored: tuple[str, ...] = field(default=())
    """Names of everything else in the file."""

    key: str = ""
    """The key of the tensors in the file, with dots between nested keys."""

    counts: Mapping[str, int] = field(default_factory=dict)
    """The epoch and the steps that the file states, by key."""

    settings: Mapping[str, str] = field(default_factory=dict)
    """The settings of the training that the file states, by key."""

    remarks: tuple[str, ...] = ()
    """Remarks for the user."""

    def release(self) -> None:
        """Close the files. They are opened again when a tensor is read."""
        for tensor in self.tensors.values():
            if isinstance(tensor, PlacedTensor):
                tensor.file.release()
            elif isinstance(tensor, NamedTensor):
                tensor.file.file.release()

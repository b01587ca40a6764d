"""The named tensors of one checkpoint, wherever they lie: in a mapped file, or in what torch has loaded."""

from __future__ import annotations

import importlib
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from trajfmt.sources.torchfile.members import compare
from trajfmt.storage.safetensors import NUMPY, MappedFile, SafetensorsFile

__all__ = ["LoadedTensor", "MappedTensor", "NamedTensor", "State", "Stored"]


class Stored(Protocol):
    """One tensor of a checkpoint."""

    @property
    def dtype(self) -> str:
        """Return the item type by its safetensors name."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the dimensions."""
        ...

    @property
    def place(self) -> Hashable:
        """Return where it lies; tensors of one checkpoint at equal places are one."""
        ...

    def read(self) -> NDArray[Any]:
        """Return the items, flattened: a view where they lie one after the other."""
        ...


class MappedTensor(NamedTuple):
    """A tensor in a mapped file."""

    file: MappedFile
    dtype: str
    shape: tuple[int, ...]
    start: int
    """Byte of the first item in the file."""

    strides: tuple[int, ...] | None
    """In items; None if they lie one after the other."""

    crc: int
    """CRC-32 of its bytes; 0 if it is not known."""

    @property
    def place(self) -> Hashable:
        """Return where it lies."""
        return self.start, self.shape

    def read(self) -> NDArray[Any]:
        """Return the items, flattened.

        Raises:
            CorruptError: their bytes are not those that torch wrote.
        """
        dtype, count = NUMPY[self.dtype], math.prod(self.shape)
        if count == 0:
            return np.empty(0, dtype)
        if self.strides is None:
            values = np.frombuffer(self.file.map(), dtype, count, self.start)
            return compare(values, self.crc, f"the tensor at byte {self.start}", self.file.path)
        steps = tuple(dtype.itemsize * step for step in self.strides)
        return np.ndarray(self.shape, dtype, self.file.map(), self.start, steps).reshape(-1)


class NamedTensor(NamedTuple):
    """A tensor of a safetensors file."""

    file: SafetensorsFile
    name: str

    @property
    def dtype(self) -> str:
        """Return the item type."""
        return self.file.tensors[self.name].dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the dimensions."""
        return self.file.tensors[self.name].shape

    @property
    def place(self) -> Hashable:
        """Return the name: no two tensors of a safetensors file are one."""
        return self.name

    def read(self) -> NDArray[Any]:
        """Return the items, flattened."""
        return self.file.array(self.name).reshape(-1)


_TORCH: Final = {
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


class LoadedTensor(NamedTuple):
    """A tensor that torch has made."""

    tensor: Any

    @property
    def dtype(self) -> str:
        """Return the item type; torch's own name if safetensors has none for it."""
        name = str(self.tensor.dtype).removeprefix("torch.")
        return _TORCH.get(name, name)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the dimensions."""
        return tuple(self.tensor.shape)

    @property
    def place(self) -> Hashable:
        """Return where it lies."""
        return self.tensor.untyped_storage().data_ptr(), self.tensor.storage_offset(), self.shape

    def read(self) -> NDArray[Any]:
        """Return the items, flattened."""
        dtype = NUMPY[self.dtype]
        flat = self.tensor.detach().resolve_conj().resolve_neg().reshape(-1)
        torch = importlib.import_module("torch")
        bits: NDArray[Any] = flat.view(getattr(torch, f"int{8 * dtype.itemsize}", flat.dtype)).numpy()
        return bits.view(dtype)


@dataclass(frozen=True, slots=True)
class State:
    """The named tensors of one checkpoint."""

    tensors: Mapping[str, Stored]
    """In the order of the file."""

    ordered: bool = True
    """Whether that order is the one in which the network's parameters were made."""

    ignored: tuple[str, ...] = field(default=())
    """What else the file holds, in words."""

    def release(self) -> None:
        """Unmap the files until tensors are read again."""
        for tensor in self.tensors.values():
            if isinstance(tensor, MappedTensor):
                tensor.file.release()
            elif isinstance(tensor, NamedTensor):
                tensor.file.file.release()

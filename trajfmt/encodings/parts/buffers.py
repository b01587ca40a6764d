"""The safetensors file of the module buffers of one trajectory, such as running statistics and counters.

Module buffers are never interpolated. Tensors are named `{t:05d}/{name}` at every stored timestep, sorted by
time and then by name, without gaps. They may have any type of safetensors, which only the header of this file
records.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajfmt.encodings.parts.knots import header_size, tensors_of
from trajfmt.errors import CorruptError, SourceError, display
from trajfmt.schema.arguments import unmasked
from trajfmt.schema.canonical import MAX_INTEGER, canonical
from trajfmt.schema.layout import MAX_DIMS, MAX_TEXT
from trajfmt.schema.weight import weight
from trajfmt.storage.files import BundleFiles
from trajfmt.storage.safetensors import (
    MAX_WEIGHT,
    NAMES,
    NUMPY,
    StoredTensor,
    encode_header,
    stored_tensor,
)
from trajfmt.storage.writing import replacing

__all__ = ["Buffers", "header", "write"]

Arrays = Mapping[str, NDArray[Any]]


def write(path: Path, stored: Sequence[tuple[int, Arrays]]) -> None:
    """Write the module buffers of a trajectory, durably.

    Args:
        path: the file.
        stored: timestep and module buffers by name, for every stored timestep, in order of time.

    Raises:
        SourceError: timesteps have different module buffers.
        CorruptError: a module buffer exceeds a limit of the format, or safetensors does not have its type.
        OSError: the file cannot be written.
    """
    head, arrays = header(stored)
    with replacing(path) as file:
        file.write(head)
        for array in arrays:
            file.write(array.reshape(-1).view(np.uint8).data)


def header(stored: Sequence[tuple[int, Arrays]]) -> tuple[bytes, list[NDArray[Any]]]:
    """Return the header of the file of module buffers, and the arrays that follow it.

    Args:
        stored: as for `write`.

    Raises:
        SourceError: timesteps have different module buffers.
        CorruptError: a module buffer exceeds a limit of the format, or safetensors does not have its type.
    """
    plain = [(t, {name: _plain(name, arrays[name]) for name in sorted(arrays)}) for t, arrays in stored]
    first = _shapes(plain[0][1])
    for t, arrays in plain:
        if _shapes(arrays) != first:
            raise SourceError(
                "mixed_architectures", f"the module buffers of timestep {t} differ from those of timestep 0"
            )
    everything = [(f"{t:05d}/{name}", array) for t, arrays in plain for name, array in arrays.items()]
    tensors = [(name, NAMES[array.dtype], array.shape) for name, array in everything]
    head = encode_header(tensors, {"trajfmt": canonical({"holds": "buffers"}).decode()})
    if weight(head[8:]) > MAX_WEIGHT:
        raise CorruptError(
            "source_invalid",
            f"a file must have at most about 130,000 module buffers, got {len(tensors)} of {len(plain)}"
            " timesteps; keep fewer timesteps",
        )
    return head, [array for _, array in everything]


def _shapes(arrays: Arrays) -> list[tuple[str, tuple[int, ...], str]]:
    return [(name, array.shape, array.dtype.name) for name, array in arrays.items()]


def _plain(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Return an array with little-endian values in C order."""
    array = unmasked(f"module buffer `{display(name[:80])}`", np.asanyarray(values))
    if array.dtype not in NAMES:  # only the byte order differs, or the type is unknown
        array = array.astype(array.dtype.newbyteorder("<"))
    fits = 1 <= len(name) <= MAX_TEXT and array.ndim <= MAX_DIMS
    if array.dtype not in NAMES or not fits:
        raise CorruptError(
            "source_invalid",
            f"module buffer `{display(name[:80])}` of {array.ndim} dimensions and type {array.dtype}"
            " cannot be stored",
        )
    return np.ascontiguousarray(array).reshape(array.shape)


class Buffers:
    """The module buffers of one trajectory of a bundle. The header is read at the first access.

    Args:
        files: the files of the bundle.
        name: the listed file of module buffers.
        timesteps: the stored timesteps, in order.
    """

    def __init__(self, files: BundleFiles, name: str, timesteps: Sequence[int]) -> None:
        self._files = files
        self._name = name
        self._timesteps = timesteps

    def __getstate__(self) -> dict[str, object]:
        return {"_files": self._files, "_name": self._name, "_timesteps": self._timesteps}

    def at(self, t: float) -> dict[str, NDArray[Any]]:
        """Return the module buffers of the last stored timestep up to t, read-only, by name.

        Raises:
            FormatError: the file is damaged.
        """
        stored = self._timesteps[bisect_right(self._timesteps, t) - 1]
        return {name: self._array(place) for name, place in self._places.get(stored, {}).items()}

    def check(self) -> None:
        """Check the header.

        Raises:
            FormatError: the header is damaged, or does not fit the manifest.
        """
        _ = self._places

    def _array(self, place: StoredTensor) -> NDArray[Any]:
        count = math.prod(place.shape)
        flat = self._files.array(self._name, place.start, count, NUMPY[place.dtype])
        return flat.reshape(place.shape)

    @cached_property
    def _places(self) -> dict[int, dict[str, StoredTensor]]:
        """The place of every module buffer, by stored timestep and name, within the size of the file.

        Timesteps without any are absent. Nothing here grows with the number of timesteps that are claimed.
        """
        path = self._files.where(self._name)
        end = data = header_size(self._files, self._name)
        table = tensors_of(self._files.read(self._name, 8, data - 8), path)
        stored = self._timesteps if isinstance(self._timesteps, range) else frozenset(self._timesteps)
        places: dict[int, dict[str, StoredTensor]] = {}
        found = [(key, _place(entry, data)) for key, entry in table.items()]
        for key, place in sorted(found, key=lambda item: item[1][2:] if item[1] else (-1, -1)):
            step, _, name = key.partition("/")
            t = int(step) if step.isdecimal() and step.isascii() and len(step) < 20 else -1
            named = step == f"{t:05d}" and 1 <= len(name) <= MAX_TEXT
            if place is None or t not in stored or not named or place.start != end:
                raise CorruptError(
                    "header_mismatch",
                    f"`{display(key[:80])}` is not a module buffer of a stored timestep, or does not follow"
                    " the previous one without a gap",
                    path=path,
                )
            places.setdefault(t, {})[name] = place
            end = place.stop
        if end != self._files.sizes[self._name]:
            raise CorruptError(
                "header_mismatch",
                f"the module buffers end at byte {end}, but the file at byte {self._files.sizes[self._name]}",
                path=path,
            )
        kinds = {tuple((n, p.dtype, p.shape) for n, p in sorted(held.items())) for held in places.values()}
        if len(kinds) > 1 or len(places) not in (0, len(self._timesteps)):
            raise CorruptError(
                "header_mismatch", "every stored timestep must have the same module buffers", path=path
            )
        return places


def _place(entry: object, data: int) -> StoredTensor | None:
    """Return the place of one tensor, or None if its entry is invalid or exceeds a limit of the format."""
    place = stored_tensor(entry, data)
    if isinstance(place, str) or place.dtype not in NUMPY:
        return None
    room = NUMPY[place.dtype].itemsize * math.prod(max(size, 1) for size in place.shape)
    return place if len(place.shape) <= MAX_DIMS and room <= MAX_INTEGER else None

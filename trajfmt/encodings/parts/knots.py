"""The safetensors files that hold one trajectory's knots: one, or several that are cut between tensors.

Owns their headers, which follow from the manifest alone: knots in order of time, parameters in the order of
`Module.parameters()`, no holes. So one knot is one contiguous block, and any safetensors reader opens it.
The `safetensors` library sorts tensors by name, which would scatter the parameter order; hence own code.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from numpy.typing import NDArray

from trajfmt.errors import CorruptError
from trajfmt.schema.layout import ParamLayout
from trajfmt.storage.files import BundleFiles
from trajfmt.storage.safetensors import NAMES, decode_header, encode_header, header_end

__all__ = [
    "SHARD_BYTES",
    "Stretch",
    "canonical",
    "check_header",
    "checkpoint_header",
    "cut",
    "header",
    "header_size",
    "index_of",
]

SHARD_BYTES: Final = 4 * 10**9
"""Bytes of knots above which a trajectory is cut into several files."""

_SHORTEST_ENTRY: Final = 40
"""Bytes that a tensor takes in a header at least; a small file cannot make the reader build a large one."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive tensors of a trajectory's knots, all parameters of knot 0 first: what is in one file."""

    first: int
    """Number of the first tensor."""

    tensors: int
    start: int
    """Byte in the joined knots at which it begins."""

    stop: int

    @classmethod
    def of(cls, layout: ParamLayout, first: int, tensors: int) -> Stretch:
        """Return the stretch of `tensors` tensors from number `first` on."""
        return cls(first, tensors, layout.position(first), layout.position(first + tensors))


def cut(layout: ParamLayout, knots: int, limit: int) -> list[Stretch]:
    """Return what is in each file: everything in one if it has at most `limit` bytes.

    Otherwise as many whole knots as fit, or, of a knot that is too large by itself, as many tensors as fit,
    but one at least.
    """
    per_knot = len(layout.parameters)
    if knots * layout.nbytes <= limit:
        return [Stretch.of(layout, 0, knots * per_knot)]
    whole = limit // layout.nbytes
    if whole:
        firsts = [*range(0, knots, whole), knots]
        return [
            Stretch.of(layout, low * per_knot, (high - low) * per_knot)
            for low, high in itertools.pairwise(firsts)
        ]
    ends: list[int] = []
    base = 0
    for parameter in range(1, per_knot):
        if layout.position(parameter + 1) - layout.position(base) > limit:
            ends.append(parameter)
            base = parameter
    bounds = [0, *ends, per_knot]
    return [
        Stretch.of(layout, knot * per_knot + low, high - low)
        for knot in range(knots)
        for low, high in itertools.pairwise(bounds)
    ]


def header(layout: ParamLayout, knots: Sequence[int], stretch: Stretch | None = None) -> bytes:
    """Return the bytes before the first tensor of a file: length, JSON, spaces up to a multiple of 64.

    Tensors are named `{t:05d}/{parameter}`. `__metadata__` has one key, so that equal input gives equal
    bytes (safetensors keeps metadata in a hash map, and several keys come out in any order).
    """
    stretch = stretch or Stretch.of(layout, 0, len(knots) * len(layout.parameters))
    named = (
        (name, layout.parameters[n % len(layout.parameters)]) for name, n in _names(layout, knots, stretch)
    )
    tensors = ((name, parameter.dtype, parameter.shape) for name, parameter in named)
    return encode_header(tensors, _metadata({"knots": list(knots), "encoding": "convex"}))


def _names(layout: ParamLayout, knots: Sequence[int], stretch: Stretch) -> Iterator[tuple[str, int]]:
    """Yield name and number of every tensor of a stretch."""
    for number in range(stretch.first, stretch.first + stretch.tensors):
        knot, parameter = divmod(number, len(layout.parameters))
        yield f"{knots[knot]:05d}/{layout.parameters[parameter].name}", number


def _metadata(about: object) -> dict[str, str]:
    return {"trajfmt": canonical(about).decode()}


def canonical(value: object) -> bytes:
    """Return JSON with sorted keys and no spaces."""
    return msgspec.json.encode(value, order="sorted")


def index_of(layout: ParamLayout, knots: Sequence[int], shards: Sequence[tuple[str, Stretch]]) -> bytes:
    """Return Hugging Face's index of sharded knots: the file of every tensor, by name."""
    files = {name: file for file, stretch in shards for name, _ in _names(layout, knots, stretch)}
    total = len(knots) * layout.nbytes
    return canonical({"metadata": {"total_size": total}, "weight_map": files}) + b"\n"


def header_size(files: BundleFiles, name: str) -> int:
    """Return the number of bytes before the first tensor of a listed file.

    Raises:
        UnsafeError: the header is larger than safetensors allows.
        CorruptError: the file is too short for it.
    """
    path = files.where(name)
    if files.sizes[name] < 8:
        raise CorruptError("header_invalid", "too short for a safetensors header", path=path)
    return header_end(files.read(name, 0, 8), files.sizes[name], path, too_long="header_mismatch")


def check_header(
    files: BundleFiles, name: str, data: int, layout: ParamLayout, knots: Sequence[int], stretch: Stretch
) -> None:
    """Require that a file's own header says what the manifest says.

    Raises:
        UnsafeError: the header is larger than safetensors allows.
        CorruptError: it is damaged, or describes other tensors.
    """
    path = files.where(name)
    size = header_size(files, name)
    if size != data or data + stretch.stop - stretch.start != files.sizes[name]:
        raise CorruptError(
            "header_mismatch",
            f"header and knots must fill the file ({files.sizes[name]} bytes) from byte {data},"
            f" the header ends at {size}",
            path=path,
        )
    if stretch.tensors * _SHORTEST_ENTRY > data:
        raise CorruptError("header_mismatch", "the header is too short for the manifest's tensors", path=path)
    expected, found = header(layout, knots, stretch), files.read(name, 0, data)
    if found != expected and _entries(found[8:], path) != _entries(expected[8:], path):
        raise CorruptError(
            "header_mismatch", "the header describes other tensors than the manifest", path=path
        )


def _entries(text: bytes, path: object) -> str:
    """Return a header's tensors in a form that compares types too: `true` is not 1."""
    table = decode_header(text, path)
    table.pop("__metadata__", None)
    return json.dumps(table, sort_keys=True)


def checkpoint_header(
    layout: ParamLayout, others: Iterable[tuple[str, NDArray[Any]]], about: object
) -> bytes:
    """Return the bytes before one weight vector `(P,)` in an ordinary checkpoint; other tensors follow it.

    `about` is what `__metadata__` tells.
    """
    parameters = [(parameter.name, parameter.dtype, parameter.shape) for parameter in layout.parameters]
    more = [(name, NAMES[array.dtype], array.shape) for name, array in others]
    return encode_header([*parameters, *more], _metadata(about))

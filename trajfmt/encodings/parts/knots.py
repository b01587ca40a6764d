"""The headers of the safetensors files that contain the knots of one trajectory: one file, or several shards.

A header follows from the manifest alone. The knots are in order of time, the parameters in the order of
`Module.parameters()`, without gaps. Each knot is therefore one contiguous block, and any safetensors reader
opens the files. Shards are divided between tensors.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from numpy.typing import NDArray

from trajfmt.errors import CorruptError
from trajfmt.schema.canonical import canonical
from trajfmt.schema.layout import Parameter, ParamLayout
from trajfmt.schema.weight import weight
from trajfmt.storage.files import BundleFiles
from trajfmt.storage.safetensors import (
    MAX_WEIGHT,
    NAMES,
    decode_header,
    encode_header,
    header_end,
    weigh,
)

__all__ = [
    "SHARD_BYTES",
    "ByteRange",
    "check_header",
    "checkpoint_header",
    "cut",
    "header",
    "header_size",
    "index_of",
    "tensors_of",
]

SHARD_BYTES: Final = 4 * 10**9
"""Bytes of knots above which they are divided into several files."""

_LIGHTEST_ENTRY: Final = 25
"""The smallest weight of a tensor in a header. A small file cannot make the reader build a large header."""

_METADATA_WEIGHT: Final = 100
"""More than what `__metadata__` weighs, apart from the knots that it lists."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Consecutive tensors of the joined knots of a trajectory: the contents of one file.

    Tensors are numbered from all parameters of knot 0 on.
    """

    first: int
    """Number of the first tensor."""

    tensors: int
    """How many tensors the range has."""

    start: int
    """Position of the first byte in the joined knots."""

    stop: int
    """Position of the byte after the last in the joined knots."""

    @classmethod
    def of(cls, layout: ParamLayout, first: int, tensors: int) -> ByteRange:
        """Return the byte range of `tensors` tensors from number `first` on."""
        return cls(first, tensors, layout.position(first), layout.position(first + tensors))


def cut(layout: ParamLayout, knots: int, limit: int) -> list[ByteRange]:
    """Return the contents of each file of knots. If they fit into one file, it is one.

    Otherwise each file contains as many whole knots as fit. If a single knot is too large, each file contains
    as many of its tensors as fit, and at least one. Knots fit if they have at most `limit` bytes and a header
    that a reader accepts.

    Args:
        layout: the parameters, in the type that is stored.
        knots: the number of knots.
        limit: the most bytes of knots in one file.
    """
    per_knot = len(layout.parameters)
    most = _most_tensors(layout, knots)
    if knots * layout.nbytes <= limit and knots * per_knot <= most:
        return [ByteRange.of(layout, 0, knots * per_knot)]
    whole = min(limit // layout.nbytes, most // per_knot)
    if whole:
        firsts = [*range(0, knots, whole), knots]
        return [
            ByteRange.of(layout, low * per_knot, (high - low) * per_knot)
            for low, high in itertools.pairwise(firsts)
        ]
    ends: list[int] = []
    base = 0
    for parameter in range(1, per_knot):
        nbytes = layout.position(parameter + 1) - layout.position(base)
        if nbytes > limit or parameter + 1 - base > most:
            ends.append(parameter)
            base = parameter
    bounds = [0, *ends, per_knot]
    return [
        ByteRange.of(layout, knot * per_knot + low, high - low)
        for knot in range(knots)
        for low, high in itertools.pairwise(bounds)
    ]


def _most_tensors(layout: ParamLayout, knots: int) -> int:
    """Return how many tensors fit into one header, whatever their names and shapes are."""
    entries = {(canonical(p.name), len(p.shape)) for p in layout.parameters}
    heaviest = max(weight(name) + max(0, dimensions - 1) for name, dimensions in entries) + _LIGHTEST_ENTRY
    return max(1, (MAX_WEIGHT - _METADATA_WEIGHT - knots) // heaviest)


def header(layout: ParamLayout, knots: Sequence[int], byte_range: ByteRange | None = None) -> bytes:
    """Return the bytes before the first tensor of a file of knots. Tensors are named `{t:05d}/{parameter}`.

    `__metadata__` has a single key. The `safetensors` library writes several keys in random order, so that
    equal input would not give equal bytes.

    Args:
        layout: the parameters, in the type that is stored.
        knots: the timesteps of the knots.
        byte_range: the contents of the file. By default all knots.
    """
    byte_range = byte_range or ByteRange.of(layout, 0, len(knots) * len(layout.parameters))
    named = (
        (name, layout.parameters[n % len(layout.parameters)]) for name, n in _names(layout, knots, byte_range)
    )
    tensors = ((name, parameter.dtype, parameter.shape) for name, parameter in named)
    return encode_header(tensors, _metadata({"knots": list(knots), "encoding": "convex"}))


def _names(layout: ParamLayout, knots: Sequence[int], byte_range: ByteRange) -> Iterator[tuple[str, int]]:
    """Yield name and number of every tensor in a byte range."""
    for number in range(byte_range.first, byte_range.first + byte_range.tensors):
        knot, parameter = divmod(number, len(layout.parameters))
        yield f"{knots[knot]:05d}/{layout.parameters[parameter].name}", number


def _metadata(about: object) -> dict[str, str]:
    return {"trajfmt": canonical(about).decode()}


def index_of(layout: ParamLayout, knots: Sequence[int], shards: Sequence[tuple[str, ByteRange]]) -> bytes:
    """Return the index of sharded knots in Hugging Face's form: the file of every tensor, by its name.

    Args:
        layout: the parameters, in the type that is stored.
        knots: the timesteps of the knots.
        shards: name and contents of each file.
    """
    files = {name: file for file, byte_range in shards for name, _ in _names(layout, knots, byte_range)}
    total = len(knots) * layout.nbytes
    return canonical({"metadata": {"total_size": total}, "weight_map": files}) + b"\n"


def header_size(files: BundleFiles, name: str) -> int:
    """Return the size of the header of a safetensors file in bytes, which is the offset of its first tensor.

    Args:
        files: the files of the bundle.
        name: path of the file in the bundle.

    Raises:
        UnsafeError: the header is larger than safetensors allows.
        CorruptError: the file is too short for its header.
    """
    path = files.where(name)
    if files.sizes[name] < 8:
        raise CorruptError("header_invalid", "too short for a safetensors header", path=path)
    return header_end(files.read(name, 0, 8), files.sizes[name], path, too_long="header_mismatch")


def tensors_of(text: bytes, path: object) -> dict[str, Any]:
    """Return what the header of a file in a bundle says of each tensor, by name.

    Such a header is stricter than the `safetensors` library is: nothing but spaces may follow its object.

    Raises:
        UnsafeError: the values of the text would need too much memory.
        CorruptError: the header is not legal.
    """
    table = decode_header(text, path)
    metadata = table.pop("__metadata__", {})
    if text[:1] != b"{" or text.rstrip(b" ")[-1:] != b"}":
        problem = "it must begin with `{`, and only spaces may follow its object"
    elif not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        problem = "`__metadata__` must map texts to texts"
    else:
        return table
    raise CorruptError("header_invalid", f"not a valid safetensors header: {problem}", path=path)


def check_header(
    files: BundleFiles, name: str, data: int, layout: ParamLayout, knots: Sequence[int], byte_range: ByteRange
) -> None:
    """Require that the header of a file agrees with the manifest.

    Args:
        files: the files of the bundle.
        name: the listed file.
        data: position of the first tensor according to the manifest.
        layout: the parameters, in the type that is stored.
        knots: the timesteps of the knots.
        byte_range: the contents of the file.

    Raises:
        UnsafeError: the header is larger or heavier than the format allows.
        CorruptError: the header is damaged, or describes other tensors.
    """
    path = files.where(name)
    size = header_size(files, name)
    if size != data or data + byte_range.stop - byte_range.start != files.sizes[name]:
        raise CorruptError(
            "header_mismatch",
            f"the header must end at byte {data}, and the knots at the end of the file"
            f" ({files.sizes[name]} bytes), but the header ends at byte {size}",
            path=path,
        )
    found = files.read(name, 0, data)
    if byte_range.tensors * _LIGHTEST_ENTRY > weigh(found[8:], path):
        tensors_of(found[8:], path)
        raise CorruptError("header_mismatch", "the header is too short for the manifest's tensors", path=path)
    expected = header(layout, knots, byte_range)
    if found != expected and _entries(found[8:], path) != _entries(expected[8:], path):
        raise CorruptError("header_mismatch", "header and manifest describe different tensors", path=path)


def _entries(text: bytes, path: object) -> str:
    """Return the tensors of a header as text, for a comparison in which `true` differs from 1."""
    return json.dumps(tensors_of(text, path), sort_keys=True)


def checkpoint_header(
    parameters: Sequence[Parameter], others: Iterable[tuple[str, NDArray[Any]]], about: object
) -> bytes:
    """Return the bytes before the first parameter of an ordinary checkpoint.

    Args:
        parameters: the parameters.
        others: names and values of the tensors that follow the parameters.
        about: what `__metadata__` records, as JSON values.
    """
    first = [(parameter.name, parameter.dtype, parameter.shape) for parameter in parameters]
    more = [(name, NAMES[array.dtype], array.shape) for name, array in others]
    return encode_header([*first, *more], _metadata(about))

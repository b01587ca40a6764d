"""The safetensors file that holds one trajectory's knots.

Owns its header, which follows from the manifest alone: knots in order of time, parameters in the order of
`Module.parameters()`, no holes. So one knot is one contiguous block, and any safetensors reader opens it.
The `safetensors` library sorts tensors by name, which would scatter the parameter order; hence own code.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import CorruptError, UnsafeError
from trajfmt.files import BundleFiles
from trajfmt.layout import ParamLayout

__all__ = ["check_header", "checkpoint", "header"]

ALIGNMENT: Final = 64
MAX_HEADER: Final = 100_000_000
_SHORTEST_ENTRY: Final = 40
"""Bytes that a tensor takes in a header at least; a small file cannot make the reader build a large one."""


def header(layout: ParamLayout, knots: Sequence[int]) -> bytes:
    """Return the bytes before the first knot: length, JSON, spaces up to a multiple of 64.

    Tensors are named `{t:05d}/{parameter}`. `__metadata__` has one key, so that equal input gives equal
    bytes (safetensors keeps metadata in a hash map, and several keys come out in any order).
    """
    about = {"knots": list(knots), "encoding": "convex"}
    return _header([f"{t:05d}/" for t in knots], layout, about)


def _header(prefixes: Iterable[str], layout: ParamLayout, about: object) -> bytes:
    itemsize = layout.numpy_dtype.itemsize
    table: dict[str, object] = {"__metadata__": {"trajfmt": _canonical(about).decode()}}
    for block, prefix in enumerate(prefixes):
        base = block * layout.nbytes
        for parameter, start, stop in zip(
            layout.parameters, layout.offsets, layout.offsets[1:], strict=False
        ):
            table[prefix + parameter.name] = {
                "dtype": parameter.dtype,
                "shape": list(parameter.shape),
                "data_offsets": [base + start * itemsize, base + stop * itemsize],
            }
    text = msgspec.json.encode(table)
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _canonical(value: object) -> bytes:
    return msgspec.json.encode(value, order="sorted")


def check_header(files: BundleFiles, name: str, data: int, layout: ParamLayout, knots: Sequence[int]) -> None:
    """Require that the file's own header says what the manifest says.

    Raises:
        UnsafeError: the header is larger than safetensors allows.
        CorruptError: it is damaged, or describes other tensors.
    """
    path = files.root / name
    if files.sizes[name] < 8:
        raise CorruptError("header_invalid", "too short for a safetensors header", path=path)
    length = int.from_bytes(files.read(name, 0, 8), "little")
    if length > MAX_HEADER:
        raise UnsafeError(
            "header_too_large",
            f"a header has at most {MAX_HEADER} bytes, byte 0 declares {length}",
            path=path,
        )
    if 8 + length != data or data + len(knots) * layout.nbytes != files.sizes[name]:
        raise CorruptError(
            "header_mismatch",
            f"header and knots must fill the file ({files.sizes[name]} bytes) from byte {data},"
            f" the header ends at {8 + length}",
            path=path,
        )
    if len(knots) * len(layout.parameters) * _SHORTEST_ENTRY > data:
        raise CorruptError("header_mismatch", "the header is too short for the manifest's tensors", path=path)
    expected = header(layout, knots)
    found = files.read(name, 0, data)
    if found != expected and _entries(found[8:], path) != _entries(expected[8:], path):
        raise CorruptError(
            "header_mismatch", "the header describes other tensors than the manifest", path=path
        )


def _entries(text: bytes, path: object) -> str:
    """Return a header's tensors in a form that compares types too: `true` is not 1."""
    try:
        table = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as exc:
        raise CorruptError("header_invalid", f"the header is not valid JSON: {exc}", path=path) from exc
    if not isinstance(table, dict):
        raise CorruptError("header_invalid", "the header is not a JSON object", path=path)
    table.pop("__metadata__", None)
    return json.dumps(table, sort_keys=True)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key appears twice")
    return dict(pairs)


def checkpoint(layout: ParamLayout, theta: NDArray[np.generic], about: object) -> tuple[bytes, memoryview]:
    """Return one weight vector `(P,)` as an ordinary safetensors file, in two pieces."""
    data = np.ascontiguousarray(theta, layout.numpy_dtype).view(np.uint8).data
    return _header([""], layout, about), data

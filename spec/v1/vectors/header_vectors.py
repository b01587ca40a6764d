"""Bundles with a safetensors header that is not what sections 6.1 and 6.8 say.

Owns what is beside the weights: a reader of weights alone need not look at any of these headers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from bundles import Files, convex, resealed, walk
from containers import buffer_file

TINY = [("w", [3])]
HEAD = b'{"__metadata__"'
META = b'{"trajfmt":'
OFFSETS = b'"data_offsets":[0,12]'


def swap(old: bytes, new: bytes) -> dict[str, Callable[[bytes], bytes]]:
    """Return the option that replaces the first occurrence of a part of a safetensors header."""
    return {"edit": lambda text: text.replace(old, new, 1)}


def swap_all(old: bytes, new: bytes) -> dict[str, Callable[[bytes], bytes]]:
    """Return the option that replaces a part of a safetensors header, at every timestep."""
    return {"edit": lambda text: text.replace(old, new)}


def knots() -> Iterator[tuple[str, str, bytes, bytes, str]]:
    """Yield what is wrong with the header of a file of knots: name, reason, old part, new part, why."""
    bad, other = "header_invalid", "header_mismatch"
    yield "header-start", bad, HEAD, b" " + HEAD, "a space before the object"
    yield "header-end", bad, b"}}", b"}}\n", "a line end after the object"
    yield "header-nan", bad, META, b'{"a":NaN,"trajfmt":', "NaN in the metadata"
    yield (
        "header-metadata",
        bad,
        HEAD,
        b'{"__metadata__":7,"a"',
        "metadata that are a number",
    )
    yield "header-metadata-null", bad, META, b'{"a":null,"trajfmt":', "metadata that are not text"
    yield "header-overflow", bad, OFFSETS, b'"data_offsets":[0,1e999]', "an offset beyond float64"
    yield "header-surrogate", bad, META, b'{"a":"\\ud800","trajfmt":', "metadata that are not Unicode"
    yield "header-metadata-twice", bad, HEAD, b'{"__metadata__":{},"__metadata__"', "metadata twice"
    yield "header-fraction", other, OFFSETS, b'"data_offsets":[0,12.0]', "an offset with a fraction"
    yield "header-minus-zero", other, OFFSETS, b'"data_offsets":[-0,12]', "an offset of minus zero"
    yield "header-key", other, OFFSETS, OFFSETS + b',"x":1', "a key more in an entry"
    yield "header-no-offsets", other, b"," + OFFSETS, b"", "an entry without offsets"
    yield "header-entry-text", other, b'"00002/w":{', b'"x":"", "00002/w":{', "an entry that is a text"


def buffers() -> Iterator[tuple[str, str, bytes, bytes, str]]:
    """Yield what is wrong with the header of module buffers, at every timestep: as `knots` does."""
    other, long = "header_mismatch", b"/" + b"n" * 1025 + b'"'
    yield "buffers-name-empty", other, b'/n"', b'/"', "a name that is empty"
    yield "buffers-name-long", other, b'/n"', long, "a name of 1,025 characters"
    yield "buffers-name-bare", other, b'"00002/n"', b'"n"', "a name without a timestep"
    yield (
        "buffers-bytes",
        other,
        b'"shape":[2]',
        b'"shape":[3]',
        "more elements than bytes, at every timestep",
    )
    yield "buffers-time-spelled", other, b'"00002/', b'"2/', "a timestep of one digit"
    yield "buffers-key", other, b'"shape":[2]', b'"x":1,"shape":[2]', "a key more in an entry"
    yield "buffers-dimensions", other, b'"shape":[2]', b'"shape":[1,1,1,1,1,1,1,1,2]', "nine dimensions"
    yield "buffers-fraction", other, b'"shape":[2]', b'"shape":[2.0]', "a shape with a fraction"
    yield "buffers-type-small", other, b'"F32","shape":[2]', b'"F4","shape":[16]', "items of half a byte"
    yield "buffers-metadata", "header_invalid", HEAD, b'{"__metadata__":7,"a"', "metadata that are a number"
    yield "buffers-start", "header_invalid", HEAD, b"\n" + HEAD, "a line end before the object"


def invalid() -> Iterator[tuple[str, Files, dict[str, Any]]]:
    """Yield the bundles: name, files, entries of the index."""
    theta = walk(5, 3, TINY, {}, "F32")
    for name, reason, old, new, why in knots():
        files = convex([{"theta": theta, "knots": [0, 2]}], params=TINY, **swap(old, new))
        yield f"{name}.mct", files, refused(reason, why)
    hollow = [("a", [2]), ("none", [0, 3]), ("b", [1])]
    sharded = convex([{"theta": theta, "knots": [0, 2], "shards": [1, 1, 4]}], params=hollow)
    empty = "knots/00000-00002-of-00003.safetensors"
    renamed = resealed(sharded, empty, sharded[empty].replace(b"/none", b"/nine"))
    yield (
        "shard-hollow-name.mct",
        renamed,
        refused("header_mismatch", "another name in a shard without elements"),
    )
    carried = {t: {"m": np.array([t, 1], "<f4"), "n": np.array(t, "<i8")} for t in (0, 2)}
    good = convex([{"theta": theta, "knots": [0, 2], "buffers": carried}], params=TINY)
    path = "buffers/00000.safetensors"
    for name, reason, old, new, why in buffers():
        yield (
            f"{name}.mct",
            resealed(good, path, buffer_file(carried, **swap_all(old, new))),
            refused(reason, why),
        )
    huge = {t: {"m": np.empty((0, 2**52 - 1), "<f4"), "n": np.array(t, "<i8")} for t in (0, 2)}
    why = "no elements, with a dimension of 2^52 - 1"
    yield "buffers-empty-huge.mct", resealed(good, path, buffer_file(huge)), refused("header_mismatch", why)
    less = buffer_file({0: carried[0]})
    why = "nothing at the last knot"
    yield "buffers-knot-absent.mct", resealed(good, path, less), refused("header_mismatch", why)
    beyond = (10**6).to_bytes(8, "little") + good[path][8:]
    why = "a header that ends after the file"
    yield "buffers-beyond-file.mct", resealed(good, path, beyond), refused("header_mismatch", why)
    why = "a file too short to hold a header's length"
    yield "buffers-short.mct", resealed(good, path, b"\0" * 7), refused("header_invalid", why)


def refused(reason: str, why: str) -> dict[str, Any]:
    """Return the entries of the index for a flaw beside the weights."""
    return {"reason": reason, "stage": "read", "purpose": why, "beside": True}

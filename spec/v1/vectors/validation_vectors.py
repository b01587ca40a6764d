"""Bundles whose flaw only a validation finds: numbers, digests, and the metadata of HDF5 files.

Every hash is right. The stage of these vectors is `validate`.
"""

from __future__ import annotations

import io
import json
import math
import struct
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np
from bundles import Files, convex, digest, full, resealed, walk
from containers import hdf5
from pieces import PIECES

TINY = [("w", [3])]
TABLE, THETA = "tables/00000.h5", "theta/00000.h5"

Case = tuple[str, str, Files, str]


def tiny(**wanted: Any) -> Files:
    """Return the smallest convex bundle."""
    return convex([{"theta": walk(5, 3, TINY, {}, "F32"), "knots": [0, 2], **wanted}], params=TINY, pieces=0)


def place(files: Files, name: str) -> int:
    """Return the offset of a table of the first trajectory."""
    table: dict[str, int] = json.loads(files["manifest.json"])["trajectories"][0]["table"]
    return table[name]


def patched(files: Files, path: str, offset: int, new: bytes) -> Files:
    """Return the bundle with other bytes in one file, and hashes to match."""
    old = files[path]
    return resealed(files, path, old[:offset] + new + old[offset + len(new) :])


def ends(content: bytes) -> np.ndarray:
    """Return the last two timesteps in a file of which nothing follows them."""
    return np.frombuffer(content[-24:], "<f4").reshape(2, 3)


def numbers() -> Iterator[Case]:
    """Yield numbers that are not finite, or do not fit together."""
    good, f8 = tiny(gram=True), struct.Struct("<d").pack
    knots = "knots/00000.safetensors"
    end = len(good[knots]) - 4
    bad = patched(good, knots, end, struct.pack("<f", math.nan))
    bad = resealed(bad, knots, bad[knots], digest=digest(ends(bad[knots]), 3))
    yield "knots-nan.mct", "non_finite", bad, "a weight that is NaN"
    plain = full([walk(6, 2, TINY, {}, "F32")], {"name": "none"}, params=TINY, pieces=0)
    end = len(plain[THETA]) - 4
    bad = patched(plain, THETA, end, struct.pack("<f", math.inf))
    bad = resealed(bad, THETA, bad[THETA], digest=digest(ends(bad[THETA]), 2))
    yield "theta-infinite.mtt", "non_finite", bad, "an infinite weight"
    bad, norms = "beta_invalid", place(good, "step_norms")
    yield "norms-negative.mct", bad, patched(good, TABLE, norms, f8(-1.0)), "a step norm below 0"
    yield "norms-nan.mct", bad, patched(good, TABLE, norms, f8(math.nan)), "a step norm that is NaN"
    double = patched(good, TABLE, norms, f8(2 * struct.unpack_from("<d", good[TABLE], norms)[0]))
    yield "norms-unlike-u.mct", bad, double, "u that does not follow from the step norms"
    at = place(good, "u") + 8
    more = patched(good, TABLE, at, f8(struct.unpack_from("<d", good[TABLE], at)[0] + 1.1e-9))
    yield "norms-near-u.mct", bad, more, "u that differs by slightly more than 1e-9"
    gram = patched(good, TABLE, place(good, "gram") + 8, f8(math.inf))
    yield "gram-infinite.mct", bad, gram, "a Gram matrix that is not finite"
    other = resealed(good, knots, good[knots], digest="0" * 64)
    yield "digest-wrong.mct", "hash_mismatch", other, "another digest than that of the endpoints"
    other = resealed(plain, THETA, plain[THETA], digest="0" * 64)
    yield "digest-wrong-full.mtt", "hash_mismatch", other, "the same in a full bundle"


def metadata() -> Iterator[Case]:
    """Yield HDF5 files whose metadata are damaged, say something else, or lead elsewhere."""
    good, plain = tiny(), full([walk(6, 2, TINY, {}, "F32")], {"name": "none"}, params=TINY)
    bad = patched(good, TABLE, 0, b"\0" * 8)
    yield "hdf5-no-signature.mct", "header_invalid", bad, "tables in a file that is not HDF5"
    shifted = b"\0" * 512 + good[TABLE]
    table = {name: place(good, name) + 512 for name in ("u", "step_norms")}
    moved = resealed(good, TABLE, shifted, table={"file": TABLE, **table})
    yield "hdf5-user-block.mct", "header_invalid", moved, "a signature that is not at the start of the file"
    norms = place(good, "step_norms")
    table = {"file": TABLE, "u": place(good, "u"), "step_norms": len(good[TABLE])}
    copied = resealed(good, TABLE, good[TABLE] + good[TABLE][norms : norms + 16], table=table)
    yield "hdf5-offset.mct", "header_mismatch", copied, "another offset than the metadata say"
    for name, reason, change, why in [
        ("name", "header_mismatch", lambda file: file.move("00000/u", "00000/v"), "another name of a table"),
        ("group", "hdf5_unsafe", lambda file: untimed(file, "x"), "a group too many"),
        ("more", "header_mismatch", lambda file: file.create_dataset("x", data=[1.0]), "a dataset too many"),
        ("soft-link", "hdf5_unsafe", lambda file: put(file, "x", h5py.SoftLink("/00000")), "a soft link"),
        ("external-link", "hdf5_unsafe", external_link, "a link to another file"),
        ("external-data", "hdf5_unsafe", external_data, "data in another file"),
        ("virtual", "hdf5_unsafe", virtual, "a dataset that is a view of another file"),
        ("objects", "hdf5_unsafe", strings, "strings of any length"),
        ("group-dataset", "header_mismatch", flat, "a dataset in place of a group"),
    ]:
        yield f"hdf5-{name}.mct", reason, rebuilt(good, change), why
    old, offset = old_groups(walk(6, 2, TINY, {}, "F32"))
    heap = old.index(b"HEAP")
    first, contents = struct.unpack_from("<QQ", old, heap + 16)
    endless = old[: contents + first] + struct.pack("<Q", first) + old[contents + first + 8 :]
    looped = resealed(plain, THETA, endless, data=offset)
    yield "hdf5-heap.mtt", "header_invalid", looped, "a heap whose list of free blocks leads back to itself"
    integers = full([walk(6, 2, TINY, {}, "F32").view("<i4")], {"name": "none"}, params=TINY)
    offset = json.loads(integers["manifest.json"])["trajectories"][0]["data"]
    typed = resealed(plain, THETA, integers[THETA], data=offset)
    yield "hdf5-type.mtt", "header_mismatch", typed, "weights that are integers by the metadata"
    brain, half = (
        full([walk(6, 2, TINY, {}, dtype)], {"name": "none"}, params=TINY, dtype=dtype, pieces=0)
        for dtype in ("BF16", "F16")
    )
    entry = json.loads(half["manifest.json"])["trajectories"][0]
    typed = resealed(brain, THETA, half[THETA], data=entry["data"], digest=entry["digest"])
    yield "hdf5-type-bf16.mtt", "header_mismatch", typed, "BF16 that are F16 by the metadata"


def digest_headers() -> Iterator[Case]:
    """Yield files of digests whose header is not what section 8.2 says."""
    good = convex([{"theta": walk(5, 3, TINY, {}, "F32"), "knots": [0, 2]}], params=TINY)
    data, bad, other = good[PIECES], "header_invalid", "header_mismatch"
    size = int.from_bytes(data[:8], "little")
    long = (10**6).to_bytes(8, "little") + data[8:]
    yield "pieces-header-beyond.mct", other, resealed(good, PIECES, long), "a header that ends after the file"
    huge = (100_000_001).to_bytes(8, "little") + data[8:]
    yield (
        "pieces-header-large.mct",
        "header_too_large",
        resealed(good, PIECES, huge),
        "a header above the limit",
    )
    for name, reason, old, new, why in [
        ("text", bad, b'"dtype"', b"'dtype'", "text that is not JSON"),
        ("metadata", bad, b'"{\\"holds\\":\\"pieces\\"}"', b"7", "metadata that are not text"),
        ("name", other, b'"00000"', b'"00001"', "the digests of a trajectory that does not exist"),
        ("dtype", other, b'"U8"', b'"I8"', "another type"),
        ("shape", other, b"[2,32]", b"[1,64]", "another shape of as many bytes"),
        ("offset", other, b"[0,64]", b"[1,65]", "another offset"),
        ("fraction", other, b"[0,64]", b"[0,64.0]", "an offset with a fraction"),
        (
            "more",
            other,
            b'"00000":{',
            b'"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"00000":{',
            "a tensor more",
        ),
    ]:
        text = data[8 : 8 + size].rstrip()
        assert old in text
        changed = text.replace(old, new, 1)
        room = -(8 + len(changed)) % 64
        made = struct.pack("<Q", len(changed) + room) + changed + b" " * room + data[8 + size :]
        region = json.loads(good["manifest.json"])["trajectories"][0]["pieces"]
        moved = {**region, "data": 8 + len(changed) + room}
        yield f"pieces-header-{name}.mct", reason, resealed(good, PIECES, made, pieces=moved), why


def old_groups(theta: np.ndarray) -> tuple[bytes, int]:
    """Return an HDF5 file whose group is of the oldest kind, which has a heap, and the offset of its data."""
    image = io.BytesIO()
    with h5py.File(image, "w", libver=("earliest", "v110")) as file:
        dataset = file.create_dataset("theta", data=theta, track_times=False)
        file.flush()
        offset = dataset.id.get_offset()
    return image.getvalue(), offset


def put(file: h5py.File, name: str, value: Any) -> None:
    """Put a link into a file."""
    file[name] = value


def external_link(file: h5py.File) -> None:
    """Put a link to another file into a file."""
    file["x"] = h5py.ExternalLink("other.h5", "/x")


def external_data(file: h5py.File) -> None:
    """Put a dataset into a file whose data are elsewhere."""
    file.create_dataset("x", (1,), "<f8", external=[("other.bin", 0, 8)])


def virtual(file: h5py.File) -> None:
    """Put a dataset into a file that shows a part of another."""
    space = h5py.h5s.create_simple((1,))
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_obj_track_times(False)
    plist.set_virtual(space, b"other.h5", b"x", space)
    h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F64LE, space, plist)


def flat(file: h5py.File) -> None:
    """Put a dataset in the place of the group."""
    del file["00000"]
    file.create_dataset("00000", data=[1.0])


def strings(file: h5py.File) -> None:
    """Put a dataset of strings into a file."""
    file.create_dataset("x", data=["a"], dtype=h5py.string_dtype())


def untimed(file: h5py.File, name: str) -> h5py.Group:
    """Return a new group without time stamps."""
    plist = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    plist.set_obj_track_times(False)
    return h5py.Group(h5py.h5g.create(file.id, name.encode(), gcpl=plist))


def rebuilt(files: Files, change: Callable[[h5py.File], Any]) -> Files:
    """Return the bundle with a file of tables that `change` has altered; the offsets are right."""
    table = json.loads(files["manifest.json"])["trajectories"][0]["table"]
    shapes = {"u": (3, 1), "step_norms": (2, 1)}
    places: dict[str, Any] = {"file": TABLE}

    def fill(file: h5py.File) -> None:
        group = untimed(file, "00000")
        for name, shape in shapes.items():
            values = np.frombuffer(files[TABLE], "<f8", math.prod(shape), table[name]).reshape(shape)
            group.create_dataset(name, data=values)
        places.update({name: group[name].id.get_offset() for name in shapes})
        change(file)

    made = hdf5(fill)
    return resealed(files, TABLE, made, table=places)


def invalid() -> Iterator[tuple[str, Files, dict[str, Any]]]:
    """Yield the bundles: name, files, entries of the index."""
    for group in (numbers, metadata, digest_headers):
        for name, reason, files, why in group():
            yield name, files, {"reason": reason, "stage": "validate", "purpose": why}

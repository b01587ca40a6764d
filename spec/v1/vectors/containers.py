"""Containers of the vectors: safetensors and HDF5 files, zstd frames, item types.

Owns no vector, and no arithmetic but rounding.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import struct
from collections.abc import Callable
from decimal import Decimal

import h5py
import ml_dtypes
import numpy as np
import zstandard

ITEM = {"F16": "<f2", "BF16": ml_dtypes.bfloat16, "F32": "<f4", "F64": "<f8"}


def canonical(value: object) -> bytes:
    """Return canonical JSON, RFC 8785."""
    return spelled(value).encode()


def spelled(value: object) -> str:
    """Return a value as canonical JSON."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{spelled(key)}:{spelled(value[key])}" for key in keys) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(spelled, value)) + "]"
    return ecmascript(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def ecmascript(number: float) -> str:
    """Return a number as JavaScript prints it."""
    shortest = Decimal(repr(number)).normalize()
    if number == 0:
        return "0"
    if 1e-6 <= abs(number) < 1e21:
        return f"{shortest:f}"
    mantissa, _, exponent = f"{shortest:e}".partition("e")
    return f"{mantissa}e{int(exponent):+d}"


def exact(value: object) -> bytes:
    """Return JSON in which every float64 reads back as it was, minus zero too, and a line end."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def sealed(manifest: dict, write: Callable[[object], bytes] = canonical) -> bytes:
    """Return a manifest as text, by default canonical, with its checksum in place of 64 zeros."""
    zeros = "0" * 64
    text = write({**manifest, "checksum": zeros})
    start = text.index(zeros.encode(), text.index(b'"checksum"'))
    return text[:start] + hashlib.sha256(text).hexdigest().encode() + text[start + 64 :]


def spans(params: list) -> list[tuple[int, int]]:
    """Return start and stop of every parameter in the flat vector."""
    ends = np.cumsum([math.prod(shape) for _, shape in params]).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


def narrow(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return float64 rounded once to an item type; to bfloat16 numpy goes by float32, and rounds twice."""
    if dtype == ml_dtypes.bfloat16:
        step = np.maximum(np.frexp(values)[1] - 8, -133)
        values = np.ldexp(np.round(np.ldexp(values, -step)), step)
    with np.errstate(over="ignore"):
        return values.astype(dtype)


def listed(values: np.ndarray) -> list:
    """Return numbers of any item type as Python's, exactly; what JSON does not have as text."""
    numbers = values.astype(np.float64).tolist()
    if np.isfinite(values.astype(np.float64)).all():
        return numbers
    names = {math.inf: "Infinity", -math.inf: "-Infinity"}
    return [names.get(number, number) for number in numbers]


def hdf5(fill: Callable[[h5py.File], None]) -> bytes:
    """Return the bytes of an HDF5 file made in memory, without time stamps.

    `fill` writes its data after everything else, so that the library can cut what it reserved for them.
    """
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    creation.set_obj_track_times(False)
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_meta_block_size(64)
    image = io.BytesIO()
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, image)
    with h5py.File(h5py.h5f.create(b"vector", h5py.h5f.ACC_TRUNC, creation, access)) as file:
        fill(file)
    return image.getvalue()


def tensors(table: dict, data: bytes, edit: Callable[[bytes], bytes] = bytes) -> bytes:
    """Return a safetensors file; `edit` may damage the header's text before it is padded."""
    text = edit(json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode())
    text += b" " * (-(8 + len(text)) % 64)
    return struct.pack("<Q", len(text)) + text + data


def knot_files(
    knots: np.ndarray,
    times: list[int],
    params: list,
    dtype: str,
    edit: Callable[[bytes], bytes],
    counts: list[int] | None,
) -> list[tuple[bytes, list[str]]]:
    """Return the files of knots with the names in each.

    `counts` are the tensors of each file, if there are several. `edit` may damage the text of a header.
    """
    about = {"__metadata__": {"trajfmt": canonical({"encoding": "convex", "knots": times}).decode()}}
    held = [
        (f"{t:05d}/{name}", shape, knots[k, start:stop].tobytes())
        for k, t in enumerate(times)
        for (name, shape), (start, stop) in zip(params, spans(params), strict=True)
    ]
    files, first = [], 0
    for count in counts or [len(held)]:
        table, data = dict(about), b""
        for name, shape, values in held[first : first + count]:
            ends = [len(data), len(data) + len(values)]
            table[name] = {"dtype": dtype, "shape": shape, "data_offsets": ends}
            data += values
        files.append((tensors(table, data, edit), [name for name, _, _ in held[first : first + count]]))
        first += count
    return files


def buffer_file(carried: dict[int, dict[str, np.ndarray]], edit: Callable[[bytes], bytes] = bytes) -> bytes:
    """Return the file of what is carried at the stored timesteps; `edit` may damage its header."""
    table: dict = {"__metadata__": {"trajfmt": canonical({"holds": "buffers"}).decode()}}
    data = b""
    for t, arrays in sorted(carried.items()):
        for name, array in sorted(arrays.items()):
            ends = [len(data), len(data) + array.nbytes]
            dtype = {"<f4": "F32", "<i8": "I64", "|b1": "BOOL"}[array.dtype.str]
            table[f"{t:05d}/{name}"] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": ends}
            data += array.tobytes()
    return tensors(table, data, edit)


def frame(data: bytes, *, size: bool = True, checksum: bool = True) -> bytes:
    """Return one zstd frame."""
    packer = zstandard.ZstdCompressor(level=3, write_checksum=checksum, write_content_size=size)
    if size:
        return packer.compress(data)
    stream = packer.compressobj()
    return stream.compress(data) + stream.flush()


def shuffle(chunk: np.ndarray) -> bytes:
    """Return HDF5's filter 2: first bytes of all elements, then second bytes, and so on."""
    return chunk.view(np.uint8).reshape(-1, chunk.itemsize).T.tobytes()


def signed(value: int, bits: int) -> int:
    """Return an integer modulo 2**bits as two's complement."""
    return (value + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)


def zigzag(new: int, old: int, bits: int) -> int:
    """Return the archive codec's code of one element, by Python integers."""
    delta = (new - old) % 2**bits
    return 2 * delta if delta < 2 ** (bits - 1) else 2 * (2**bits - delta) - 1


def item_type(dtype: np.dtype) -> h5py.h5t.TypeID:
    """Return HDF5's type of an item; bfloat16 has a sign, 8 bits of exponent, 7 of fraction."""
    if dtype != ml_dtypes.bfloat16:
        return h5py.h5t.py_create(dtype)
    kind = h5py.h5t.IEEE_F16LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_ebias(127)
    return kind


def write_chunks(
    file: h5py.File, theta: np.ndarray, codec: dict, pack: Callable[[bytes], bytes]
) -> dict[str, list[int]]:
    """Write the chunked dataset and return where its chunks lie. Slopes of predictions come in turn."""
    archive, length, item = "keyframe" in codec, codec["chunk"], theta.dtype.itemsize
    stored = np.dtype(f"<u{item}") if archive else theta.dtype
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((1, length))
    plist.set_obj_track_times(False)
    plist.set_shuffle()
    plist.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
    kind, space = item_type(stored), h5py.h5s.create_simple(theta.shape)
    dataset = h5py.h5d.create(file.id, b"delta" if archive else b"theta", kind, space, plist)
    if archive:
        h5py.Dataset(dataset).attrs["keyframe"] = np.int64(codec["keyframe"])
    places, slopes = [], []
    for t, row in enumerate(theta):
        for start in range(0, len(row), length):
            chunk = padded(row, start, length).view(stored)
            since = t % codec.get("keyframe", 1)
            slopes.append(len(slopes) % 6 - 1 if since >= 2 else 0)
            if since:
                last, before = (padded(theta[t - i], start, length).view(stored) for i in (1, min(since, 2)))
                both = zip(last.tolist(), before.tolist(), strict=True)
                hopes = [a + (signed(slopes[-1] * (a - b), 8 * item) // 4) for a, b in both]
                codes = [zigzag(b, p, 8 * item) for b, p in zip(chunk.tolist(), hopes, strict=True)]
                chunk = np.array(codes, stored)
            dataset.write_direct_chunk((t, start), pack(shuffle(chunk)))
            places.append((t, start))
    found = [dataset.get_chunk_info_by_coord(place) for place in places]
    about = {"offsets": [x.byte_offset for x in found], "sizes": [x.size for x in found]}
    return about | ({"slopes": slopes} if archive else {})


def padded(row: np.ndarray, start: int, length: int) -> np.ndarray:
    """Return one chunk of a timestep, filled up with zeros."""
    part = row[start : start + length]
    return np.concatenate([part, np.zeros(length - len(part), row.dtype)])

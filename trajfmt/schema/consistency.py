"""Checks across the fields of a manifest: references, order, sizes and paths.

These are the checks that the types of the fields cannot express and that need no file except the manifest.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence, Set
from typing import Final, NoReturn

from trajfmt.codecs.table import CODECS
from trajfmt.errors import CorruptError, UnsafeError
from trajfmt.schema.canonical import MAX_INTEGER
from trajfmt.schema.features import OF_ENTRY, OF_WEIGHTS, fits, of_entry, of_weights
from trajfmt.schema.layout import DTYPES, ParamLayout
from trajfmt.schema.manifest import (
    MINOR,
    CodecSettings,
    ConvexEntry,
    Entry,
    FullEntry,
    FullManifest,
    Manifest,
    layout_of,
    numbered,
)
from trajfmt.schema.pieces import DIGEST, Pieces
from trajfmt.schema.regions import Regions

__all__ = ["MAX_EXPANSION", "MAX_GRAM", "MAX_PATH", "MAX_TABLE", "PATH", "check"]

PATH: Final = re.compile(
    r"[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*\.(safetensors|safetensors\.index\.json|h5)"
)
"""Pattern of file paths. It excludes absolute paths, `..`, NUL and upper case, so that no two paths differ
by case alone."""

MAX_PATH: Final = 200
"""Largest length of a file path in characters."""

MAX_TABLE: Final = 2**24
"""Most elements of u, (T + 1) * L. A reader holds the table in memory."""

MAX_GRAM: Final = 256
"""Largest T of a trajectory with a Gram matrix, whose size grows with its square."""

MAX_EXPANSION: Final = 1_000
"""Most bytes to which the chunks of a trajectory expand, for each byte of them. With less, a few bytes could
occupy a reader for hours. A run-length block of zeros expands 30,000 times."""


def _invalid(message: str, path: object) -> NoReturn:
    raise CorruptError("manifest_inconsistent", message, path=path)


def check(manifest: Manifest, path: object) -> None:
    """Check the references, order, sizes and paths in a manifest.

    The passes have the order of section 4 of `spec/v1/spec.md`. Each has a single reason, so that it does not
    matter what it finds first. Trajectories that are refused are not looked at.

    Args:
        manifest: a manifest whose fields have the right types.
        path: the path that error messages name.

    Raises:
        CorruptError: fields of the manifest contradict each other.
        UnsafeError: a path is unsafe, or a size is impossible.
    """
    for file in manifest.files:
        if len(file.path) > MAX_PATH or not PATH.fullmatch(file.path):
            raise UnsafeError("path_unsafe", f"unsafe file path {file.path!r}", path=path)
    _check_shapes(manifest, path)
    try:
        layout = layout_of(manifest)
    except ValueError as exc:
        raise CorruptError("manifest_inconsistent", str(exc), path=path) from exc
    sizes: dict[str, int] = {}
    for file in manifest.files:
        if file.path in sizes:
            _invalid(f"file {file.path!r} is listed twice", path)
        sizes[file.path] = file.bytes
    codec = manifest.codec if isinstance(manifest, FullManifest) else None
    if codec is not None:
        _check_codec(codec, layout, path)
    needed = of_weights(layout.dtype, codec.name if codec else None)
    _check_features(manifest.requires_read, needed, OF_WEIGHTS, manifest, "the top level", path)
    regions = Regions(sizes, path)
    entries: Mapping[int, Entry] = numbered(manifest)
    for index, entry in entries.items():
        _check_entry(entry, manifest, index, path)
        if isinstance(entry, ConvexEntry):
            _check_convex(entry, layout, index, path)
        else:
            assert codec is not None
            _check_full(entry, codec, layout, index, path)
        _check_pieces(entry, index, path)
        _check_files(entry, regions, index)
    regions.check_shared()
    for index, entry in entries.items():
        if entry.buffers is not None:
            regions.claim_file(entry.buffers, index)
        if isinstance(entry, ConvexEntry):
            _claim_convex(entry, layout, regions, index, path)
        else:
            assert codec is not None
            _claim_full(entry, codec, layout, regions, index, path)
        _claim_pieces(entry, layout, regions, index)
    regions.check()


def _check_shapes(manifest: Manifest, path: object) -> None:
    """Require that no array can be larger than the largest number of the format."""
    elements = 0
    for parameter in manifest.parameters:
        room = 1
        for dim in parameter.shape:
            room *= max(dim, 1)
        if room * 8 > MAX_INTEGER:
            raise UnsafeError("size_overflow", f"parameter `{parameter.name}` is too large", path=path)
        elements += math.prod(parameter.shape)
    if elements * DTYPES[manifest.parameters[0].dtype].itemsize > MAX_INTEGER:
        raise UnsafeError("size_overflow", f"one timestep would have {elements} elements", path=path)


def _check_features(
    listed: Sequence[str],
    needed: Sequence[str],
    allowed: Set[str],
    manifest: Manifest,
    where: str,
    path: object,
) -> None:
    """Require that the features in use are listed, and no others unless a later version explains them."""
    if not fits(listed, needed, allowed, later=manifest.version.minor > MINOR):
        _invalid(
            f"{where}: `requires_read` must be {list(needed)}, got {list(listed)[:8]}; a bundle from before"
            " version 1.0 was frozen must be written again",
            path,
        )


def _check_entry(entry: Entry, manifest: Manifest, index: int, path: object) -> None:
    """Check what the entries of both encodings have."""
    where = f"trajectory {index}"
    _check_features(entry.requires_read, of_entry(entry), OF_ENTRY, manifest, where, path)
    if entry.origin is not None and entry.origin.file >= len(manifest.provenance.sources):
        _invalid(
            f"trajectory {index}: its origin is source {entry.origin.file},"
            f" but only {len(manifest.provenance.sources)} are listed",
            path,
        )
    numbers = entry.numbers
    if numbers is not None and (
        len(numbers) != entry.timesteps or any(a >= b for a, b in itertools.pairwise(numbers))
    ):
        _invalid(
            f"trajectory {index}: `numbers` must be {entry.timesteps} strictly increasing numbers,"
            f" got {len(numbers)}: {str(numbers[:8])[1:-1]}",
            path,
        )
    if entry.buffers is not None and not entry.buffers.endswith(".safetensors"):
        _invalid(f"trajectory {index}: `buffers` must name a .safetensors file", path)


def _check_files(entry: Entry, regions: Regions, index: int) -> None:
    """Require that the files of an entry are listed, and that no other trajectory has its weights there."""
    for name in sorted(entry.files):
        regions.require(name, index)
    for name in [*entry.weight_files, *([] if entry.buffers is None else [entry.buffers])]:
        regions.own(name, index)
    if entry.pieces is not None:
        regions.share(entry.pieces.file)


def _check_pieces(entry: Entry, index: int, path: object) -> None:
    if entry.pieces is None:
        return
    if not entry.pieces.file.endswith(".safetensors"):
        _invalid(f"trajectory {index}: digests of pieces must be in a .safetensors file", path)
    in_chunks = isinstance(entry, FullEntry) and entry.chunks is not None
    if (entry.pieces.size is None) != in_chunks:
        _invalid(f"trajectory {index}: pieces must have a `size`, unless every chunk is a piece", path)


def _claim_pieces(entry: Entry, layout: ParamLayout, regions: Regions, index: int) -> None:
    """Claim the place of the digests of pieces. The weights must have been checked."""
    if entry.pieces is None:
        return
    count = Pieces.of(entry, layout, entry.pieces.size).count
    regions.claim(entry.pieces.file, entry.pieces.data, count * DIGEST, index)


def _check_convex(entry: ConvexEntry, layout: ParamLayout, index: int, path: object) -> None:
    last = entry.timesteps - 1
    rises = all(a < b for a, b in itertools.pairwise(entry.knots))
    if entry.knots[0] != 0 or entry.knots[-1] != last or not rises:
        _invalid(
            f"trajectory {index}: knots must increase strictly from 0 to {last}, got {len(entry.knots)} knots"
            f" from {entry.knots[0]} to {entry.knots[-1]}",
            path,
        )
    if (entry.file is None) != (entry.data is None) or (entry.file is None) == (entry.shards is None):
        _invalid(f"trajectory {index}: knots must have either `file` and `data`, or `shards`", path)
    shards = entry.stored(len(layout.parameters))
    if not entry.table.file.endswith(".h5") or not all(s.file.endswith(".safetensors") for s in shards):
        _invalid(f"trajectory {index}: knots must be in .safetensors files, and tables in .h5 files", path)
    wanted = len(entry.knots) * len(layout.parameters)
    held = sum(shard.tensors for shard in shards)
    if held != wanted:
        _invalid(f"trajectory {index}: the shards must hold {wanted} tensors, got {held}", path)
    if len({shard.file for shard in shards}) != len(shards):
        _invalid(f"trajectory {index}: two shards name the same file", path)
    if entry.table.gram is not None and last > MAX_GRAM:
        _invalid(f"trajectory {index}: `gram` must be absent above T = {MAX_GRAM}, got T = {last}", path)
    if entry.table.free and len(entry.knots) != 2:
        _invalid(f"trajectory {index}: a free table requires two knots, got {len(entry.knots)}", path)


def _claim_convex(
    entry: ConvexEntry, layout: ParamLayout, regions: Regions, index: int, path: object
) -> None:
    first = 0
    for shard in entry.stored(len(layout.parameters)):
        nbytes = layout.position(first + shard.tensors) - layout.position(first)
        regions.claim(shard.file, shard.data, nbytes, index)
        first += shard.tensors
    table, row, last = entry.table, 8 * layout.num_layers, entry.timesteps - 1
    if entry.timesteps * layout.num_layers > MAX_TABLE:
        raise UnsafeError(
            "size_overflow",
            f"trajectory {index}: a table must have at most {MAX_TABLE} elements, got {entry.timesteps}"
            f" timesteps of {layout.num_layers} layers",
            path=path,
        )
    regions.claim(table.file, table.u, entry.timesteps * row, index)
    if table.step_norms is not None:
        regions.claim(table.file, table.step_norms, last * row, index)
    if table.gram is not None:
        regions.claim(table.file, table.gram, 8 * entry.timesteps**2, index)


def _check_codec(codec: CodecSettings, layout: ParamLayout, path: object) -> None:
    known = CODECS[codec.name]
    if (codec.chunk is not None) != known.chunked or (codec.keyframe is None) != (known.keyframe is None):
        _invalid(f"codec {codec.name!r} has missing or superfluous settings", path)
    if codec.chunk is not None and codec.chunk > layout.size:
        _invalid(f"a chunk must have at most P = {layout.size} elements, got {codec.chunk}", path)


def _check_full(
    entry: FullEntry, codec: CodecSettings, layout: ParamLayout, index: int, path: object
) -> None:
    if not entry.file.endswith(".h5"):
        _invalid(f"trajectory {index}: a full trajectory must be in an .h5 file, got {entry.file!r}", path)
    chunked = CODECS[codec.name].chunked
    if (entry.data is None) != chunked or (entry.chunks is None) == chunked:
        _invalid(f"trajectory {index}: codec `none` requires `data`, other codecs require `chunks`", path)
    if entry.chunks is not None:
        count = entry.timesteps * -(-layout.size // (codec.chunk or 1))
        offsets, lengths, slopes = entry.chunks.offsets, entry.chunks.sizes, entry.chunks.slopes
        if (slopes is None) != (codec.keyframe is None):
            _invalid(f"trajectory {index}: codecs with keyframes require `slopes`, others have none", path)
        found = [len(values) for values in (offsets, lengths, slopes) if values is not None]
        if any(length != count for length in found):
            _invalid(
                f"trajectory {index}: expected {count} chunks, got {found[0]} offsets, {found[1]} sizes"
                + "".join(f" and {length} slopes" for length in found[2:]),
                path,
            )


def _claim_full(
    entry: FullEntry,
    codec: CodecSettings,
    layout: ParamLayout,
    regions: Regions,
    index: int,
    path: object,
) -> None:
    if entry.data is not None:
        regions.claim(entry.file, entry.data, entry.timesteps * layout.nbytes, index)
    if entry.chunks is not None:
        regions.claim_all(entry.file, entry.chunks.offsets, entry.chunks.sizes, index)
        stored = sum(entry.chunks.sizes)
        decoded = len(entry.chunks.sizes) * (codec.chunk or 1) * layout.numpy_dtype.itemsize
        if decoded > MAX_EXPANSION * stored:
            raise UnsafeError(
                "size_overflow",
                f"trajectory {index}: chunks must expand to at most {MAX_EXPANSION} times their bytes, got"
                f" {decoded} bytes from {stored}; store such weights with codec `none`",
                path=path,
            )

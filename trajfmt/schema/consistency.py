"""Checks across the fields of a manifest: references, order, sizes and paths.

These are the checks that the types of the fields cannot express and that need no file except the manifest.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from typing import Final, NoReturn

from trajfmt.codecs.table import CODECS
from trajfmt.errors import CorruptError, UnsafeError
from trajfmt.schema.layout import DTYPES, ParamLayout
from trajfmt.schema.manifest import (
    CodecSettings,
    ConvexEntry,
    Entry,
    FullEntry,
    FullManifest,
    Manifest,
    layout_of,
)

__all__ = ["MAX_PATH", "PATH", "check"]

PATH: Final = re.compile(
    r"[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*\.(safetensors|safetensors\.index\.json|h5)"
)
"""Pattern of file paths. It excludes absolute paths, `..`, NUL and upper case, so that no two paths differ
by case alone."""

MAX_PATH: Final = 200
"""Largest length of a file path in characters."""


def _invalid(message: str, path: object) -> NoReturn:
    raise CorruptError("manifest_inconsistent", message, path=path)


def check(manifest: Manifest, path: object) -> None:
    """Check the references, order, sizes and paths in a manifest.

    Args:
        manifest: a manifest whose fields have the right types.
        path: the path that error messages name.

    Raises:
        CorruptError: fields of the manifest contradict each other.
        UnsafeError: a path is unsafe, or a size is impossible.
    """
    elements = 0
    for parameter in manifest.parameters:
        room = 1
        for dim in parameter.shape:
            room *= max(dim, 1)
        if room * 8 > 2**53:
            raise UnsafeError("size_overflow", f"parameter `{parameter.name}` is too large", path=path)
        elements += math.prod(parameter.shape)
    itemsize = DTYPES[manifest.parameters[0].dtype].itemsize
    if elements * itemsize > 2**53:
        raise UnsafeError("size_overflow", f"one timestep would have {elements} elements", path=path)
    try:
        layout = layout_of(manifest)
    except ValueError as exc:
        raise CorruptError("manifest_inconsistent", str(exc), path=path) from exc
    sizes: dict[str, int] = {}
    for entry in manifest.files:
        if len(entry.path) > MAX_PATH or not PATH.fullmatch(entry.path):
            raise UnsafeError("path_unsafe", f"unsafe file path {entry.path!r}", path=path)
        if entry.path in sizes:
            _invalid(f"file {entry.path!r} is listed twice", path)
        sizes[entry.path] = entry.bytes
    if isinstance(manifest, FullManifest):
        _check_codec(manifest, layout, path)
    trajectories: Sequence[Entry] = manifest.trajectories
    for index, trajectory in enumerate(trajectories):
        _check_common(trajectory, manifest, sizes, index, path)
        if isinstance(trajectory, ConvexEntry):
            _check_convex(trajectory, layout, sizes, index, path)
        else:
            assert isinstance(manifest, FullManifest)
            _check_full(trajectory, manifest.codec, layout, sizes, index, path)


def _check_common(entry: Entry, manifest: Manifest, sizes: dict[str, int], index: int, path: object) -> None:
    """Check the fields that both encodings have: `origin`, `numbers` and `buffers`."""
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
    if entry.buffers is not None:
        if not entry.buffers.endswith(".safetensors"):
            _invalid(f"trajectory {index}: `buffers` must name a .safetensors file", path)
        _check_range(entry.buffers, 0, 0, sizes, index, path)


def _check_range(
    name: str, offset: int, nbytes: int, sizes: dict[str, int], index: int, path: object
) -> None:
    """Require that the listed file `name` contains `nbytes` bytes from `offset` on."""
    if name not in sizes:
        _invalid(f"trajectory {index}: file {name!r} is not listed in `files`", path)
    if offset + nbytes > sizes[name]:
        raise UnsafeError(
            "size_overflow",
            f"trajectory {index}: bytes {offset} to {offset + nbytes} lie outside {name!r},"
            f" which has {sizes[name]}",
            path=path,
        )


def _check_convex(
    entry: ConvexEntry, layout: ParamLayout, sizes: dict[str, int], index: int, path: object
) -> None:
    last = entry.timesteps - 1
    rises = all(a < b for a, b in zip(entry.knots, entry.knots[1:], strict=False))
    if entry.knots[0] != 0 or entry.knots[-1] != last or not rises:
        _invalid(
            f"trajectory {index}: knots must increase strictly from 0 to {last}, got {entry.knots}",
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
    first = 0
    for shard in shards:
        nbytes = layout.position(first + shard.tensors) - layout.position(first)
        _check_range(shard.file, shard.data, nbytes, sizes, index, path)
        first += shard.tensors
    row = 8 * layout.num_layers
    _check_range(entry.table.file, entry.table.u, entry.timesteps * row, sizes, index, path)
    if entry.table.step_norms is not None:
        _check_range(entry.table.file, entry.table.step_norms, last * row, sizes, index, path)
    if entry.table.gram is not None:
        _check_range(entry.table.file, entry.table.gram, 8 * entry.timesteps**2, sizes, index, path)
    if entry.table.free and len(entry.knots) != 2:
        _invalid(f"trajectory {index}: a free table requires two knots, got {len(entry.knots)}", path)


def _check_codec(manifest: FullManifest, layout: ParamLayout, path: object) -> None:
    codec = manifest.codec
    known = CODECS.get(codec.name)
    if known is None:
        raise CorruptError(
            "manifest_invalid", f"`codec` must be one of {', '.join(CODECS)}, got {codec.name!r}", path=path
        )
    needs = [] if known.feature is None else [known.feature]
    if manifest.requires_read != needs:
        _invalid(f"`requires_read` must be {needs} for codec {codec.name!r}", path)
    if (codec.chunk is not None) != known.chunked or (codec.keyframe is None) != (known.keyframe is None):
        _invalid(f"codec {codec.name!r} has missing or superfluous settings", path)
    if codec.chunk is not None and codec.chunk > layout.size:
        _invalid(f"a chunk must have at most P = {layout.size} elements, got {codec.chunk}", path)


def _check_full(
    entry: FullEntry,
    codec: CodecSettings,
    layout: ParamLayout,
    sizes: dict[str, int],
    index: int,
    path: object,
) -> None:
    if not entry.file.endswith(".h5"):
        _invalid(f"trajectory {index}: a full trajectory must be in an .h5 file, got {entry.file!r}", path)
    chunked = CODECS[codec.name].chunked
    if (entry.data is None) != chunked or (entry.chunks is None) == chunked:
        _invalid(f"trajectory {index}: codec `none` requires `data`, other codecs require `chunks`", path)
    if entry.data is not None:
        _check_range(entry.file, entry.data, entry.timesteps * layout.nbytes, sizes, index, path)
    if entry.chunks is not None:
        count = entry.timesteps * -(-layout.size // (codec.chunk or 1))
        offsets, lengths = entry.chunks.offsets, entry.chunks.sizes
        if len(offsets) != count or len(lengths) != count:
            _invalid(
                f"trajectory {index}: expected {count} chunks, got {len(offsets)} offsets and"
                f" {len(lengths)} sizes",
                path,
            )
        for offset, length in zip(offsets, lengths, strict=True):
            _check_range(entry.file, offset, length, sizes, index, path)

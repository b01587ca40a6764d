"""Bytes to a checked manifest.

Owns the rules for versions and features and every check that needs no other file. Touches no disk.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn

import msgspec

from trajfmt.errors import CorruptError, NotABundleError, UnsafeError
from trajfmt.layout import DTYPES, ParamLayout
from trajfmt.manifest import (
    FORMAT,
    MAJOR,
    MAX_BYTES,
    MINOR,
    Codec,
    ConvexEntry,
    ConvexManifest,
    FullEntry,
    FullManifest,
    Manifest,
    Origin,
    layout_of,
)

__all__ = ["READ_FEATURES", "WRITE_FEATURES", "check_writable", "parse"]

READ_FEATURES: Final = frozenset({"codec.zstd", "codec.archive"})
WRITE_FEATURES: Final[frozenset[str]] = frozenset()

PATH: Final = re.compile(r"[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*\.(safetensors|h5)")
"""One lower-case spelling per file: not absolute, no `..`, no NUL, no case collision."""

MAX_PATH: Final = 200


def parse(data: bytes, *, path: object = None) -> Manifest:
    """Decode and check a manifest.

    Raises:
        NotABundleError: not a trajfmt manifest, or a version or feature unknown to this library.
        CorruptError: it breaks a rule of the specification.
        UnsafeError: too large, an unsafe path, or sizes that cannot be.
    """
    if len(data) > MAX_BYTES:
        raise UnsafeError(
            "manifest_too_large",
            f"a manifest has at most {MAX_BYTES} bytes, got {len(data)}",
            path=path,
        )
    try:
        raw = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
        json.dumps(raw, ensure_ascii=False).encode()  # refuses half of a surrogate pair
    except (ValueError, RecursionError) as exc:
        raise CorruptError("manifest_invalid", f"not valid JSON: {exc}", path=path) from exc
    _check_version(raw, path)
    extensions = {key: raw.pop(key) for key in [key for key in raw if key.startswith("x_")]}
    if "extensions" in raw:
        raise CorruptError(
            "manifest_invalid", "unknown key `extensions`; private keys start with `x_`", path=path
        )
    try:
        manifest: Manifest = msgspec.convert(raw, ConvexManifest | FullManifest)
    except (msgspec.ValidationError, ValueError, RecursionError, OverflowError) as exc:
        raise CorruptError("manifest_invalid", str(exc), path=path) from exc
    _check(manifest, path)
    return msgspec.structs.replace(manifest, extensions=extensions) if extensions else manifest


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"key {key!r} appears twice")
        result[key] = value
    return result


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is beyond a float64")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _invalid(message: str, path: object) -> NoReturn:
    raise CorruptError("manifest_inconsistent", message, path=path)


def _check_version(raw: object, path: object) -> None:
    """Refuse what another version wrote, before its unknown keys are complained about."""
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise NotABundleError("not_a_bundle", f"no manifest with `format`: {FORMAT!r}", path=path)
    version = raw.get("version")
    if isinstance(version, dict):
        major, minor = version.get("major"), version.get("minor")
        if type(major) is int and type(minor) is int and (major != MAJOR or minor > MINOR):
            raise NotABundleError(
                "unknown_version",
                f"written in format version {major}.{minor}, this library reads up to"
                f" {MAJOR}.{MINOR}; install a newer trajfmt",
                path=path,
            )
    wanted = raw.get("requires_read")
    if isinstance(wanted, list):
        for feature in wanted:
            if isinstance(feature, str) and feature not in READ_FEATURES:
                raise NotABundleError(
                    "unknown_feature",
                    f"reading needs the feature {feature!r}, which this library does not know;"
                    " install a newer trajfmt",
                    path=path,
                )


def _check(manifest: Manifest, path: object) -> None:
    """Check what types cannot say: references, order, sizes."""
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
    if isinstance(manifest, ConvexManifest):
        for index, convex in enumerate(manifest.trajectories):
            _check_origin(convex.origin, manifest, index, path)
            _check_convex(convex, layout, sizes, index, path)
    else:
        _check_codec(manifest, layout, path)
        for index, full in enumerate(manifest.trajectories):
            _check_origin(full.origin, manifest, index, path)
            _check_full(full, manifest.codec, layout, sizes, index, path)


def _check_origin(origin: Origin | None, manifest: Manifest, index: int, path: object) -> None:
    if origin is not None and origin.file >= len(manifest.provenance.sources):
        _invalid(f"trajectory {index}: origin names source {origin.file}, not listed", path)


def _room(name: str, offset: int, nbytes: int, sizes: dict[str, int], index: int, path: object) -> None:
    """Require that `nbytes` from `offset` lie inside the listed file `name`."""
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
            f"trajectory {index}: knots must rise strictly from 0 to {last}, got {entry.knots}",
            path,
        )
    if not entry.file.endswith(".safetensors") or not entry.table.file.endswith(".h5"):
        _invalid(f"trajectory {index}: knots are in .safetensors and tables in .h5 files", path)
    _room(entry.file, entry.data, len(entry.knots) * layout.nbytes, sizes, index, path)
    row = 8 * layout.num_layers
    _room(entry.table.file, entry.table.u, entry.timesteps * row, sizes, index, path)
    _room(entry.table.file, entry.table.step_norms, last * row, sizes, index, path)
    if entry.table.gram is not None:
        _room(entry.table.file, entry.table.gram, 8 * entry.timesteps**2, sizes, index, path)


def _check_codec(manifest: FullManifest, layout: ParamLayout, path: object) -> None:
    codec = manifest.codec
    needs = [] if codec.name == "none" else [f"codec.{codec.name}"]
    if manifest.requires_read != needs:
        _invalid(f"`requires_read` must be {needs} for codec {codec.name!r}", path)
    if (codec.chunk is None) != (codec.name == "none") or (codec.keyframe is None) != (
        codec.name != "archive"
    ):
        _invalid(f"codec {codec.name!r} has missing or superfluous settings", path)
    if codec.chunk is not None and codec.chunk > layout.size:
        _invalid(f"a chunk has at most P = {layout.size} elements, got {codec.chunk}", path)


def _check_full(
    entry: FullEntry,
    codec: Codec,
    layout: ParamLayout,
    sizes: dict[str, int],
    index: int,
    path: object,
) -> None:
    if not entry.file.endswith(".h5"):
        _invalid(f"trajectory {index}: a full trajectory is in an .h5 file", path)
    if (entry.data is None) == (codec.name == "none") or (entry.chunks is None) == (codec.name != "none"):
        _invalid(f"trajectory {index}: codec `none` has `data`, the others have `chunks`", path)
    if entry.data is not None:
        _room(entry.file, entry.data, entry.timesteps * layout.nbytes, sizes, index, path)
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
            _room(entry.file, offset, length, sizes, index, path)


def check_writable(manifest: Manifest, *, path: object = None) -> None:
    """Require that this library knows every feature that a writer must know.

    Raises:
        NotABundleError: it does not.
    """
    for feature in manifest.requires_write:
        if feature not in WRITE_FEATURES:
            raise NotABundleError(
                "unknown_feature",
                f"appending needs the feature {feature!r}, which this library does not know",
                path=path,
            )

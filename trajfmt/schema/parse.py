"""Decode and check the bytes of a manifest.

This module applies the rules for JSON, versions and features. `consistency` holds the checks across fields.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn

import msgspec

from trajfmt.codecs.table import CODECS
from trajfmt.errors import CorruptError, NotABundleError, UnsafeError
from trajfmt.schema.checksum import KEY, is_checksum, matches
from trajfmt.schema.consistency import MAX_PATH, PATH, check
from trajfmt.schema.manifest import FORMAT, MAJOR, MAX_BYTES, MINOR, ConvexManifest, FullManifest, Manifest
from trajfmt.schema.weight import MAX_MANIFEST_WEIGHT, weight

__all__ = ["MAX_PATH", "PATH", "READ_FEATURES", "WRITE_FEATURES", "check_writable", "parse"]

READ_FEATURES: Final = frozenset(codec.feature for codec in CODECS.values() if codec.feature)
WRITE_FEATURES: Final[frozenset[str]] = frozenset()


def parse(data: bytes, *, path: object = None) -> Manifest:
    """Decode and check a manifest.

    Args:
        data: the bytes of `manifest.json`.
        path: the path that error messages name.

    Raises:
        NotABundleError: the data are no trajfmt manifest, or need a version or feature that this library does
            not know.
        CorruptError: the manifest breaks a rule of the specification.
        UnsafeError: the manifest is too large, a path in it is unsafe, or a size is impossible.
    """
    if len(data) > MAX_BYTES:
        raise UnsafeError(
            "manifest_too_large",
            f"a manifest must have at most {MAX_BYTES} bytes, got {len(data)}",
            path=path,
        )
    if (found := weight(data)) > MAX_MANIFEST_WEIGHT:
        raise UnsafeError(
            "manifest_too_large",
            f"a manifest must have a weight of at most {MAX_MANIFEST_WEIGHT} (commas, quotation marks, and"
            f" four for each list and object), got {found}",
            path=path,
        )
    try:
        raw = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
        if _SURROGATE.search(data):
            json.dumps(raw, ensure_ascii=False).encode()  # fails for half of a surrogate pair
    except (ValueError, RecursionError) as exc:
        raise CorruptError("manifest_invalid", f"not valid JSON: {exc}", path=path) from exc
    _check_version(raw, path)
    _check_checksum(raw, data, path)
    _check_features(raw, path)
    extensions = {key: raw.pop(key) for key in [key for key in raw if key.startswith("x_")]}
    if "extensions" in raw:
        raise CorruptError(
            "manifest_invalid", "unknown key `extensions`; private keys must start with `x_`", path=path
        )
    try:
        manifest: Manifest = msgspec.convert(raw, ConvexManifest | FullManifest)
    except (msgspec.ValidationError, ValueError, RecursionError, OverflowError) as exc:
        raise CorruptError("manifest_invalid", str(exc), path=path) from exc
    check(manifest, path)
    return msgspec.structs.replace(manifest, extensions=extensions) if extensions else manifest


_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
"""An escape of half of a surrogate pair. UTF-8 itself cannot contain one."""


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
        raise ValueError(f"{text} is outside the range of float64")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _check_version(raw: object, path: object) -> None:
    """Refuse other formats and unknown versions.

    This check comes before all others, because a newer manifest may have keys that would be reported instead.
    """
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise NotABundleError("not_a_bundle", f"no manifest with `format`: {FORMAT!r}", path=path)
    version = raw.get("version")
    if isinstance(version, dict):
        major, minor = version.get("major"), version.get("minor")
        if type(major) is int and type(minor) is int and (major != MAJOR or minor > MINOR):
            raise NotABundleError(
                "unknown_version",
                f"written in format version {major}.{minor}, but this library reads versions up to"
                f" {MAJOR}.{MINOR}; install a newer trajfmt",
                path=path,
            )


def _check_checksum(raw: dict[str, Any], data: bytes, path: object) -> None:
    """Remove the checksum from a decoded manifest, and require that it is that of its bytes."""
    value = raw.pop(KEY, None)
    if not isinstance(value, str) or not is_checksum(value):
        raise CorruptError(
            "manifest_invalid",
            f"`{KEY}` must be the 64 digits of the manifest's own checksum, got"
            f" {'nothing' if value is None else repr(str(value)[:80])}; bundles of earlier drafts of the"
            " format must be written again",
            path=path,
        )
    if not matches(data, value):
        raise CorruptError(
            "hash_mismatch",
            f"the manifest differs from its `{KEY}`; it is damaged, or was edited: get it again from where it"
            " came",
            path=path,
        )


def _check_features(raw: dict[str, Any], path: object) -> None:
    """Refuse unknown features that a reader needs."""
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


def check_writable(manifest: Manifest, *, path: object = None) -> None:
    """Require that this library knows every feature in `requires_write`.

    Args:
        manifest: the manifest of a bundle that is to be extended.
        path: the path that error messages name.

    Raises:
        NotABundleError: this library does not know one of the features.
    """
    for feature in manifest.requires_write:
        if feature not in WRITE_FEATURES:
            raise NotABundleError(
                "unknown_feature",
                f"appending needs the feature {feature!r}, which this library does not know;"
                " install a newer trajfmt",
                path=path,
            )

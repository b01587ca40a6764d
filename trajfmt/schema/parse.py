"""Decode and check the bytes of a manifest.

This module applies the rules for JSON, versions and features. `consistency` holds the checks across fields.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn

import msgspec

from trajfmt.codecs.table import CODECS
from trajfmt.errors import CorruptError, NotABundleError, UnsafeError
from trajfmt.schema.consistency import MAX_PATH, PATH, check
from trajfmt.schema.manifest import FORMAT, MAJOR, MAX_BYTES, MINOR, ConvexManifest, FullManifest, Manifest

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
    try:
        raw = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
        json.dumps(raw, ensure_ascii=False).encode()  # fails for half of a surrogate pair
    except (ValueError, RecursionError) as exc:
        raise CorruptError("manifest_invalid", f"not valid JSON: {exc}", path=path) from exc
    _check_version(raw, path)
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
    """Refuse unknown versions and features.

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

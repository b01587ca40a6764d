"""Decode and check the bytes of a manifest.

This module applies the rules for JSON, versions, features and keys, in the order of section 4 of
`spec/v1/spec.md`. `consistency` holds the checks across fields.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trajfmt.errors import CorruptError, NotABundleError, UnsafeError
from trajfmt.schema import features
from trajfmt.schema.canonical import MAX_INTEGER
from trajfmt.schema.checksum import KEY, is_checksum, matches
from trajfmt.schema.consistency import MAX_PATH, PATH, check
from trajfmt.schema.keys import keys_of, sift, unknown
from trajfmt.schema.manifest import (
    FORMAT,
    MAJOR,
    MAX_BYTES,
    MINOR,
    ConvexManifest,
    FullManifest,
    Manifest,
    RefusedEntry,
)
from trajfmt.schema.provenance import Provenance
from trajfmt.schema.text import decode
from trajfmt.schema.weight import MAX_MANIFEST_WEIGHT, weight

__all__ = ["MAX_PATH", "PATH", "WRITE_FEATURES", "check_writable", "parse", "refusal"]

WRITE_FEATURES: Final[frozenset[str]] = frozenset()

_KINDS: Final[dict[str, type[ConvexManifest] | type[FullManifest]]] = {
    "convex": ConvexManifest,
    "full": FullManifest,
}

_TOP_KEYS: Final = frozenset(key for kind in _KINDS.values() for key in keys_of(kind))
"""The keys of both encodings. They are known in every version, also where they do not belong."""


def parse(data: bytes, *, path: object = None) -> Manifest:
    """Decode and check a manifest.

    A trajectory that needs an unknown feature is `refused` in the result, and the others can be read.

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
        raw = decode(data)
    except ValueError as exc:
        raise CorruptError("manifest_invalid", f"not valid JSON: {exc}", path=path) from exc
    _check_version(raw, path)
    _check_checksum(raw, data, path)
    _check_features(raw, path)
    try:
        manifest = _converted(raw)
    except ValueError as exc:
        message = str(exc).replace(" | null", "")  # what optional keys are for msgspec; null is refused
        raise CorruptError("manifest_invalid", message, path=path) from exc
    check(manifest, path)
    return manifest


def _check_version(raw: object, path: object) -> None:
    """Refuse other formats and unknown major versions.

    This check comes before all others, because a newer manifest may have keys that would be reported instead.
    """
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise NotABundleError("not_a_bundle", f"no manifest with `format`: {FORMAT!r}", path=path)
    version = raw.get("version")
    if isinstance(version, dict):
        major, minor = version.get("major"), version.get("minor")
        if _is_count(major) and _is_count(minor) and major != MAJOR:
            raise NotABundleError(
                "unknown_version",
                f"written in format version {major}.{minor}, but this library reads version {MAJOR};"
                " install a newer trajfmt",
                path=path,
            )


def _is_count(value: object) -> bool:
    """Return whether a value is a *count* of the specification, which `true` is not."""
    return type(value) is int and 0 <= value <= MAX_INTEGER


def _check_checksum(raw: dict[str, Any], data: bytes, path: object) -> None:
    """Remove the checksum from a decoded manifest, and require that it is that of its bytes."""
    value = raw.pop(KEY, None)
    if not isinstance(value, str) or not is_checksum(value):
        raise CorruptError(
            "manifest_invalid",
            f"`{KEY}` must be the 64 digits of the manifest's own checksum, got"
            f" {'nothing' if value is None else repr(str(value)[:80])}; a bundle from before version"
            " 1.0 was frozen must be written again",
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
    """Refuse unknown features that a reader of any trajectory needs."""
    if missing := _unknown_features(raw):
        raise NotABundleError(
            "unknown_feature",
            f"reading needs the feature {missing[0]!r}, which this library does not know;"
            " install a newer trajfmt",
            path=path,
        )


def _unknown_features(raw: object) -> list[str]:
    """Return the unknown features that a decoded object lists in its `requires_read`, if it is an object."""
    wanted = raw.get("requires_read") if isinstance(raw, dict) else None
    return features.unknown(wanted) if isinstance(wanted, list) else []


def _converted(raw: dict[str, Any]) -> Manifest:
    """Return a decoded manifest as typed data.

    Raises:
        ValueError: a key, a type or a range is wrong. (Also `msgspec.ValidationError`.)
    """
    encoding, version = raw.get("encoding"), raw.get("version")
    kind = _KINDS.get(encoding) if isinstance(encoding, str) else None
    newer = isinstance(version, dict) and _is_count(version.get("minor")) and version["minor"] > MINOR
    extensions = {key: raw.pop(key) for key in [key for key in raw if key.startswith("x_")]}
    refused, entries = {}, raw.get("trajectories")
    if isinstance(entries, list):
        numbers = [number for number, entry in enumerate(entries) if _unknown_features(entry)]
        refused = {number: msgspec.convert(entries[number], RefusedEntry) for number in numbers}
        raw["trajectories"] = [entry for number, entry in enumerate(entries) if number not in refused]
    provenance = raw.get("provenance")
    if newer and isinstance(provenance, dict):
        raw["provenance"] = {key: value for key, value in provenance.items() if _is_fact(key, value)}
    unread = unknown(raw.get("provenance"), Provenance)
    if kind is not None:
        if foreign := set(raw) & (_TOP_KEYS - keys_of(kind).keys()):
            raise ValueError(f"`{foreign.pop()}` is no key of the encoding `{encoding}`")
        if odd := {"extensions", "refused", "unread"} & set(() if newer else raw):
            raise ValueError(f"unknown key `{odd.pop()}`; private keys must start with `x_`")
        raw = sift(raw, kind, drop=newer, also=frozenset({"encoding"}))
    manifest: Manifest = msgspec.convert(raw, ConvexManifest | FullManifest)
    return msgspec.structs.replace(manifest, extensions=extensions, refused=refused, unread=unread)


def _is_fact(key: str, value: object) -> bool:
    """Return whether this library understands a fact of a later version about the experts."""
    try:
        msgspec.convert(sift({key: value}, Provenance, drop=True), Provenance)
    except ValueError:
        return key == "sources"
    return True


def refusal(number: int, entry: RefusedEntry, *, path: object = None) -> NotABundleError:
    """Return the error for a trajectory that needs a feature which this library does not know.

    Args:
        number: the number of the trajectory.
        entry: its entry in the manifest.
        path: the path that error messages name.
    """
    missing = features.unknown(entry.requires_read)[0]
    return NotABundleError(
        "unknown_feature",
        f"trajectory {number}: reading needs the feature {missing!r}, which this library does not know;"
        " install a newer trajfmt, or use the other trajectories",
        path=path,
    )


def check_writable(manifest: Manifest, *, path: object = None) -> None:
    """Require that this library knows everything in a bundle that it must not lose by writing a manifest.

    Args:
        manifest: the manifest of a bundle that is to be extended.
        path: the path that error messages name.

    Raises:
        NotABundleError: the bundle has a later version, or needs a feature that this library does not know.
    """
    if manifest.version.minor > MINOR:
        raise NotABundleError(
            "unknown_version",
            f"written in format version {MAJOR}.{manifest.version.minor}, but this library appends to bundles"
            f" of versions up to {MAJOR}.{MINOR} only; install a newer trajfmt",
            path=path,
        )
    for number, entry in manifest.refused.items():
        raise refusal(number, entry, path=path)
    for feature in manifest.requires_write:
        if feature not in WRITE_FEATURES:
            raise NotABundleError(
                "unknown_feature",
                f"appending needs the feature {feature!r}, which this library does not know;"
                " install a newer trajfmt",
                path=path,
            )

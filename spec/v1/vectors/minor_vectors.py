"""Vectors of minor versions to come, and of the features by which they announce themselves.

Owns what a reader of version 1.0 makes of version 1.1: new keys, a new feature of one trajectory, and a new
feature of all. The keys and features are invented.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from bundles import Files, convex, seal, walk
from containers import exact
from manifests import HASH, everything, full, narrow, put, sharded
from manifests import convex as convex_manifest
from validation_vectors import rebuilt, untimed

Case = tuple[str, str, dict[str, Any], str]

NEW = {"seen": [1, {"deep": None}]}
"""What a key of version 1.1 may hold."""


def later(manifest: dict[str, Any], minor: int = 1) -> dict[str, Any]:
    """Return a copy of a manifest in a later minor version."""
    return put(manifest, "version.minor", minor)


def enriched(value: Any, name: str = "") -> Any:
    """Return a copy of a manifest with a new key in every object whose keys the format lists."""
    if isinstance(value, list):
        return [enriched(item) for item in value]
    if not isinstance(value, dict) or name.startswith("x_"):
        return value
    copied = {key: enriched(below, key) for key, below in value.items()}
    return copied if name in ("recipe", "known_from") else {**copied, "new_key": NEW}


def foreign(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry that needs a new feature, and has little of what it had."""
    kept = {key: entry[key] for key in ("timesteps", "digest")}
    return {**kept, "requires_read": ["knots.rotated"], "knots": "see `angles`", "angles": {"file": 7}}


def partly() -> dict[str, Any]:
    """Return a manifest whose second trajectory needs a new feature."""
    manifest = convex_manifest()
    return {**manifest, "trajectories": [*manifest["trajectories"], foreign(manifest["trajectories"][0])]}


def valid() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield valid manifests: name, manifest, entries of the index."""
    c = convex_manifest()
    facts = {
        "dataset": ["CIFAR10", "CIFAR100"],
        "model": {"family": "Transformer", "heads": 8},
        "preprocessing": {"kind": "crop"},
        "recipe": {"lr": 0.5},
        "known_from": {"dataset": "oracle"},
    }
    elsewhere = put(put(c, "trajectories.0.chunks", 7), "trajectories.0.table.slopes", [9])
    for name, manifest, why in [
        ("minor-later", later(c), "version 1.1 without anything new"),
        ("minor-largest", later(c, 2**53 - 1), "the largest minor version"),
        ("minor-keys", later(enriched(everything())), "version 1.1: a new key in every object"),
        ("minor-keys-full", later(enriched(full("archive"))), "the same in a full bundle"),
        ("minor-facts", later({**c, "provenance": facts}), "version 1.1: facts of unknown types"),
        ("minor-more-features", later(put(c, "requires_read", ["dtype.F16"])), "a known feature, not in use"),
        ("minor-key-elsewhere", later(elsewhere), "version 1.1: keys of entries of the other encoding"),
    ]:
        yield name, manifest, {"purpose": why}
    why = "version 1.1: the second trajectory needs a new feature, and the first can be read"
    yield "minor-entry", later(partly()), {"purpose": why, "refused": {"1": "unknown_feature"}}
    why = "an unknown feature of one trajectory in version 1.0: it alone is refused"
    yield "entry-feature-unknown", partly(), {"purpose": why, "refused": {"1": "unknown_feature"}}
    about = {**everything()["provenance"], "lab": {"room": None}}
    about["model"] = {**about["model"], "heads": 8}
    about["sources"] = [{**about["sources"][0], "url": "https://example.org"}]
    opened = {**everything(), "provenance": about}
    yield "provenance-open", opened, {"purpose": "unknown keys in provenance and model", "canonical": True}


def invalid() -> Iterator[Case]:
    """Yield invalid manifests: name, reason, manifest, purpose."""
    c, e, s, h = convex_manifest(), everything(), sharded(), narrow("F16")
    bad, odd, new, t = "manifest_invalid", "manifest_inconsistent", "unknown_feature", "trajectories.0"
    late = later({**c, "provenance": {"dataset": None}, "requires_read": ["weights.rotated"]})
    yield "minor-feature", new, late, "version 1.1: a new feature of all trajectories"
    yield "minor-null", bad, later(put(c, f"{t}.origin", None)), "version 1.1: a known key is null"
    yield "minor-type", bad, later(put(c, f"{t}.knots", "all")), "version 1.1: a known key of another type"
    yield "minor-provenance", bad, later({**c, "provenance": []}), "version 1.1: the provenance is a list"
    why = "version 1.1: a feature in use that is not listed"
    yield "minor-undeclared", odd, later(put(e, f"{t}.requires_read", [])), why
    lists = [
        ("order", ["table.free", "buffers"], "features in another order"),
        ("twice", ["buffers", "buffers", "table.free"], "a feature twice"),
        ("top", ["buffers", "codec.zstd", "table.free"], "a feature of the top level in an entry"),
    ]
    for name, features, why in lists:
        changed = later(put(e, f"{t}.requires_read", features))
        yield f"minor-features-{name}", odd, changed, f"version 1.1: {why}"
    for name, features, why in [
        ("order", ["dtype.F16", "codec.zstd"], "features of the top level in another order"),
        ("twice", ["codec.zstd", "codec.zstd"], "a feature of the top level twice"),
        ("entry", ["buffers"], "a feature of an entry at the top level"),
    ]:
        yield f"minor-top-{name}", odd, later(put(c, "requires_read", features)), f"version 1.1: {why}"
    for name, major in (("negative", -7), ("beyond", 2**60)):
        why = f"version {major}.1: no version has this number"
        yield f"minor-major-{name}", bad, later(put(c, "version.major", major)), why
    why = "version 1.1: a source without a name"
    yield "minor-source", bad, later(put(e, "provenance.sources", [{"bytes": 1, "sha256": HASH}])), why
    yield (
        "minor-sources",
        bad,
        later(put(e, "provenance.sources", 7)),
        "version 1.1: sources that are a number",
    )
    yield (
        "minor-codec",
        bad,
        later({**c, "codec": {"name": "none"}}),
        "version 1.1: a codec in a convex bundle",
    )
    smooth = later({**full("none"), "smoothed": True})
    yield "minor-smoothed", bad, smooth, "version 1.1: `smoothed` in a full bundle"
    yield "minor-negative", bad, later(c, -1), "a negative minor version"
    yield "minor-text", bad, later(c, "1"), "a minor version that is a string"  # type: ignore[arg-type]
    yield "feature-empty", new, put(c, "requires_read", [""]), "a feature without a name is not known"
    yield "feature-number", bad, put(c, "requires_read", [7]), "a feature that is a number"
    yield "feature-list", bad, put(c, "requires_read", [["codec.zstd"]]), "a feature that is a list"
    why = "a feature without a name in an entry: no text"
    yield "entry-feature-empty", bad, put(c, f"{t}.requires_read", [""]), why
    why = "the features of an entry are no list"
    yield "entry-feature-text", bad, put(c, f"{t}.requires_read", "buffers"), why
    for key in ("digest", "timesteps"):
        manifest = copy.deepcopy(partly())
        del manifest["trajectories"][1][key]
        yield f"entry-feature-no-{key}", bad, manifest, f"an entry that is refused has `{key}` too"
    yield "buffers-undeclared", odd, put(e, f"{t}.requires_read", ["table.free"]), "buffers, not declared"
    yield "free-undeclared", odd, put(e, f"{t}.requires_read", ["buffers"]), "a free table, not declared"
    yield "shards-undeclared", odd, put(s, f"{t}.requires_read", []), "shards, not declared"
    yield "dtype-undeclared", odd, put(h, "requires_read", []), "16-bit floats, not declared"
    yield "dtype-unused", odd, put(c, "requires_read", ["dtype.F16"]), "16-bit floats that are not there"
    yield "entry-feature-unused", odd, put(c, f"{t}.requires_read", ["buffers"]), "buffers that are not there"
    order = ["table.free", "buffers"]
    yield "entry-feature-order", odd, put(e, f"{t}.requires_read", order), "features in another order"
    twice = ["buffers", "buffers", "table.free"]
    yield "entry-feature-twice", odd, put(e, f"{t}.requires_read", twice), "a feature twice"
    top = put(put(e, f"{t}.requires_read", ["table.free"]), "requires_read", ["buffers"])
    yield "entry-feature-on-top", odd, top, "a feature of an entry at the top level"


def bundles() -> Iterator[tuple[str, Files, dict[str, Any]]]:
    """Yield bundles of version 1.1: name, files, entries of the index."""
    params = [("w", [3]), ("v", [2])]
    seen = {"theta": walk(21, 4, params, {}, "F32"), "knots": [0, 3]}
    unseen = {"theta": walk(22, 3, params, {}, "F32"), "knots": [0, 2]}
    files = convex([seen, unseen], params=params)
    keys = rewritten(files, lambda manifest: later(enriched(manifest)))
    yield (
        "bundle-minor-keys.mct",
        keys,
        {"purpose": "version 1.1: a new key in every object"},
    )

    def one(manifest: dict[str, Any]) -> dict[str, Any]:
        first, second = manifest["trajectories"]
        return later({**manifest, "trajectories": [first, foreign(second)]})

    expected = json.loads(files["expected.json"])
    expected["trajectories"][1] = None
    part = {**rewritten(files, one), "expected.json": exact(expected)}
    why = "version 1.1: one trajectory needs a new feature, and the other is read"
    yield "bundle-minor-entry.mct", part, {"purpose": why, "refused": {"1": "unknown_feature"}}
    yield shared_table()
    top = rewritten(files, lambda manifest: later(put(manifest, "requires_read", ["weights.rotated"])))
    del top["expected.json"]
    why = "version 1.1: every trajectory needs a new feature"
    yield "bundle-minor-feature.mct", top, {"purpose": why, "reason": "unknown_feature", "stage": "open"}


def shared_table() -> tuple[str, Files, dict[str, Any]]:
    """Return a bundle in which the file of tables has a group of a trajectory that is refused."""
    params = [("w", [3])]
    plain = convex([{"theta": walk(5, 3, params, {}, "F32"), "knots": [0, 2]}], params=params)

    def two(manifest: dict[str, Any]) -> dict[str, Any]:
        entries = manifest["trajectories"]
        return later({**manifest, "trajectories": [*entries, foreign(entries[0])]})

    files = {**rebuilt(plain, lambda file: untimed(file, "00001")), "expected.json": plain["expected.json"]}
    expected = json.loads(plain["expected.json"])
    expected["trajectories"].append(None)
    about = {
        "purpose": "version 1.1: tables of a trajectory that is refused",
        "refused": {"1": "unknown_feature"},
    }
    return "bundle-minor-tables.mct", {**rewritten(files, two), "expected.json": exact(expected)}, about


def rewritten(files: Files, change: Any) -> Files:
    """Return a bundle with another manifest, sealed anew."""
    manifest = change(json.loads(files["manifest.json"]))
    data = {
        name: content for name, content in files.items() if name not in ("manifest.json", "expected.json")
    }
    return {**seal(manifest, data), "expected.json": files["expected.json"]}

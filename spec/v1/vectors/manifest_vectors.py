"""Manifest vectors: single JSON files that concern structure, versions, paths and sizes.

Owns every way in which the smallest manifests are broken here.
A manifest vector comes without the files it lists: their sizes and hashes are made up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import manifest_facts
import minor_vectors
from containers import sealed
from manifest_entries import carried, digests, shards
from manifest_limits import allowed, checksums, limits, overlaps
from manifests import (
    HASH,
    convex,
    everything,
    full,
    in_pieces,
    narrow,
    nested,
    put,
    respelled,
    sharded,
    text,
    without,
    without_norms,
)

Vector = tuple[str, bytes, dict[str, Any]]
"""Name, text, and the entries of the index: `purpose`, and `reason` or `canonical`."""


def valid() -> Iterator[Vector]:
    """Yield the valid manifests."""
    c, p = convex(), "parameters.0"
    scalar = put(put(c, f"{p}.shape", []), "layers.0.name", "ein Skalar: π, 名前, \U0001f600")
    empty = [{"name": "none", "shape": [0, 4], "dtype": "F32"}, *c["parameters"]]
    zero = put(put(c, "parameters", empty), "layers.0.parameters", [0, 1])
    limits = put(put(c, f"{p}.shape", [1, 1, 1, 1, 1, 1, 1, 3]), f"{p}.name", "n" * 1024)
    long = "a" * 188 + ".safetensors"
    longest = put(put(c, "files.0.path", long), "trajectories.0.file", long)
    control = put(c, f"{p}.name", 'escape\u001b[31m\n"\\/')
    for name, manifest, why in [
        ("minimal-convex", c, "the smallest convex manifest"),
        ("minimal-full-none", full("none"), "the smallest full manifest, codec none"),
        (
            "minimal-full-zstd",
            full("zstd"),
            "the smallest full manifest, codec zstd; the last chunk is padded",
        ),
        ("minimal-full-archive", full("archive"), "the smallest full manifest, codec archive"),
        ("every-key", everything(), "every optional key of the convex encoding"),
        ("minimal-full-f16", narrow("F16"), "16-bit floats"),
        ("minimal-full-bf16", narrow("BF16"), "16-bit floats with the exponent of 32-bit ones"),
        ("sharded", sharded(), "knots in two files, cut between the knots, and an index"),
        ("pieces-convex", in_pieces(), "digests of pieces, convex"),
        ("pieces-none", in_pieces("none"), "digests of pieces, codec none"),
        ("pieces-zstd", in_pieces("zstd"), "digests of pieces, one for each chunk"),
        ("pieces-largest", put(in_pieces(), "trajectories.0.pieces.size", 2**23), "the largest pieces"),
        ("no-step-norms", without_norms(c), "step norms that are not known"),
        ("numbers", put(full("none"), "trajectories.0.numbers", [5, 9]), "numbers of a full trajectory"),
        ("private-keys", {**c, "x_": 1, "x_y": nested(60)}, "private keys hold any JSON, 62 levels deep"),
        ("writer-feature", put(c, "requires_write", ["other"]), "an unknown feature that only writers need"),
        ("no-trajectories", put(c, "trajectories", []), "no trajectory; files that nothing refers to"),
        ("scalar-and-unicode", scalar, "a parameter without dimensions; names beyond ASCII"),
        ("control-characters", control, "a name with control characters: legal, escaped when printed"),
        ("empty-parameter", zero, "a parameter without elements beside one that has some"),
        ("limits", limits, "8 dimensions, a name of 1,024 characters"),
        ("longest-path", longest, "a path of 200 characters"),
        *allowed(),
    ]:
        yield name, text(manifest), {"purpose": why, "canonical": True}

    for name, manifest, about in (*minor_vectors.valid(), *manifest_facts.valid()):
        yield name, text(manifest), about
    yield from manifest_facts.spelled()
    why = "spaces, line ends and another order of keys: legal to read, not what a writer writes"
    spaces = sealed(c, lambda value: json.dumps(value, indent=1).encode())
    yield "spaces.json", spaces, {"purpose": why, "canonical": False}
    why = "a key and a value spelled with escapes"
    escaped = respelled(c, b'"format":"trajfmt"', b'"\\u0066ormat":"traj\\u0066mt"')
    yield "escapes.json", escaped, {"purpose": why, "canonical": False}
    why = "an optional key with its default: the same as its absence"
    defaults = put({**c, "smoothed": False}, "provenance", {"sources": [], "known_from": {}})
    yield "defaults.json", text(defaults), {"purpose": why, "canonical": False}
    number = put(c, "provenance", {"preprocessing": {"kind": "zca", "eps": 1}})
    why = "a number that is no integer by its type, without a fraction"
    yield "whole-number.json", text(number), {"purpose": why, "canonical": True}
    fraction = respelled(number, b'"eps":1', b'"eps":1.0')
    why = "the same number with a fraction, as canonical JSON has none"
    yield "whole-number-fraction.json", fraction, {"purpose": why, "canonical": False}


def invalid() -> Iterator[Vector]:
    """Yield the invalid manifests."""
    broken = (broken_json, versions, structure, paths, references, sizes, codecs, shards, carried, digests)
    facts = (manifest_facts.models, manifest_facts.facts, manifest_facts.limits, manifest_facts.order)
    broken = (*broken, minor_vectors.invalid, *facts)
    for group in (*broken, checksums, limits, overlaps):
        for name, reason, data, why in group():
            yield name, data if isinstance(data, bytes) else text(data), {"reason": reason, "purpose": why}


Case = tuple[str, str, "bytes | dict[str, Any]", str]


def broken_json() -> Iterator[Case]:
    """Yield text that is not the JSON of this format."""
    good, bad = text(full("none")), "manifest_invalid"
    half = good.rstrip()[:-1]
    deep = good.replace(
        b'"provenance":{}', b'"provenance":{"recipe":{"a":' + b"[" * 1500 + b"]" * 1500 + b"}}"
    )
    yield "empty", bad, b"", "no text"
    yield "truncated", bad, half, "text that ends early"
    yield "trailing-text", bad, good + b"{}", "text after the object"
    yield "byte-order-mark", bad, b"\xef\xbb\xbf" + good, "a byte order mark"
    yield "not-utf8", bad, good.replace(b"spec", b"sp\xe9c"), "a byte that is not UTF-8"
    yield "lone-surrogate", bad, good.replace(b"spec", b"\\ud800"), "a string that is not Unicode"
    yield "control-raw", bad, good.replace(b"spec", b"sp\nec"), "a raw line end in a string"
    yield "nan", bad, half + b',"x_a":NaN}', "NaN"
    yield "infinity", bad, half + b',"x_a":-Infinity}', "-Infinity"
    yield "number-overflow", bad, half + b',"x_a":1e999}', "a number beyond float64"
    yield "duplicate-key", bad, half + b',"encoding":"full"}', "a key that appears twice"
    yield "duplicate-key-escaped", bad, half + b',"f\\u0069les":[]}', "a key twice, once with an escape"
    yield "duplicate-key-private", bad, half + b',"x_a":{"b":1,"b":1}}', "a key twice under a private one"
    yield "nested-open", bad, half + b',"x_a":' + b"[" * 5000, "5,000 levels that do not close"
    yield "nested-deep", bad, deep, "1,500 levels in a place for plain values"
    yield "digits", bad, half + b',"x_a":' + b"9" * 4500 + b"}", "an integer of 4,500 digits"
    large = good.replace(b'"provenance":{}', b'"provenance":{"recipe":{"a":1' + b"0" * 309 + b"}}")
    yield "integer-overflow", bad, large, "an integer beyond float64 where any number is allowed"
    yield "top-level-list", "not_a_bundle", b"[]\n", "JSON that is no object"


def versions() -> Iterator[Case]:
    """Yield other formats, versions and features."""
    c, z, new = full("none"), full("zstd"), "unknown_version"
    feature = put(c, "requires_read", ["other"])
    yield "format-absent", "not_a_bundle", without(c, "format"), "JSON of something else"
    yield "format-other", "not_a_bundle", {**c, "format": "Trajfmt"}, "another spelling is another format"
    yield "version-major", new, put(c, "version.major", 2), "a later major version"
    yield "version-zero", new, put(c, "version.major", 0), "an earlier major version"
    yield "version-first", new, put({**c, "what": 1}, "version.major", 2), "version goes before unknown keys"
    yield "version-then-feature", new, put(feature, "version.major", 2), "version goes before features"
    yield "feature-read", "unknown_feature", feature, "an unknown feature that a reader needs"
    yield "feature-first", "unknown_feature", {**feature, "what": 1}, "features go before unknown keys"
    yield "version-absent", "manifest_invalid", without(c, "version"), "no version"
    yield "version-text", "manifest_invalid", {**c, "version": "1.0"}, "a version that is a string"
    yield (
        "version-major-text",
        "manifest_invalid",
        put(c, "version.major", "1"),
        "a major version as text",
    )
    odd = put(put(c, "version.major", 2), "version.minor", "0")
    yield "version-minor-text", "manifest_invalid", odd, "another major version, and a minor that is a string"
    fraction = respelled(c, b'"major":1', b'"major":1.0')
    yield "version-fraction", "manifest_invalid", fraction, "1.0 is not an integer"
    yield "feature-undeclared", "manifest_inconsistent", put(z, "requires_read", []), "zstd, not declared"
    wrong = put(c, "requires_read", ["codec.zstd"])
    yield "feature-unused", "manifest_inconsistent", wrong, "a feature that codec none does not use"


def structure() -> Iterator[Case]:
    """Yield wrong keys, types and ranges."""
    c, k, bad, odd = full("none"), convex(), "manifest_invalid", "manifest_inconsistent"
    f, p, t = "files.0", "parameters.0", "trajectories.0"
    yield "key-unknown", bad, {**c, "what": 1}, "an unknown key"
    yield "key-extensions", bad, {**c, "extensions": {}}, "no key is special but `x_*`"
    yield "key-upper-case", bad, {**c, "X_a": 1}, "private keys begin with a small x"
    yield "key-private-below", bad, put(c, f"{f}.x_a", 1), "private keys exist at the top level only"
    yield "key-of-other-encoding", bad, {**c, "smoothed": True}, "`smoothed` in a full bundle"
    yield "key-absent", bad, without(c, "files"), "a required key is absent"
    yield "encoding-unknown", bad, {**c, "encoding": "sparse"}, "an unknown encoding"
    yield "path-number", bad, put(c, f"{f}.path", 7), "a path that is a number"
    yield "table-file-number", bad, put(k, f"{t}.table.file", 7), "a file of tables that is a number"
    yield "entry-text", bad, {**c, "trajectories": ["theta"]}, "an entry that is a text"
    yield "integer-as-text", bad, put(c, f"{f}.bytes", "630"), "an integer as a string"
    fraction = respelled(c, b'"bytes":630', b'"bytes":630.0')
    yield "integer-as-fraction", bad, fraction, "an integer with a fraction"
    exponent = respelled(c, b'"bytes":630', b'"bytes":63e1')
    yield "integer-as-exponent", bad, exponent, "an integer with an exponent"
    minus = respelled(c, b'"parameters":[0]', b'"parameters":[-0]')
    yield "integer-minus-zero", bad, minus, "-0 is no integer"
    yield "integer-as-boolean", bad, put(c, f"{t}.data", True), "a boolean for an integer"
    yield "integer-negative", bad, put(c, f"{t}.data", -1), "a negative offset"
    yield "integer-above-53-bits", bad, put(c, f"{f}.bytes", 2**53), "an integer above 2**53 - 1"
    yield "integer-above-64-bits", bad, put(c, f"{f}.bytes", 2**64 + 630), "630 after a wrap at 64 bits"
    yield "hash-upper-case", bad, put(c, f"{f}.sha256", HASH.upper()), "a hash in upper case"
    yield "hash-short", bad, put(c, f"{f}.sha256", HASH[1:]), "a hash of 63 digits"
    yield "hash-line-end", bad, put(c, f"{f}.sha256", HASH + "\n"), "a hash and a line end"
    yield "parameters-none", bad, put(c, "parameters", []), "no parameter"
    yield "name-empty", bad, put(c, f"{p}.name", ""), "an empty name"
    yield "name-long", bad, put(c, f"{p}.name", "n" * 1025), "a name of 1,025 characters"
    yield "dimensions-nine", bad, put(c, f"{p}.shape", [1] * 8 + [3]), "nine dimensions"
    yield "dimension-negative", bad, put(c, f"{p}.shape", [-3]), "a negative dimension"
    yield "dtype-unknown", bad, put(c, f"{p}.dtype", "I32"), "an unknown element type"
    yield "elements-none", odd, put(c, f"{p}.shape", [0]), "no elements at all"
    yield "timesteps-one", bad, put(c, f"{t}.timesteps", 1), "a single timestep"
    yield "knots-one", bad, put(k, f"{t}.knots", [0]), "a single knot"
    yield "recipe-nested", bad, put(c, "provenance", {"recipe": {"a": {}}}), "a recipe holds plain values"
    yield "null-required", bad, put(c, f"{t}.digest", None), "null where a key is required"
    for name, manifest in (
        ("null-origin", put(k, f"{t}.origin", None)),
        ("null-gram", put(k, f"{t}.table.gram", None)),
        ("null-dataset", put(k, "provenance", {"dataset": None})),
    ):
        yield name, bad, manifest, "null where a key is optional: it must be absent"
    yield "null-default", bad, {**k, "smoothed": None}, "null where a key has a default"
    twice = [*c["parameters"], *c["parameters"]]
    layers = put(c, "layers.0.parameters", [0, 1])
    yield "names-equal", odd, put(layers, "parameters", twice), "two parameters of one name"
    yield "name-metadata", odd, put(c, f"{p}.name", "__metadata__"), "a name that safetensors reserves"
    mixed = [*c["parameters"], {"name": "v", "shape": [1], "dtype": "F16"}]
    yield "dtypes-mixed", odd, put(layers, "parameters", mixed), "two element types"
    yield "layers-incomplete", odd, put(c, "parameters", [mixed[0], {**mixed[0], "name": "v"}]), "no layer"
    yield "layers-overlap", odd, put(c, "layers", c["layers"] * 2), "a parameter in two layers"
    yield "layers-beyond", odd, put(c, "layers.0.parameters", [0, 1]), "a parameter that does not exist"
    yield "layers-empty", bad, put(c, "layers.0.parameters", []), "a layer without parameters"


def paths() -> Iterator[Case]:
    """Yield file paths that a reader must not follow."""
    for name, path, why in [
        ("parent", "../00000.h5", "the parent folder"),
        ("parent-inside", "theta/../theta/00000.h5", "the parent folder inside a path"),
        ("absolute", "/theta/00000.h5", "an absolute path"),
        ("drive", "c:theta.h5", "a drive letter"),
        ("backslash", "theta\\00000.h5", "a backslash"),
        ("upper-case", "theta/A.h5", "upper case, which some file systems do not tell apart"),
        ("nul", "theta/0\0.h5", "a NUL character"),
        ("extension", "theta/00000.pt", "an extension of pickles"),
        ("no-extension", "theta/00000", "no extension"),
        ("two-extensions", "theta/00000.tar.h5", "a dot inside a name"),
        ("hidden", ".theta/00000.h5", "a hidden folder"),
        ("current", "./theta/00000.h5", "the same file, spelled otherwise"),
        ("double-slash", "theta//00000.h5", "an empty name"),
        ("empty", "", "no path"),
        ("space", "theta/0 0.h5", "a space"),
        ("line-end", "theta/00000.h5\n", "a line end"),
        ("unicode", "theta/ä.h5", "a letter with two encodings"),
        ("dash", "theta/-0.h5", "a name that looks like an option"),
        ("long", "a" * 198 + ".h5", "201 characters"),
    ]:
        bad = put(put(full("none"), "files.0.path", path), "trajectories.0.file", path)
        yield f"path-{name}", "path_unsafe", bad, why


def references() -> Iterator[Case]:
    """Yield trajectories that do not fit together with the rest."""
    c, n, odd, t = convex(), full("none"), "manifest_inconsistent", "trajectories.0"
    yield "file-twice", odd, put(c, "files", c["files"] * 2), "a file that is listed twice"
    yield "file-unlisted", odd, put(c, f"{t}.file", "knots/1.safetensors"), "knots in a file not listed"
    yield "table-unlisted", odd, put(c, f"{t}.table.file", "tables/1.h5"), "tables in a file not listed"
    yield "knots-in-h5", odd, put(c, f"{t}.file", "tables/00000.h5"), "knots in an HDF5 file"
    other = put(c, f"{t}.table.file", "knots/00000.safetensors")
    yield "tables-in-safetensors", odd, other, "tables in a safetensors file"
    other = put(put(n, "files.0.path", "a.safetensors"), f"{t}.file", "a.safetensors")
    yield "theta-in-safetensors", odd, other, "a full trajectory in a safetensors file"
    for name, knots, why in [
        ("equal", [0, 0, 2], "a knot that appears twice"),
        ("falling", [0, 3, 1, 2], "knots that fall"),
        ("start", [1, 2], "knots that do not begin at 0"),
        ("end", [0, 1], "knots that end before T"),
        ("beyond", [0, 2, 3], "a knot after T"),
    ]:
        yield f"knots-{name}", odd, put(c, f"{t}.knots", knots), why
    yield "origin-beyond", odd, put(c, f"{t}.origin", {"file": 0, "trajectory": 0}), "a source not listed"


def sizes() -> Iterator[Case]:
    """Yield sizes and offsets that cannot be."""
    c, n, z, t, shape = convex(), full("none"), full("zstd"), "trajectories.0", "parameters.0.shape"
    big = "size_overflow"
    hollow = put(put(z, f"{t}.chunks.sizes.1", 0), f"{t}.chunks.offsets.1", 631)
    yield "chunk-hollow-beyond-file", big, hollow, "a chunk without bytes that is not within the file"
    yield "shape-wraps-to-zero", big, put(c, shape, [2**32, 2**32]), "0 elements after a wrap at 64 bits"
    yield "shape-wraps-to-three", big, put(c, shape, [3, 2**33, 2**31 + 1]), "few after a wrap at 64 bits"
    yield "shape-huge", big, put(c, shape, [2**53 - 1] * 8), "more than 2**53 bytes"
    yield "shape-beyond-file", big, put(c, shape, [4]), "knots that end after the file"
    yield "timesteps-beyond-file", big, put(n, f"{t}.timesteps", 3), "timesteps that end after the file"
    yield "data-beyond-file", big, put(c, f"{t}.data", 193), "knots that end one byte after the file"
    yield "theta-beyond-file", big, put(n, f"{t}.data", 607), "weights that end one byte after the file"
    yield "u-beyond-file", big, put(c, f"{t}.table.u", 977), "a table that ends one byte after the file"
    yield "norms-beyond-file", big, put(c, f"{t}.table.step_norms", 985), "step norms, likewise"
    yield "gram-beyond-file", big, put(c, f"{t}.table.gram", 929), "a Gram matrix, likewise"
    yield "chunk-beyond-file", big, put(z, f"{t}.chunks.offsets.3", 609), "a chunk, likewise"
    yield (
        "chunk-size-beyond-file",
        big,
        put(z, f"{t}.chunks.sizes.0", 2**53 - 1),
        "2**53 - 1 bytes",
    )


def codecs() -> Iterator[Case]:
    """Yield codecs and chunk tables that do not fit."""
    n, z, a, odd, bad = (
        full("none"),
        full("zstd"),
        full("archive"),
        "manifest_inconsistent",
        "manifest_invalid",
    )
    c, t = "codec", "trajectories.0"
    yield "codec-unknown", bad, put(z, f"{c}.name", "lzma"), "an unknown codec"
    yield "codec-none-chunk", odd, put(n, f"{c}.chunk", 2), "codec none with chunks"
    yield "codec-zstd-no-chunk", odd, put(z, c, {"name": "zstd"}), "codec zstd without chunks"
    yield "codec-zstd-keyframe", odd, put(z, f"{c}.keyframe", 2), "codec zstd with keyframes"
    yield "codec-archive-no-keyframe", odd, put(a, c, {"name": "archive", "chunk": 2}), "without keyframes"
    yield "codec-chunk-zero", bad, put(z, f"{c}.chunk", 0), "chunks of no elements"
    pair = {"offsets": [512, 544], "sizes": [21, 21]}
    huge = put(put(z, f"{c}.chunk", 2**20 + 1), f"{t}.chunks", pair)
    huge = put(huge, "parameters.0.shape", [2**20 + 1])
    yield "codec-chunk-huge", bad, huge, "chunks of more than 2**20 elements"
    wide = put(put(z, f"{c}.chunk", 4), f"{t}.chunks", pair)
    yield "codec-chunk-wide", odd, wide, "chunks of more elements than a timestep has"
    yield "codec-keyframe-zero", bad, put(a, f"{c}.keyframe", 0), "a keyframe every 0 timesteps"
    yield "chunks-too-few", odd, put(z, f"{t}.chunks", {"offsets": [512], "sizes": [21]}), "too few chunks"
    yield "chunks-uneven", odd, put(z, f"{t}.chunks.sizes", [21, 21, 21]), "fewer sizes than offsets"
    slopes, first = f"{t}.chunks.slopes", f"{t}.chunks.slopes.0"
    yield (
        "slopes-absent",
        odd,
        put(a, f"{t}.chunks", z["trajectories"][0]["chunks"]),
        "archive without slopes",
    )
    yield "slopes-for-zstd", odd, put(z, slopes, [0, 0, 0, 0]), "codec zstd predicts nothing"
    yield "slopes-uneven", odd, put(a, slopes, [0, 0, 0]), "fewer slopes than chunks"
    yield "slopes-above", bad, put(a, first, 5), "a slope above 4"
    yield "slopes-below", bad, put(a, first, -2), "a slope below -1"
    yield "slopes-fraction", bad, put(a, first, 0.5), "a slope that is no integer"
    yield "chunks-for-none", odd, put(n, f"{t}.chunks", {"offsets": [], "sizes": []}), "codec none has none"
    yield "data-for-zstd", odd, put(z, f"{t}.data", 512), "codec zstd is not contiguous"
    place = {key: value for key, value in n["trajectories"][0].items() if key != "data"}
    yield "data-absent", odd, put(n, t, place), "codec none without its offset"

"""Manifest vectors of models, names, numbers and the order of checks.

Owns what section 3.7 says of a network, texts and keys at their limits, the spelling of canonical JSON, and
manifests with two flaws, of which one must be reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from manifests import convex, full, nested, put, respelled, text

Case = tuple[str, str, "bytes | dict[str, Any]", str]

CONVNET = {"family": "ConvNet", "depth": 3, "width": 128, "channels": 3, "classes": 10}
VGG = {"family": "VGG11", "channels": 3, "classes": 10}
OTHER = {"family": "other", "channels": 3, "classes": 10}


def about(**facts: object) -> dict[str, Any]:
    """Return the smallest manifest with a provenance."""
    return put(convex(), "provenance", facts)


def models() -> Iterator[Case]:
    """Yield models that a family does not have."""
    for name, model, why in [
        ("no-depth", {**VGG, "family": "ConvNet", "width": 128}, "a ConvNet without a depth"),
        ("no-width", {**VGG, "family": "ConvNet", "depth": 3}, "a ConvNet without a width"),
        ("depth", {**VGG, "depth": 11}, "a depth of a family that has none"),
        ("other-width", {**OTHER, "width": 7}, "a width of another network"),
        ("family", {**VGG, "family": "VGG16"}, "an unknown family"),
        ("channels-zero", {**VGG, "channels": 0}, "images without channels"),
        ("no-classes", {"family": "VGG11", "channels": 3}, "a network without classes"),
        ("norm", {**VGG, "norm": "weight"}, "an unknown normalisation"),
        ("pooling", {**CONVNET, "pooling": "sum"}, "an unknown pooling"),
        ("factory-known", {**VGG, "factory": "nets:make"}, "a factory of a family that needs none"),
        ("factory-bare", {**OTHER, "factory": "make"}, "a factory without a module"),
        ("factory-path", {**OTHER, "factory": "lab/nets.py:make"}, "a factory that is a path"),
        ("factory-line-end", {**OTHER, "factory": "nets:make\n"}, "a factory and a line end"),
        ("factory-long", {**OTHER, "factory": "a" * 199 + ":b"}, "a factory of 201 characters"),
    ]:
        yield f"model-{name}", "manifest_invalid", about(model=model), why


def facts() -> Iterator[Case]:
    """Yield facts of a wrong type."""
    for name, about_experts, why in [
        ("eps-text", {"preprocessing": {"kind": "zca", "eps": "0.1"}}, "a text for a number"),
        ("eps-boolean", {"preprocessing": {"kind": "zca", "eps": True}}, "a boolean for a number"),
        ("mean-number", {"preprocessing": {"kind": "normalize", "mean": 0.5}}, "a number for a list"),
        ("mean-text", {"preprocessing": {"kind": "normalize", "mean": [0.5, "0.5"]}}, "a text among numbers"),
        ("std-null", {"preprocessing": {"kind": "normalize", "std": [None]}}, "null among numbers"),
        ("preprocessing-text", {"preprocessing": "zca"}, "a preprocessing that is a text"),
        ("recipe-list", {"recipe": [["lr", 0.5]]}, "a recipe that is a list"),
        ("recipe-text", {"recipe": "lr 0.5"}, "a recipe that is a text"),
        ("known-from-list", {"known_from": ["path"]}, "a list of where facts come from"),
        ("known-from-text", {"known_from": "path"}, "a text of where facts come from"),
        ("known-from-null", {"known_from": {"dataset": None}}, "a fact from null"),
        ("sources-object", {"sources": {}}, "sources that are an object"),
    ]:
        yield f"fact-{name}", "manifest_invalid", about(**about_experts), why


def valid() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield valid manifests: name, manifest, entries of the index."""
    p = "parameters.0"
    odd = {"__proto__": 1, "constructor": "a", "toString": None, "": True}
    named = put(about(recipe=odd, known_from={"__proto__": "file"}), f"{p}.name", "__proto__")
    named = {**named, "x___proto__": {"__proto__": {"constructor": [1]}, "hasOwnProperty": 0}}
    named["layers"][0]["name"] = "constructor"
    numbers = [1e21, 1e-7, 0.000001, 123456789012345680000.0, 5e-324, -1.5, 1.7976931348623157e308, 1e23]
    keys = {"\U0001f600": 1, "\ufb33": 2, "\u20ac": 3, "1": 4, "\r": 5, "a\u0301": 6, "\xe1": 7}
    empty = [{"name": "none", "shape": [0, 2**49], "dtype": "F32"}, *convex()["parameters"]]
    huge = put(put(convex(), "parameters", empty), "layers.0.parameters", [0, 1])
    twins = convex()
    twins["files"].insert(1, {**twins["files"][0], "path": "knots/00001.safetensors"})
    twins["files"][2]["bytes"] = 2000
    table = {"file": "tables/00000.h5", "u": 1960, "step_norms": 1984}
    second = {**twins["trajectories"][0], "file": "knots/00001.safetensors", "table": table}
    twins["trajectories"].append(second)
    for name, manifest, why in [
        ("model-convnet", about(model={**CONVNET, "norm": "layer", "pooling": "none"}), "a ConvNet"),
        ("model-resnet", about(model={**VGG, "family": "ResNet18AP", "image_size": 32}), "a ResNet"),
        ("model-other", about(model=OTHER), "another network, of which nothing is known"),
        ("model-factory", about(model={**OTHER, "factory": "a" * 198 + ":b"}), "a factory of 200 characters"),
        ("keys-of-prototypes", named, "keys and names that objects of JavaScript have by themselves"),
        (
            "keys-beyond-bmp",
            about(recipe=keys),
            "keys in the order of UTF-16 code units",
        ),
        ("numbers-spelled", {**convex(), "x_n": numbers}, "numbers as JavaScript prints them"),
        (
            "name-beyond-bmp",
            put(convex(), f"{p}.name", "\U0001f600" * 1024),
            "1,024 code points of two units",
        ),
        ("levels-most", {**convex(), "x_a": nested(63)}, "64 levels: an object and 63 lists"),
        ("empty-parameter-huge", huge, "a parameter without elements, with a dimension of 2^49"),
        ("digests-equal", twins, "two trajectories of one digest, which no writer adds"),
    ]:
        yield name, manifest, {"purpose": why, "canonical": True}


def spelled() -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Yield valid manifests that are not canonical: name, text, entries of the index."""
    for name, value, old, new, why in [
        ("number-exponent", 1e-5, b"0.00001", b"1e-05", "an exponent that is not needed"),
        ("number-plain", 1e-7, b"1e-7", b"0.0000001", "an exponent that is missing"),
        ("number-digits", 0.1, b"0.1", b"0.10000000000000000555", "more digits than needed"),
        ("number-large", 2.0**53, b"9007199254740992", b"9007199254740993", "a number that is rounded"),
        ("escape-slash", "a/b", b"a/b", b"a\\/b", "an escape that is not needed"),
        ("escape-upper-case", "\x1f", b"\\u001f", b"\\u001F", "an escape in upper case"),
    ]:
        changed = respelled({**convex(), "x_n": value}, old, new)
        yield name, changed, {"purpose": why, "canonical": False}
    keys = about(recipe={"\U0001f600": 1, "\ufb33": 2})
    first, second = '"\U0001f600":1,"\ufb33":2'.encode(), '"\ufb33":2,"\U0001f600":1'.encode()
    why = "keys in the order of code points"
    yield "keys-by-code-points", respelled(keys, first, second), {"purpose": why, "canonical": False}


def limits() -> Iterator[Case]:
    """Yield texts, keys and levels beyond a limit."""
    c, bad, p = convex(), "manifest_invalid", "parameters.0"
    long = put(c, f"{p}.name", "\U0001f600" * 1025)
    yield "name-beyond-bmp-long", bad, long, "1,025 code points beyond the BMP"
    yield "levels-too-many", bad, {**c, "x_a": nested(64)}, "65 levels"
    deep = {**put(full("none"), "version.major", 2), "x_a": nested(64)}
    yield "levels-then-version", bad, deep, "65 levels in another version: the text goes first"
    empty = [{"name": "none", "shape": [0, 2**50], "dtype": "F32"}, *c["parameters"]]
    huge = put(put(c, "parameters", empty), "layers.0.parameters", [0, 1])
    yield "empty-parameter-beyond", "size_overflow", huge, "no elements, with a dimension of 2^50"
    chunked = full("zstd")
    del chunked["trajectories"][0]["chunks"]
    yield "chunks-absent", "manifest_inconsistent", chunked, "codec zstd without the places of chunks"
    yield "key-proto", bad, put(c, "files.0.__proto__", {"bytes": 1}), "an unknown key that is `__proto__`"
    yield "key-constructor", bad, {**c, "constructor": {}}, "an unknown key that is `constructor`"
    old, new = b'{"__proto__":1}', b'{"__proto__":1,"__proto__":1}'
    twice = respelled(about(recipe={"__proto__": 1}), old, new)
    yield "duplicate-key-proto", bad, twice, "`__proto__` twice in one object"


def order() -> Iterator[Case]:
    """Yield manifests with two flaws, of which the first in the order of section 4.3 is reported."""
    c, n, t, p = convex(), full("none"), "trajectories.0", "parameters.0"
    path = put(n, "files.0.path", "../a.h5")
    equal = [{"name": "w", "shape": [3], "dtype": "F32"}] * 2
    twice = put(put(c, "parameters", equal), "layers.0.parameters", [0, 1])
    yield "order-text-format", "manifest_invalid", b'{"format":NaN}\n', "text goes before the format"
    yield "order-structure-path", "manifest_invalid", {**path, "what": 1}, "structure goes before paths"
    unsafe = put(path, f"{p}.shape", [2**53 - 1])
    yield "order-path-shape", "path_unsafe", unsafe, "paths go before shapes"
    big = put(twice, f"{p}.shape", [2**53 - 1])
    yield "order-shape-names", "size_overflow", big, "shapes go before names"
    wide = [{"name": "w", "shape": [2**49], "dtype": "F32"}] * 5
    heavy = put(put(c, "parameters", wide), "layers.0.parameters", [0, 1, 2, 3, 4])
    yield "order-weights-names", "size_overflow", heavy, "the sum of all shapes goes before names"
    beyond = put(twice, f"{t}.table.u", 2000)
    first = [{"name": "w", "shape": [2**49], "dtype": "F16"}]
    mixed = put(heavy, "parameters", [*first, *wide[:4]])
    why = "the width of the first parameter counts: types that differ"
    yield "order-width-narrow", "manifest_inconsistent", mixed, why
    mixed = put(heavy, "parameters", [{**first[0], "dtype": "F64"}, *first, *first, *first])
    why = "the width of the first parameter counts: too many bytes"
    yield "order-width-wide", "size_overflow", put(mixed, "layers.0.parameters", [0, 1, 2, 3]), why
    yield "order-names-regions", "manifest_inconsistent", beyond, "names go before regions"
    feature = put(put(c, "requires_read", ["dtype.F16"]), f"{t}.data", 2000)
    yield "order-features-regions", "manifest_inconsistent", feature, "features go before regions"
    second = {**c["trajectories"][0], "knots": [0, 1]}
    later = {**c, "trajectories": [put(c, f"{t}.data", 2000)["trajectories"][0], second]}
    why = "what is inconsistent in any trajectory goes before the regions of the first"
    yield "order-trajectories", "manifest_inconsistent", later, why
    origin = put(put(c, f"{t}.origin", {"file": 0, "trajectory": 0}), f"{t}.table.u", 2000)
    yield "order-origin-regions", "manifest_inconsistent", origin, "an origin goes before regions"
    gram = put(put(c, "files.1.path", "tables/00000.safetensors"), f"{t}.data", 2000)
    yield "order-files-regions", "manifest_inconsistent", gram, "files that are not listed go before regions"
    wrong = text(put(n, "what", 1)).replace(b'"what":1', b'"what":2')
    yield "order-checksum-structure", "hash_mismatch", wrong, "the checksum goes before the structure"

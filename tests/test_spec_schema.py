"""The published JSON Schema and the library accept and refuse the same manifests.

What JSON Schema cannot say is listed here, and nothing else may differ: `BY_TEXT` below the level of parsed
JSON, `BY_MEANING` above it.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.sealing import sealed
from trajfmt.errors import FormatError
from trajfmt.schema import manifest as model
from trajfmt.schema.checksum import is_checksum
from trajfmt.schema.parse import parse

SPEC = Path(__file__).parents[1] / "spec" / "v1"
SCHEMA: dict[str, Any] = json.loads((SPEC / "manifest.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
INDEX: list[dict[str, Any]] = json.loads((SPEC / "vectors" / "index.json").read_text())["vectors"]

BY_TEXT = {
    "byte-order-mark": "Python's json.loads takes bytes with a mark",
    "lone-surrogate": "a JSON string of Python may hold one",
    "nan": "Python's json.loads takes it",
    "infinity": "Python's json.loads takes it",
    "number-overflow": "1e999 has become infinity",
    "integer-overflow": "Python's json.loads has integers of any size",
    "duplicate-key": "the first value is gone",
    "duplicate-key-escaped": "the first value is gone",
    "duplicate-key-private": "the first value is gone",
    "duplicate-key-proto": "the first value is gone",
    "levels-too-many": "JSON Schema cannot count levels",
    "version-fraction": "for JSON Schema 1.0 is an integer",
    "integer-as-fraction": "for JSON Schema 630.0 is an integer",
    "integer-as-exponent": "for JSON Schema 63e1 is an integer",
    "integer-minus-zero": "Python's json.loads has no such integer",
}
"""Vectors whose flaw is in the text and no longer in the parsed JSON, with the reason."""

BY_MEANING = {"path_unsafe", "manifest_inconsistent", "size_overflow"}
"""Reasons of the steps after the structure: the schema accepts what is refused for them."""

JUDGED = [
    case
    for case in INDEX
    if case["kind"] == "manifest" and case.get("reason") != "hash_mismatch" and "minor" not in case["name"]
]
"""The manifest vectors on which the schema must be of the index's opinion: all of version 1.0 that arrive."""


def refusal(data: bytes) -> str | None:
    """Return the reason for which the library refuses a manifest, if it does."""
    try:
        parse(data)
    except FormatError as exc:
        return exc.reason
    return None


def agree(value: Any) -> None:
    """Require that schema and library judge a parsed manifest of version 1.0 alike."""
    version = value.get("version")
    minor = version.get("minor") if isinstance(version, dict) else None
    if type(minor) is int and minor > 0:
        return
    stated = is_checksum(value.get("checksum"))
    reason = refusal(sealed(value) if stated else json.dumps(value).encode())
    problem = next(VALIDATOR.iter_errors(value), None)
    if reason is None or reason in BY_MEANING:
        assert problem is None, (reason, problem)
    else:
        assert problem is not None, reason


def test_schema_is_a_schema() -> None:
    """The schema itself is valid under the dialect that it names."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_exceptions_are_vectors() -> None:
    """A flaw that is excused is one that a vector has."""
    assert set(BY_TEXT) <= {case["name"] for case in JUDGED}
    assert {case.get("reason") for case in INDEX if case["kind"] == "manifest"} >= BY_MEANING


@pytest.mark.parametrize("case", JUDGED, ids=lambda case: case["name"])
def test_schema_agrees_with_the_vectors(case: dict[str, Any]) -> None:
    """The schema accepts and refuses the manifest vectors as the index says."""
    try:
        value = json.loads((SPEC / "vectors" / case["file"]).read_bytes())
    except (ValueError, RecursionError):
        assert not case["valid"]
        return
    if case["valid"] or case["name"] in BY_TEXT or case["reason"] in BY_MEANING:
        VALIDATOR.validate(value)
    else:
        assert not VALIDATOR.is_valid(value)


def valid_manifests() -> list[dict[str, Any]]:
    """Return every valid manifest among the vectors, of bundles too."""
    paths = [case["file"] for case in INDEX if case["valid"] and "minor" not in case["name"]]
    files = [SPEC / "vectors" / path for path in paths]
    texts = [(file / "manifest.json" if file.is_dir() else file).read_bytes() for file in files]
    return [json.loads(text) for text in texts]


def spots(value: Any) -> list[tuple[Any, Any]]:
    """Return (container, key) of everything inside a parsed manifest but private keys."""
    if isinstance(value, dict):
        keys: list[Any] = [key for key in value if not key.startswith("x_")]
    else:
        keys = list(range(len(value))) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [spot for key in keys for spot in spots(value[key])]


def test_every_key_is_required_or_optional_in_both() -> None:
    """Without any one key of a valid manifest, schema and library still agree.

    A key is left out once of every kind of object that has it: of the same keys, with the same words and
    types of values, in manifests of the same encoding with the same features.
    """
    known = set()
    for manifest in valid_manifests():
        facts = [manifest[name] for name in ("encoding", "requires_read", "requires_write")]
        for number, (container, key) in enumerate(spots(manifest)):
            kind = str((facts, described(container), key))
            if kind in known:
                continue
            known.add(kind)
            changed = copy.deepcopy(manifest)
            container, key = spots(changed)[number]
            del container[key]
            agree(changed)
    assert len(known) > 400


def described(container: Any) -> Any:
    """Return short strings as they are, and of every other value its type."""
    if isinstance(container, list):
        return [describe(value) for value in container[:3]]
    return sorted((key, describe(value)) for key, value in container.items())


def describe(value: Any) -> str:
    """Return a short string, or the type of another value."""
    return value if isinstance(value, str) and len(value) <= 16 else type(value).__name__


def test_no_object_outside_of_the_provenance_takes_an_unknown_key() -> None:
    """Both refuse an unknown key in every object, but take any in those of the provenance."""
    objects = {True: 0, False: 0}
    for manifest in valid_manifests():
        about = [value for container, key in spots(manifest["provenance"]) for value in [container[key]]]
        for number in range(len(spots(manifest))):
            container, key = spots(manifest)[number]
            if container is manifest["trajectories"] and "angles" in container[key]:
                continue  # refused: nobody looks at its keys
            is_open = key == "provenance" or any(container[key] is value for value in about)
            changed = copy.deepcopy(manifest)
            container, key = spots(changed)[number]
            if isinstance(container[key], dict) and key not in ("recipe", "known_from", "angles", "lab"):
                container[key]["x_unknown"] = 1
                assert refusal(sealed(changed)) == (None if is_open else "manifest_invalid")
                assert VALIDATOR.is_valid(changed) is is_open
                objects[is_open] += 1
    assert min(objects.values()) > 20


STRANGE = [
    *(None, True, False, 0, -1, 1, 2, 3, 2**31, 2**53, 2**53 + 1, 2**64, 10**30, 0.5, -1.5),
    *("", "x", "none", "zstd", "full", "convex", "F32", "epoch", "a.h5", "../a.h5", "a.h5\n", "x" * 1025),
    *("0" * 64, "0" * 64 + "\n", "A" * 64, "codec.zstd", "é", "\x00"),
    *([], [0], [0, 1], ["codec.zstd"], ["other"], [[]], [None], {}, {"a": 1}, {"name": "none"}),
]
"""Values that mean something somewhere in a manifest; no float that equals an integer, see `BY_TEXT`."""


@settings(max_examples=400, deadline=None, derandomize=True)
@given(data=st.data())
def test_schema_and_library_agree_on_damaged_manifests(data: st.DataObject) -> None:
    """One to three values of a valid manifest replaced, removed, added or repeated."""
    manifest = copy.deepcopy(data.draw(st.sampled_from(valid_manifests())))
    for _ in range(data.draw(st.integers(1, 3))):
        places = spots(manifest)
        container, key = places[data.draw(st.integers(0, len(places) - 1))]
        action = data.draw(st.sampled_from(["replace", "replace", "remove", "add", "repeat"]))
        value = copy.deepcopy(data.draw(st.sampled_from(STRANGE)))
        if action == "replace":
            container[key] = value
        elif action == "remove":
            del container[key]
        elif isinstance(container, list):
            container.append(value if action == "add" else copy.deepcopy(container[key]))
        else:
            container[data.draw(st.sampled_from(["x_a", "extensions", "smoothed", "codec", "origin"]))] = (
                value
            )
    agree(manifest)


MODEL_VALUES: dict[str, list[Any]] = {
    "family": ["ConvNet", "AlexNet", "VGG11", "ResNet18", "ResNet18AP", "other", "MLP", None],
    "depth": [3, None, 0, "3"],
    "width": [128, None],
    "channels": [3, None],
    "classes": [10],
    "norm": ["batch", None, "x"],
    "pooling": ["avg"],
    "factory": ["lab.nets:make", "make", "a:b\n", "a" * 199 + ":b", None, 1],
}


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    model=st.fixed_dictionaries(
        {"family": st.sampled_from(MODEL_VALUES["family"])},
        optional={key: st.sampled_from(MODEL_VALUES[key]) for key in MODEL_VALUES if key != "family"},
    )
)
def test_schema_and_library_agree_on_models(model: dict[str, Any]) -> None:
    """Which keys a family has and needs."""
    manifest = copy.deepcopy(valid_manifests()[0])
    manifest["provenance"] = {"model": model}
    agree(manifest)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("parameter", model.ParameterEntry),
        ("layer", model.LayerEntry),
        ("file", model.FileEntry),
        ("origin", model.Origin),
        ("table", model.TableEntry),
        ("shard", model.ShardEntry),
        ("pieces", model.PieceEntry),
        ("convexEntry", model.ConvexEntry),
        ("fullEntry", model.FullEntry),
        ("chunks", model.ChunkTable),
        ("codec", model.CodecSettings),
        ("model", model.Model),
        ("preprocessing", model.Preprocessing),
        ("timestepUnit", model.TimestepUnit),
        ("sourceFile", model.SourceFile),
        ("provenance", model.Provenance),
    ],
)
def test_objects_have_the_same_keys(name: str, kind: type[msgspec.Struct]) -> None:
    """Keys, and which of them are required, are the same in the schema and in the library's structs."""
    definition = SCHEMA["$defs"][name]
    fields = {field.encode_name: field.required for field in msgspec.structs.fields(kind)}
    assert set(definition["properties"]) == set(fields)
    assert set(definition["required"]) == {key for key, required in fields.items() if required}

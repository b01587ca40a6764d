"""The manifest and its canonical JSON: what it holds comes back as it was, and the rest is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.manifests import CONVEX, FULL, HASH, canonical, refusal, with_value
from trajfmt.schema.manifest import ConvexManifest, FullManifest, encode, entry_at, layout_of, numbered
from trajfmt.schema.parse import parse


def test_manifests_round_trip_to_the_same_bytes() -> None:
    """Both encodings, with everything optional filled in, come out as canonical JSON."""
    rich = CONVEX | {
        "smoothed": True,
        "provenance": {
            "dataset": "CIFAR10",
            "known_from": {"dataset": "path"},
            "model": {"channels": 3, "classes": 10, "depth": 3, "family": "ConvNet", "width": 128},
            "preprocessing": {"eps": 0.1, "kind": "zca"},
            "recipe": {"lr": 0.01, "momentum": None, "name": "ä€😀", "steps": 3, "zca": True},
            "sources": [{"bytes": 5, "name": "replay_buffer_0.pt", "sha256": HASH}],
            "timestep": {"every": 40, "kind": "step"},
        },
        "x_note": {"a": "\u0001\t\u007f\u2028", "b": [1, 2.5, None, {"ü": 0}]},
    }
    rich["trajectories"] = [CONVEX["trajectories"][0] | {"origin": {"file": 0, "trajectory": 7}}]
    for manifest, kind in ((CONVEX, ConvexManifest), (FULL, FullManifest), (rich, ConvexManifest)):
        parsed = parse(canonical(manifest))
        assert isinstance(parsed, kind)
        assert encode(parsed) == canonical(manifest)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.from_regex(r"x_[a-z0-9]{0,8}", fullmatch=True), JSON, max_size=3))
def test_private_keys_survive_unchanged(private: dict[str, Any]) -> None:
    """Whatever JSON stands under `x_` comes back as it was, if numbers are read as float64."""
    data = encode(parse(canonical(CONVEX | private)))
    found = json.loads(data, parse_int=float)
    assert {key: found[key] for key in private} == private
    assert encode(parse(data)) == data


def test_layout_of_a_manifest() -> None:
    """Names, shapes, dtype and layers arrive in the layout."""
    layout = layout_of(parse(canonical(CONVEX)))
    assert [(p.name, p.shape, p.dtype) for p in layout.parameters] == [
        ("w", (2, 3), "F32"),
        ("b", (3,), "F32"),
    ]
    assert layout.size == 9


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("new", 1),
        ("X_a", 1),
        ("extensions", {}),
        ("codec", {"name": "none"}),
        ("version.patch", 0),
        ("version.major", True),
        ("version.minor", 0.0),
        ("version.minor", True),
        ("version", "1.0"),
        ("encoding", "sparse"),
        ("parameters", []),
        ("parameters.0.shape", [1] * 9),
        ("parameters.0.shape", [-1]),
        ("parameters.0.shape", [6.0]),
        ("parameters.0.shape", [2**64]),
        ("parameters.0.shape", [10**30]),
        ("parameters.0.dtype", "F8"),
        ("parameters.0.name", ""),
        ("parameters.0.name", "x" * 1025),
        ("parameters.0.name", None),
        ("layers.0.parameters", []),
        ("layers.0.parameters", [True]),
        ("files.0.bytes", -1),
        ("files.0.bytes", 2**53 + 1),
        ("files.0.sha256", HASH.upper()),
        ("files.0.sha256", HASH + "\n"),
        ("files.0.sha256", HASH[:-1]),
        ("trajectories.0.timesteps", 1),
        ("trajectories.0.timesteps", 2**31),
        ("trajectories.0.knots", [0]),
        ("trajectories.0.knots", [0.0, 4]),
        ("trajectories.0.data", 10**400),
        ("trajectories.0.table.u", "96"),
        ("trajectories.0.origin", {"file": 0}),
        ("smoothed", 1),
        ("provenance.dataset", ""),
        ("provenance.recipe", {"a": [1]}),
        ("provenance.known_from", {"a": "guess"}),
        ("provenance.dataset", None),
        ("trajectories.0.table.gram", None),
        ("files.0.bytes", 2**53),
    ],
)
def test_value_of_the_wrong_type_or_range_is_invalid(path: str, value: Any) -> None:
    """Types, ranges and unknown keys, at every level."""
    assert refusal(with_value(CONVEX, path, value)) == "manifest_invalid"


@pytest.mark.parametrize("key", sorted(CONVEX))
def test_every_key_is_required(key: str) -> None:
    """No top-level key of the example can be left out."""
    expected = "not_a_bundle" if key == "format" else "manifest_invalid"
    assert refusal(canonical({name: value for name, value in CONVEX.items() if name != key})) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd.h5",
        "../a.h5",
        "tables/../../a.h5",
        "./a.h5",
        "tables//a.h5",
        "tables/a.h5/",
        "Tables/a.h5",
        "tables/a.H5",
        "tables\\a.h5",
        "c:a.h5",
        "tables/a.h5\n",
        "tables/a\0.h5",
        "\0.h5",
        "tables/a.pt",
        "tables/a.h5.pt",
        "tables/a",
        ".hidden.h5",
        "tables/.h5",
        "-rf.h5",
        "",
        "tablés/a.h5",
        "a\u0131.h5",
        "tables/a .h5",
        "~/a.h5",
        "a" * 198 + ".h5",
    ],
)
def test_file_path_must_be_plain(path: str) -> None:
    """Relative, lower case, allowed extensions: one spelling per file, and none outside the bundle."""
    assert refusal(with_value(CONVEX, "files.1.path", path)) == "path_unsafe"


def test_longest_path_is_accepted() -> None:
    """200 characters are allowed."""
    longest = "a" * 197 + ".h5"
    assert parse(
        with_value(
            json.loads(with_value(CONVEX, "files.1.path", longest)), "trajectories.0.table.file", longest
        )
    )


def test_unknown_keys_of_the_provenance_are_kept() -> None:
    """They refuse nothing, and are written again where they stood, below lists and objects too."""
    about = {
        "lab": {"room": None, "shelf": [1, {"a": 2}]},
        "model": {"channels": 3, "classes": 10, "family": "VGG11", "heads": 8},
        "sources": [
            {"bytes": 5, "name": "a.pt", "sha256": HASH},
            {"bytes": 5, "name": "b.pt", "sha256": HASH, "url": "https://example.org"},
        ],
        "timestep": {"kind": "epoch", "unsure": True},
    }
    data = canonical(CONVEX | {"provenance": about})
    manifest = parse(data)
    assert manifest.provenance.model is not None
    assert (manifest.provenance.model.family, len(manifest.provenance.sources)) == ("VGG11", 2)
    assert encode(manifest) == data


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    """Unknown keys have no effect, unknown kinds of facts are unknown, trajectories keep their numbers."""
    entry = CONVEX["trajectories"][0]
    later = CONVEX | {
        "version": {"major": 1, "minor": 9, "patch": 3},
        "smoothed": True,
        "new": None,
        "files": [file | {"new": 1} for file in CONVEX["files"]],
        "provenance": {
            "dataset": "CIFAR10",
            "model": {"family": "Transformer"},
            "known_from": {"dataset": "x"},
        },
        "trajectories": [{"timesteps": 7, "digest": HASH, "requires_read": ["a", "b"], "knots": {}}, entry],
    }
    manifest = parse(canonical(later))
    assert isinstance(manifest, ConvexManifest)
    assert manifest.smoothed
    assert (manifest.provenance.dataset, manifest.provenance.model) == ("CIFAR10", None)
    assert manifest.provenance.known_from == {}
    assert [file.path for file in manifest.files] == [file["path"] for file in CONVEX["files"]]
    assert {number: entry.timesteps for number, entry in manifest.refused.items()} == {0: 7}
    assert entry_at(manifest, 1) == numbered(manifest)[1] == manifest.trajectories[0]
    assert numbered(manifest).keys() == {1}

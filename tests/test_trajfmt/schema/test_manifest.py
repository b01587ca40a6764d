"""Bytes to a checked manifest and back: canonical JSON, versions, features, limits, hostile input."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trajfmt import CorruptError, FormatError, Model, NotABundleError, UnsafeError
from trajfmt.errors import display
from trajfmt.schema.manifest import MAX_BYTES, ConvexManifest, FullManifest, encode, layout_of
from trajfmt.schema.parse import check_writable, parse

HASH = "0123456789abcdef" * 4

CONVEX: dict[str, Any] = {
    "encoding": "convex",
    "files": [
        {"bytes": 200, "path": "knots/00000.safetensors", "sha256": HASH},
        {"bytes": 500, "path": "tables/00000.h5", "sha256": HASH},
    ],
    "format": "trajfmt",
    "generator": {"name": "test", "version": "1"},
    "layers": [{"name": "w", "parameters": [0]}, {"name": "b", "parameters": [1]}],
    "parameters": [
        {"dtype": "F32", "name": "w", "shape": [2, 3]},
        {"dtype": "F32", "name": "b", "shape": [3]},
    ],
    "provenance": {},
    "requires_read": [],
    "requires_write": [],
    "trajectories": [
        {
            "data": 128,
            "digest": HASH,
            "file": "knots/00000.safetensors",
            "knots": [0, 4],
            "table": {"file": "tables/00000.h5", "gram": 300, "step_norms": 200, "u": 96},
            "timesteps": 5,
        }
    ],
    "version": {"major": 1, "minor": 0},
}

FULL: dict[str, Any] = {
    **{key: CONVEX[key] for key in ("format", "generator", "layers", "parameters", "provenance", "version")},
    "codec": {"chunk": 5, "keyframe": 2, "name": "archive"},
    "encoding": "full",
    "files": [{"bytes": 400, "path": "theta/00000.h5", "sha256": HASH}],
    "requires_read": ["codec.archive"],
    "requires_write": [],
    "trajectories": [
        {
            "chunks": {"offsets": [10, 20, 30, 40], "sizes": [10, 10, 10, 10]},
            "digest": HASH,
            "file": "theta/00000.h5",
            "timesteps": 2,
        }
    ],
}


def _text(manifest: object) -> bytes:
    """Return canonical JSON, made by another library than ours."""
    return (json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n").encode()


def _with(base: dict[str, Any], path: str, value: Any) -> bytes:
    """Return a manifest with one value, at a dotted path, replaced."""
    changed = deepcopy(base)
    place: Any = changed
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in way:
        place = place[part]
    place[last] = value
    return _text(changed)


def _reason(data: bytes) -> str:
    with pytest.raises(FormatError) as caught:
        parse(data)
    return caught.value.reason


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
        "x_note": {"b": [1, 2.5, None, {"ü": -0.0}], "a": "\u0001\t\u007f\u2028"},
    }
    rich["trajectories"] = [CONVEX["trajectories"][0] | {"origin": {"file": 0, "trajectory": 7}}]
    for manifest, kind in ((CONVEX, ConvexManifest), (FULL, FullManifest), (rich, ConvexManifest)):
        parsed = parse(_text(manifest))
        assert isinstance(parsed, kind)
        assert encode(parsed) == _text(manifest)


CONVNET = {"channels": 3, "classes": 10, "depth": 3, "family": "ConvNet", "width": 128}
VGG = {"channels": 3, "classes": 10, "family": "VGG11"}
OTHER = {"channels": 3, "classes": 10, "family": "other"}

MODELS = [
    CONVNET,
    CONVNET | {"image_size": 32, "norm": "instance", "pooling": "avg"},
    *(VGG | {"family": family} for family in ("AlexNet", "VGG11", "ResNet18", "ResNet18AP", "other")),
    VGG | {"image_size": 32, "norm": "batch"},
    OTHER | {"factory": "nets:make"},
    OTHER | {"factory": "lab.nets_2._small:Make3", "image_size": 32},
    OTHER | {"factory": "a" * 198 + ":b"},
]


@pytest.mark.parametrize("model", MODELS, ids=json.dumps)
def test_models_of_every_family_round_trip(model: dict[str, Any]) -> None:
    """Each family with its own keys, and nothing added to them."""
    data = _text(CONVEX | {"provenance": {"model": model}})
    assert encode(parse(data)) == data
    assert parse(data).provenance.model == Model(**model)


@pytest.mark.parametrize(
    "model",
    [
        {key: value for key, value in CONVNET.items() if key != "depth"},
        {key: value for key, value in CONVNET.items() if key != "width"},
        CONVNET | {"depth": None},
        CONVNET | {"factory": "nets:make"},
        VGG | {"depth": 11},
        VGG | {"width": 64},
        VGG | {"factory": "nets:make"},
        OTHER | {"depth": 1},
        VGG | {"family": "VGG13"},
        {"family": "VGG11", "classes": 10},
        {"channels": 3, "classes": 10},
        *(
            OTHER | {"factory": text}
            for text in ("nets", "nets:", ":make", "nets.make", "nets:make()", "a:b:c")
        ),
        *(
            OTHER | {"factory": text}
            for text in ("a..b:c", "a:b.c", "a:b\n", " a:b", "a:é", "1a:b", "", "a/b:c")
        ),
        OTHER | {"factory": "a" * 199 + ":b"},
        OTHER | {"factory": 1},
    ],
    ids=json.dumps,
)
def test_model_with_keys_of_another_family_is_invalid(model: dict[str, Any]) -> None:
    """Depth and width are a ConvNet's, a factory is what builds other networks."""
    assert _reason(_text(CONVEX | {"provenance": {"model": model}})) == "manifest_invalid"


def test_model_cannot_be_made_with_keys_of_another_family() -> None:
    """The same rule for those who write bundles, before anything is written."""
    with pytest.raises(ValueError, match="'ConvNet' needs `depth`"):
        Model(family="ConvNet", channels=3, classes=10)
    with pytest.raises(ValueError, match="'ResNet18' has no `factory`"):
        Model(family="ResNet18", channels=3, classes=10, factory="nets:make")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
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
    """Whatever JSON stands under `x_` comes back as it was."""
    data = encode(parse(_text(CONVEX | private)))
    found = json.loads(data)
    assert {key: found[key] for key in private} == private
    assert encode(parse(data)) == data


def test_layout_of_a_manifest() -> None:
    """Names, shapes, dtype and layers arrive in the layout."""
    layout = layout_of(parse(_text(CONVEX)))
    assert [(p.name, p.shape, p.dtype) for p in layout.parameters] == [
        ("w", (2, 3), "F32"),
        ("b", (3,), "F32"),
    ]
    assert layout.size == 9


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"[",
        b"{} {}",
        b'{"a":1,}',
        b"\xff\xfe{}",
        b"\xef\xbb\xbf" + _text(CONVEX),
        _text(CONVEX)[:-3],
        _text(CONVEX).replace(b'"format"', b'"format":"trajfmt","format"'),
        _text(CONVEX).replace(b'"dtype":"F32"', b'"dtype":"F32","dtyp\\u0065":"F32"', 1),
        _text(CONVEX | {"x_a": 0}).replace(b'"x_a":0', b'"x_a":{"k":1,"k":1}'),
        _text(CONVEX | {"x_a": 0}).replace(b'"x_a":0', b'"x_a":NaN'),
        _text(CONVEX | {"x_a": 0}).replace(b'"x_a":0', b'"x_a":-Infinity'),
        _text(CONVEX | {"x_a": 0}).replace(b'"x_a":0', b'"x_a":1e999'),
        _text(CONVEX | {"x_a": 0}).replace(b'"x_a":0', b'"x_a":"\\ud800"'),
        _text(CONVEX | {"x_a": 0}).replace(b'"x_a":0', b'"x_a":' + b"9" * 10**5),
        _text(CONVEX | {"x_a": 0}).replace(b'"x_a":0', b'"x_a":' + b"[" * 10**5 + b"]" * 10**5),
        _text(CONVEX | {"x_a": 0}).replace(b'"x_a":0', b'"x_a":' + b'{"a":' * 10**5 + b"0" + b"}" * 10**5),
        b"[" * 10**6,
    ],
    ids=[
        "empty",
        "nul",
        "open",
        "two-values",
        "comma",
        "utf16",
        "bom",
        "truncated",
        "duplicate",
        "duplicate-escaped",
        "duplicate-private",
        "nan",
        "infinity",
        "overflow",
        "surrogate",
        "digits",
        "nested-lists",
        "nested-objects",
        "open-lists",
    ],
)
def test_text_that_is_not_strict_json_is_refused(data: bytes) -> None:
    """Refused with `manifest_invalid`, never a crash."""
    assert _reason(data) == "manifest_invalid"


def test_sixty_nested_levels_are_followed() -> None:
    """The specification asks for 64."""
    value: Any = 0
    for _ in range(62):
        value = [value]
    assert json.loads(encode(parse(_text(CONVEX | {"x_a": value}))))["x_a"] == value


def test_manifest_above_the_cap_is_not_decoded() -> None:
    """64 MiB are the most, and one byte more is unsafe."""
    padding = MAX_BYTES - len(_text(CONVEX))
    assert parse(_text(CONVEX) + b" " * padding)
    with pytest.raises(UnsafeError) as caught:
        parse(_text(CONVEX) + b" " * (padding + 1))
    assert caught.value.reason == "manifest_too_large"


@pytest.mark.parametrize(
    "data", [b"[]", b"null", b"1", b"{}", b'{"format":"other"}', b'{"format":["trajfmt"]}']
)
def test_other_json_is_not_a_bundle(data: bytes) -> None:
    """JSON without our `format` is called something else, not damaged."""
    with pytest.raises(NotABundleError) as caught:
        parse(data)
    assert (caught.value.reason, caught.value.exit_code) == ("not_a_bundle", 3)


@pytest.mark.parametrize(
    "version", [{"major": 2, "minor": 0}, {"major": 1, "minor": 1}, {"major": 0, "minor": 9}]
)
def test_unknown_version_is_reported_before_unknown_keys(version: dict[str, int]) -> None:
    """A bundle of the future is called that, whatever else it has."""
    future = CONVEX | {"version": version, "new_key": 1, "parameters": "elsewhere"}
    with pytest.raises(NotABundleError, match=f"{version['major']}.{version['minor']}") as caught:
        parse(_text(future))
    assert caught.value.reason == "unknown_version"


def test_unknown_feature_is_named() -> None:
    """The feature that is missing is in the message, before unknown keys are complained about."""
    with pytest.raises(NotABundleError, match=r"'tiles\.v2'") as caught:
        parse(_text(CONVEX | {"requires_read": ["tiles.v2"], "new": 1}))
    assert caught.value.reason == "unknown_feature"


def test_unknown_write_feature_stops_writers_only() -> None:
    """Reading ignores `requires_write`, appending does not."""
    manifest = parse(_text(CONVEX | {"requires_write": ["index.v2"]}))
    check_writable(parse(_text(CONVEX)))
    with pytest.raises(NotABundleError, match=r"'index\.v2'") as caught:
        check_writable(manifest)
    assert caught.value.reason == "unknown_feature"


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
        ("provenance.secret", 1),
    ],
)
def test_value_of_the_wrong_type_or_range_is_invalid(path: str, value: Any) -> None:
    """Types, ranges and unknown keys, at every level."""
    assert _reason(_with(CONVEX, path, value)) == "manifest_invalid"


@pytest.mark.parametrize("key", sorted(CONVEX))
def test_every_key_is_required(key: str) -> None:
    """No top-level key of the example can be left out."""
    expected = "not_a_bundle" if key == "format" else "manifest_invalid"
    assert _reason(_text({name: value for name, value in CONVEX.items() if name != key})) == expected


@pytest.mark.parametrize(
    ("base", "path", "value"),
    [
        (CONVEX, "parameters.1.name", "w"),
        (CONVEX, "parameters.1.dtype", "F16"),
        (CONVEX, "parameters.0.shape", [0]),
        (CONVEX, "layers.1.parameters", [0]),
        (CONVEX, "layers.1.parameters", [2]),
        (CONVEX, "layers.1.parameters", [1, 1]),
        (CONVEX, "files.1.path", "knots/00000.safetensors"),
        (CONVEX, "trajectories.0.file", "knots/00001.safetensors"),
        (CONVEX, "trajectories.0.file", "tables/00000.h5"),
        (CONVEX, "trajectories.0.table.file", "knots/00000.safetensors"),
        (CONVEX, "trajectories.0.knots", [0, 3]),
        (CONVEX, "trajectories.0.knots", [1, 4]),
        (CONVEX, "trajectories.0.knots", [0, 2, 2, 4]),
        (CONVEX, "trajectories.0.knots", [0, 5, 3, 4]),
        (CONVEX, "trajectories.0.origin", {"file": 0, "trajectory": 0}),
        (FULL, "requires_read", []),
        (FULL, "requires_read", ["codec.zstd"]),
        (FULL, "codec", {"name": "archive", "chunk": 5}),
        (FULL, "codec", {"name": "archive", "chunk": 10, "keyframe": 2}),
        (FULL, "trajectories.0.data", 8),
        (FULL, "trajectories.0.chunks.sizes", [10, 10, 10]),
        (FULL, "trajectories.0.chunks.offsets", [10] * 5),
        (FULL, "trajectories.0.timesteps", 3),
    ],
)
def test_parts_that_contradict_each_other_are_inconsistent(
    base: dict[str, Any], path: str, value: Any
) -> None:
    """References, order and settings that do not fit together."""
    changed = _with(base, path, value)
    if path == "parameters.0.shape":
        changed = _with(json.loads(changed), "parameters.1.shape", [0])
    assert _reason(changed) == "manifest_inconsistent"


@pytest.mark.parametrize("chunk", [2**20 + 1, 2**29, 2**53])
def test_chunk_size_is_bounded(chunk: int) -> None:
    """The largest chunk bounds what one frame can unpack to, also for a huge network."""
    huge = json.loads(_with(FULL, "codec.chunk", chunk))
    huge["parameters"][0]["shape"] = [2**50]
    assert _reason(_text(huge)) in {"manifest_invalid", "manifest_inconsistent"}


@pytest.mark.parametrize(
    ("base", "path", "value"),
    [
        (CONVEX, "files.0.bytes", 199),
        (CONVEX, "files.1.bytes", 499),
        (CONVEX, "trajectories.0.data", 129),
        (CONVEX, "trajectories.0.data", 2**53),
        (CONVEX, "trajectories.0.table.u", 421),
        (CONVEX, "trajectories.0.table.step_norms", 437),
        (CONVEX, "trajectories.0.table.gram", 301),
        (CONVEX, "parameters.0.shape", [2**53]),
        (CONVEX, "parameters.0.shape", [2**32, 2**32]),
        (CONVEX, "parameters.0.shape", [2**53] * 8),
        (CONVEX, "parameters.0.shape", [2**22, 2**21, 2**21]),
        (FULL, "trajectories.0.chunks.offsets", [10, 20, 30, 391]),
        (FULL, "trajectories.0.chunks.sizes", [10, 10, 10, 2**53]),
    ],
)
def test_regions_outside_of_their_file_are_unsafe(base: dict[str, Any], path: str, value: Any) -> None:
    """Sizes and offsets are exact integers: nothing wraps around."""
    assert _reason(_with(base, path, value)) == "size_overflow"


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
    assert _reason(_with(CONVEX, "files.1.path", path)) == "path_unsafe"


def test_longest_path_is_accepted() -> None:
    """200 characters are allowed."""
    longest = "a" * 197 + ".h5"
    assert parse(
        _with(json.loads(_with(CONVEX, "files.1.path", longest)), "trajectories.0.table.file", longest)
    )


@given(st.binary(max_size=200))
def test_random_bytes_never_crash(data: bytes) -> None:
    """Whatever comes in, a FormatError comes out."""
    with pytest.raises(FormatError):
        parse(data)


@given(st.integers(0, len(_text(FULL)) - 1), st.binary(min_size=1, max_size=4), st.booleans())
def test_damaged_manifests_never_crash(position: int, patch: bytes, full: bool) -> None:
    """A manifest with other bytes somewhere is read or refused, nothing else."""
    data = bytearray(_text(FULL if full else CONVEX))
    data[position : position + len(patch)] = patch
    try:
        manifest = parse(bytes(data))
    except FormatError:
        return
    assert parse(encode(manifest)) == manifest


ESCAPE = "\x1b]0;title\x07\u202e"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("requires_read", [ESCAPE]),
        ("files.0.path", ESCAPE),
        ("provenance.known_from", {"dataset": ESCAPE}),
        ("parameters.0.dtype", ESCAPE),
    ],
)
def test_control_characters_of_values_are_escaped_in_errors(path: str, value: Any) -> None:
    """A stranger's manifest cannot send escape sequences to a terminal."""
    with pytest.raises(FormatError) as caught:
        parse(_with(CONVEX, path, value))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("path", "value"), [(ESCAPE, 1), (f"provenance.{ESCAPE}", 1), ("parameters.1.name", "w")]
)
def test_control_characters_of_names_are_escaped_in_errors(path: str, value: Any) -> None:
    """The same for unknown keys and for parameter names."""
    data = _with(CONVEX, path, value)
    if path == "parameters.1.name":
        data = _with(json.loads(_with(CONVEX, path, ESCAPE)), "parameters.0.name", ESCAPE)
    with pytest.raises(FormatError) as caught:
        parse(data)
    assert str(caught.value).isprintable()


@given(st.text())
def test_display_gives_one_printable_line(text: str) -> None:
    """Whatever the text, nothing in it moves a cursor or breaks a line."""
    shown = display(text)
    assert shown.isprintable()
    assert display(shown) == shown
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize("what", ["keys", "parameters"])
def test_many_names_with_a_duplicate_at_the_end_are_refused_quickly(
    what: str, python: Callable[..., str]
) -> None:
    """Refusing is linear in the size of the manifest: a small file must not keep a reader busy."""
    code = """
import sys, json
from trajfmt import CorruptError
from trajfmt.schema.parse import parse
n = 150_000
if sys.argv[1] == "keys":
    data = b"{" + b",".join(b'"%d":1' % i for i in range(n)) + b',"%d":1}' % (n - 1)
else:
    manifest = json.loads(sys.argv[2])
    names = [*range(n), n - 1]
    manifest["parameters"] = [{"name": str(i), "shape": [], "dtype": "F32"} for i in names]
    manifest["layers"] = [{"name": "all", "parameters": list(range(n + 1))}]
    data = json.dumps(manifest).encode()
try:
    parse(data)
except CorruptError as exc:
    assert "149999" in str(exc), exc
else:
    raise SystemExit("was accepted")
"""
    python(code, what, _text(CONVEX).decode())


def test_parse_and_corrupt_error_carry_the_path() -> None:
    """The error says which file, with control characters escaped."""
    with pytest.raises(CorruptError, match=r"^a\\x1b/manifest.json: "):
        parse(b"{", path="a\x1b/manifest.json")

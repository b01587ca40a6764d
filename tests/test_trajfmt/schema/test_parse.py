"""Bytes to a checked manifest: strict JSON, versions, features, limits, hostile input."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.manifests import CONVEX, FULL, canonical, refusal, with_value
from tests.helpers.sealing import with_checksum
from trajfmt import CorruptError, FormatError, NotABundleError, UnsafeError
from trajfmt.schema import parse as module
from trajfmt.schema.manifest import MAX_BYTES, encode
from trajfmt.schema.parse import check_writable, parse


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"[",
        b"{} {}",
        b'{"a":1,}',
        b"\xff\xfe{}",
        b"\xef\xbb\xbf" + canonical(CONVEX),
        canonical(CONVEX)[:-3],
        canonical(CONVEX).replace(b'"format"', b'"format":"trajfmt","format"'),
        canonical(CONVEX).replace(b'"dtype":"F32"', b'"dtype":"F32","dtyp\\u0065":"F32"', 1),
        canonical(CONVEX | {"x_a": 0}).replace(b'"x_a":0', b'"x_a":{"k":1,"k":1}'),
        canonical(CONVEX | {"x_a": 0}).replace(b'"x_a":0', b'"x_a":NaN'),
        canonical(CONVEX | {"x_a": 0}).replace(b'"x_a":0', b'"x_a":-Infinity'),
        canonical(CONVEX | {"x_a": 0}).replace(b'"x_a":0', b'"x_a":1e999'),
        canonical(CONVEX | {"x_a": 0}).replace(b'"x_a":0', b'"x_a":"\\ud800"'),
        canonical(CONVEX | {"x_a": 0}).replace(b'"x_a":0', b'"x_a":' + b"9" * 10**5),
        canonical(CONVEX | {"x_a": 0}).replace(b'"x_a":0', b'"x_a":' + b"[" * 10**5 + b"]" * 10**5),
        canonical(CONVEX | {"x_a": 0}).replace(
            b'"x_a":0', b'"x_a":' + b'{"a":' * 10**5 + b"0" + b"}" * 10**5
        ),
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
    assert refusal(data) == "manifest_invalid"


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"": value}], ids=["lists", "objects"])
def test_sixty_four_levels_are_the_most(wrap: Callable[[Any], Any]) -> None:
    """The top-level object is the first level; a value that is not nested is none."""
    value: Any = 0
    for _ in range(63):
        value = wrap(value)
    assert json.loads(encode(parse(canonical(CONVEX | {"x_a": value}))))["x_a"] == value
    assert refusal(canonical(CONVEX | {"x_a": wrap(value)})) == "manifest_invalid"


@pytest.mark.parametrize(("text", "value"), [(b"12345678901234567", 12345678901234568), (b"-0", 0)])
def test_a_private_integer_is_a_float64(text: bytes, value: int) -> None:
    """A number that float64 does not have is written again as the nearest one, as JavaScript would."""
    data = canonical(CONVEX | {"x_a": 7}).replace(b'"x_a":7', b'"x_a":' + text)
    assert json.loads(encode(parse(with_checksum(data))))["x_a"] == value


def test_minus_zero_is_no_integer() -> None:
    """JSON can spell it; a program that reads numbers as floats would see it, and another would not."""
    data = canonical(CONVEX).replace(b'"parameters":[0]', b'"parameters":[-0]', 1)
    assert refusal(with_checksum(data)) == "manifest_invalid"


def test_manifest_above_the_cap_is_not_decoded() -> None:
    """64 MiB are the most, and one byte more is unsafe."""
    padding = MAX_BYTES - len(canonical(CONVEX))
    assert parse(with_checksum(canonical(CONVEX) + b" " * padding))
    with pytest.raises(UnsafeError) as caught:
        parse(with_checksum(canonical(CONVEX) + b" " * (padding + 1)))
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
    "version", [{"major": 2, "minor": 0}, {"major": 3, "minor": 1}, {"major": 0, "minor": 9}]
)
def test_unknown_version_is_reported_before_unknown_keys(version: dict[str, int]) -> None:
    """A bundle of the future is called that, whatever else it has."""
    future = CONVEX | {"version": version, "new_key": 1, "parameters": "elsewhere"}
    with pytest.raises(NotABundleError, match=f"{version['major']}.{version['minor']}") as caught:
        parse(canonical(future))
    assert caught.value.reason == "unknown_version"


@pytest.mark.parametrize(
    "version", [{"major": -7, "minor": 1}, {"major": 2**60, "minor": 1}, {"major": 3, "minor": -1}]
)
def test_version_that_is_no_version(version: dict[str, int]) -> None:
    """Numbers that no version can have are damage, not the future."""
    with pytest.raises(CorruptError) as caught:
        parse(canonical(CONVEX | {"version": version}))
    assert caught.value.reason == "manifest_invalid"


@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize(
    ("manifest", "key"), [(CONVEX, {"codec": {"name": "none"}}), (FULL, {"smoothed": True})]
)
def test_key_of_the_other_encoding(manifest: dict[str, Any], key: dict[str, Any], minor: int) -> None:
    """A key that this version knows is an error where it does not belong, in later versions too."""
    with pytest.raises(CorruptError, match=next(iter(key))) as caught:
        parse(canonical(manifest | {"version": {"major": 1, "minor": minor}} | key))
    assert caught.value.reason == "manifest_invalid"


def test_unknown_feature_is_named() -> None:
    """The feature that is missing is in the message, before unknown keys are complained about."""
    with pytest.raises(NotABundleError, match=r"'tiles\.v2'") as caught:
        parse(canonical(CONVEX | {"requires_read": ["tiles.v2"], "new": 1}))
    assert caught.value.reason == "unknown_feature"


def test_unknown_write_feature_stops_writers_only() -> None:
    """Reading ignores `requires_write`, appending does not."""
    manifest = parse(canonical(CONVEX | {"requires_write": ["index.v2"]}))
    check_writable(parse(canonical(CONVEX)))
    with pytest.raises(NotABundleError, match=r"'index\.v2'") as caught:
        check_writable(manifest)
    assert caught.value.reason == "unknown_feature"


def test_later_version_and_refused_trajectory_stop_writers_only() -> None:
    """A manifest that is not understood as a whole could not be written again without a loss."""
    later = parse(canonical(CONVEX | {"version": {"major": 1, "minor": 1}}))
    with pytest.raises(NotABundleError, match=r"1\.1.*install a newer") as caught:
        check_writable(later)
    assert caught.value.reason == "unknown_version"
    entry = {"timesteps": 2, "digest": "0" * 64, "requires_read": ["buffers", "tiles.v2"]}
    refused = parse(canonical(CONVEX | {"trajectories": [*CONVEX["trajectories"], entry]}))
    with pytest.raises(NotABundleError, match=r"trajectory 1: .*'tiles\.v2'") as caught:
        check_writable(refused)
    assert caught.value.reason == "unknown_feature"


@given(st.binary(max_size=200))
def test_random_bytes_never_crash(data: bytes) -> None:
    """Whatever comes in, a FormatError comes out."""
    with pytest.raises(FormatError):
        parse(data)


@given(st.integers(0, len(canonical(FULL)) - 1), st.binary(min_size=1, max_size=4), st.booleans())
def test_damaged_manifests_never_crash(position: int, patch: bytes, full: bool) -> None:
    """A manifest with other bytes somewhere is read or refused, nothing else."""
    data = bytearray(canonical(FULL if full else CONVEX))
    data[position : position + len(patch)] = patch
    try:
        manifest = parse(with_checksum(bytes(data)))
    except FormatError:
        return
    assert parse(encode(manifest)) == manifest


@pytest.mark.parametrize("manifest", [CONVEX, FULL], ids=["convex", "full"])
def test_one_other_character_is_read_or_refused(manifest: dict[str, Any]) -> None:
    """A digit or a letter anywhere in a manifest: what is read is written and read again as the same."""
    text, read = canonical(manifest), 0
    for position in range(len(text)):
        for character in b"7a":
            data = bytearray(text)
            data[position] = character
            try:
                found = parse(with_checksum(bytes(data)))
            except FormatError:
                continue
            read += 1
            assert parse(encode(found)) == found
    assert read > 200


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
        parse(with_value(CONVEX, path, value))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("path", "value"), [(ESCAPE, 1), (f"files.0.{ESCAPE}", 1), ("parameters.1.name", "w")]
)
def test_control_characters_of_names_are_escaped_in_errors(path: str, value: Any) -> None:
    """The same for unknown keys and for parameter names."""
    data = with_value(CONVEX, path, value)
    if path == "parameters.1.name":
        data = with_value(json.loads(with_value(CONVEX, path, ESCAPE)), "parameters.0.name", ESCAPE)
    with pytest.raises(FormatError) as caught:
        parse(data)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("what", ["keys", "parameters"])
def test_many_names_with_a_duplicate_at_the_end_are_refused_quickly(
    what: str, python: Callable[..., str]
) -> None:
    """Refusing is linear in the size of the manifest: a small file must not keep a reader busy."""
    code = """
import sys, json
from tests.helpers.sealing import with_checksum
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
    data = with_checksum(json.dumps(manifest).encode())
try:
    parse(data)
except CorruptError as exc:
    assert "149999" in str(exc), exc
else:
    raise SystemExit("was accepted")
"""
    python(code, what, canonical(CONVEX).decode())


def test_parse_and_corrupt_error_carry_the_path() -> None:
    """The error says which file, with control characters escaped."""
    with pytest.raises(CorruptError, match=r"^a\\x1b/manifest.json: "):
        parse(b"{", path="a\x1b/manifest.json")


def test_a_write_feature_that_is_known_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two, the one that is not known is named."""
    manifest = parse(canonical(CONVEX | {"requires_write": ["index.v2", "known.v1"]}))
    monkeypatch.setattr(module, "WRITE_FEATURES", frozenset({"index.v2"}))
    with pytest.raises(NotABundleError, match=r"'known\.v1'"):
        check_writable(manifest)


def _objects(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of all objects in a manifest."""
    if isinstance(value, dict):
        yield path
    for key, below in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(below, (dict, list)):
            yield from _objects(below, (*path, key))


@pytest.mark.parametrize("manifest", [CONVEX, FULL], ids=["convex", "full"])
def test_an_unknown_key_anywhere_is_refused(manifest: dict[str, Any]) -> None:
    """In every object but the provenance, which is open; a key of the user may be in each."""
    paths = list(_objects(manifest))
    assert len(paths) > 8
    for path in paths:
        changed = deepcopy(manifest)
        place: Any = changed
        for key in path:
            place = place[key]
        place["new"] = 1
        if path[:1] == ("provenance",):
            parse(canonical(changed))
            continue
        with pytest.raises(CorruptError) as caught:
            parse(canonical(changed))
        assert caught.value.reason == "manifest_invalid"

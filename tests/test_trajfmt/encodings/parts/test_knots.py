"""Knot files, byte by byte and by the safetensors library, and where long ones are cut."""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file

import trajfmt
from tests.helpers.equations import SHAPES
from trajfmt import CorruptError, ParamLayout
from trajfmt.encodings.parts import knots
from trajfmt.encodings.parts.knots import SHARD_BYTES, cut, header
from trajfmt.schema.weight import weight
from trajfmt.storage.safetensors import MAX_WEIGHT

Array = NDArray[np.generic]


def test_knot_file_is_what_safetensors_reads(theta: Array, write_bundle: Callable[..., Path]) -> None:
    """The library finds every tensor, bit for bit, and the one metadata key."""
    layout = ParamLayout.of(SHAPES)
    theta = theta.astype("<f4")
    path = write_bundle(layout, theta, knots=(4,)) / "knots/00000.safetensors"
    tensors = load_file(path)
    assert len(tensors) == 15
    for t in (0, 4, 12):
        for name, view in layout.split(theta[t]).items():
            assert tensors[f"{t:05d}/{name}"].shape == view.shape
            assert tensors[f"{t:05d}/{name}"].tobytes() == view.tobytes()
    with safe_open(path, "np") as file:
        assert file.metadata() == {"trajfmt": '{"encoding":"convex","knots":[0,4,12]}'}


def test_knot_file_bytes(write_bundle: Callable[..., Path]) -> None:
    """Length, header, spaces up to 64, knots: nothing else, in exactly this form."""
    layout = ParamLayout.of([("b", (2,)), ("a", ())], dtype="F16")
    theta = np.array([[1, 2, 3], [4, 5, 6], [-0.0, 8, 9]], "<f2")
    data = (write_bundle(layout, theta) / "knots/00000.safetensors").read_bytes()
    entries = {"__metadata__": {"trajfmt": '{"encoding":"convex","knots":[0,2]}'}}
    for t, base in ((0, 0), (2, 6)):
        entries[f"{t:05d}/b"] = {"dtype": "F16", "shape": [2], "data_offsets": [base, base + 4]}
        entries[f"{t:05d}/a"] = {"dtype": "F16", "shape": [], "data_offsets": [base + 4, base + 6]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    assert data == struct.pack("<Q", len(text)) + text + theta[0].tobytes() + theta[2].tobytes()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any),
    knots=st.integers(2, 5),
    limit=st.integers(1, 200),
)
def test_cut_covers_everything_in_order(sizes: list[int], knots: int, limit: int) -> None:
    """Ranges are consecutive, never empty, respect the limit, and split a knot only if they must."""
    layout = ParamLayout.of([(f"p{i}", (size,)) for i, size in enumerate(sizes)])
    ranges = cut(layout, knots, limit)
    assert ranges[0].first == ranges[0].start == 0
    assert ranges[-1].stop == knots * layout.nbytes
    assert sum(contents.tensors for contents in ranges) == knots * len(sizes)
    for before, after in itertools.pairwise(ranges):
        assert (before.first + before.tensors, before.stop) == (after.first, after.start)
    for contents in ranges:
        assert contents.tensors >= 1
        held = [sizes[i % len(sizes)] * 4 for i in range(contents.first, contents.first + contents.tensors)]
        assert sum(held) == contents.stop - contents.start
        assert sum(held) <= limit or len([size for size in held if size]) == 1
    if knots * layout.nbytes <= limit:
        assert len(ranges) == 1
    if layout.nbytes <= limit:
        assert all(contents.first % len(sizes) == 0 for contents in ranges)


@pytest.mark.parametrize("mark", [",", '"', "a"])
def test_no_header_is_too_heavy_for_a_reader(mark: str) -> None:
    """Names of many commas, or many tensors: knots are divided where a header would be refused."""
    count = 100_000 if mark == "a" else 3_000
    name = "" if mark == "a" else mark * 1000
    layout = ParamLayout.of([(f"{name}{i}", (1, 1)) for i in range(count)], layers="all")
    ranges = cut(layout, 2, 10**9)
    assert len(ranges) > 1
    assert [r.first for r in ranges[1:]] == [r.first + r.tensors for r in ranges[:-1]]
    assert sum(r.tensors for r in ranges) == 2 * count
    weights = [weight(header(layout, [0, 1], r)[8:]) for r in ranges]
    assert MAX_WEIGHT // 2 < max(weights) <= MAX_WEIGHT


def test_a_header_without_tensors_is_refused_by_its_weight(
    write_bundle: Callable[..., Path], walk: Callable[..., Array], layout: ParamLayout
) -> None:
    """It is valid and as long as it must be, but lighter than the tensors of the manifest."""
    path = write_bundle(layout, walk(layout), knots=(2,))
    file = path / "knots/00000.safetensors"
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    text = b'{"__metadata__":{}}'
    file.write_bytes(data[:8] + text + b" " * (length - len(text)) + data[8 + length :])
    with (
        trajfmt.open(path) as bundle,
        pytest.raises(CorruptError, match="the header is too short for the manifest's tensors") as caught,
    ):
        bundle[0].knot(0)
    assert (caught.value.reason, caught.value.path) == ("header_mismatch", str(file))


def test_knots_are_divided_above_four_gigabytes() -> None:
    """Unless another size is asked for, as the documentation says."""
    assert SHARD_BYTES == 4_000_000_000
    layout = ParamLayout.of([("w", (10**9,))])
    assert len(cut(layout, 2, SHARD_BYTES)) == 2
    assert len(cut(ParamLayout.of([("w", (5 * 10**8,))]), 2, SHARD_BYTES)) == 1


def test_a_header_of_exactly_the_most_tensors_is_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """One tensor more makes two files."""
    layout = ParamLayout.of([("a", (1,)), ("b", (1,))])
    for most, files in ((8, 1), (7, 2), (4, 2), (3, 4), (1, 8)):
        monkeypatch.setattr(knots, "_most_tensors", lambda *_, most=most: most)
        found = cut(layout, 4, 10**9)
        assert len(found) == files
        assert sum(each.tensors for each in found) == 8
        assert max(each.tensors for each in found) <= most

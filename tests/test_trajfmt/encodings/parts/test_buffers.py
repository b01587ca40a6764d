"""What trajectories have beside weights: buffers of any type, and the numbers of their timesteps."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import trajfmt
from tests.helpers.carried import Carrier, state, write
from trajfmt import CorruptError, ParamLayout, TimestepError
from trajfmt.bundle.extraction import extract
from trajfmt.bundle.validation import validate
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert
from trajfmt.encodings.parts import buffers
from trajfmt.storage.files import BundleFiles

Walk = Callable[..., Any]


@pytest.mark.parametrize("backend", ["mmap", "pread"])
@pytest.mark.parametrize(
    "options", [{"knots": (2, 3)}, {"encoding": "full", "codec": "zstd"}, {"shard_bytes": 8}]
)
def test_buffers_come_back_bit_for_bit(
    tmp_path: Path, layout: ParamLayout, walk: Walk, options: Any, backend: Any
) -> None:
    """Every type of safetensors, at every stored timestep; at a real t those of the last one up to t."""
    path = write(tmp_path / "a", layout, Carrier(walk(layout), layout, state), **options)
    assert validate(path) == []
    with trajfmt.open(path, verify=True, backend=backend) as bundle:
        trajectory = bundle[0]
        times = np.linspace(0, 5, 31) if bundle.encoding == "convex" else range(6)
        for t in times:
            last = max(k for k in trajectory.knots if k <= t)
            found = trajectory.buffers(float(t))
            assert found.keys() == state(0).keys()
            for name, value in state(last).items():
                assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
                assert found[name].tobytes() == value.tobytes()
                assert not found[name].flags.writeable or not found[name].size
        for t in (-0.1, 5.1, float("nan")):
            with pytest.raises(TimestepError):
                trajectory.buffers(t)


def test_nothing_carried_is_nothing(layout: ParamLayout, walk: Walk, write_bundle: Any) -> None:
    """Without buffers and numbers the manifest says nothing, and no file is written."""
    path = write_bundle(layout, walk(layout))
    with trajfmt.open(path) as bundle:
        assert (bundle[0].buffers(2.5), bundle[0].numbers) == ({}, None)
    assert b"buffers" not in (path / "manifest.json").read_bytes()
    assert not (path / "buffers").exists()


def test_buffers_file_has_one_form(tmp_path: Path, layout: ParamLayout, walk: Walk) -> None:
    """Order of names, order of bytes and memory layout of what is given do not show; any reader opens it."""

    def other(t: int) -> dict[str, Any]:
        swapped = {name: np.asarray(value) for name, value in reversed(state(t).items())}
        swapped["norm.mean"] = swapped["norm.mean"].astype(">f4")
        swapped["norm.steps"] = swapped["norm.steps"].astype(">i8")
        return swapped

    paths = [
        write(tmp_path / name, layout, Carrier(walk(layout), layout, given))
        for name, given in (("a", state), ("b", other))
    ]
    assert (paths[0] / "manifest.json").read_bytes() == (paths[1] / "manifest.json").read_bytes()
    data = (paths[0] / "buffers/00000.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    assert (8 + length) % 64 == 0
    names = list(json.loads(data[8 : 8 + length]))
    assert names == ["__metadata__", *sorted(f"{t:05d}/{name}" for t in (0, 5) for name in state(0))]


def test_standard_reader_opens_the_buffers(tmp_path: Path, layout: ParamLayout, walk: Walk) -> None:
    """The safetensors library gives the same arrays, for types that its numpy side has."""

    def plain(t: int) -> dict[str, Any]:
        return {"mean": np.array([t, -t], "<f4"), "steps": np.array(7 * t), "on": np.array([True])}

    path = write(tmp_path / "a", layout, Carrier(walk(layout), layout, plain))
    found = load_file(path / "buffers/00000.safetensors")
    assert {name: value.tolist() for name, value in found.items()} == {
        f"{t:05d}/{name}": value.tolist() for t in (0, 5) for name, value in plain(t).items()
    }


def test_extracted_checkpoint_has_buffers(tmp_path: Path, layout: ParamLayout, walk: Walk) -> None:
    """Parameters by name, and the buffers of the last stored timestep, in one file."""

    def plain(t: int) -> dict[str, Any]:
        return {"mean": np.array([t, -t], "<f4"), "steps": np.array(7 * t)}

    path = write(tmp_path / "a", layout, Carrier(walk(layout), layout, plain), knots=(3,))
    with trajfmt.open(path) as bundle:
        extract(bundle, 0, 4.5, tmp_path / "out.safetensors")
        weights = layout.split(bundle[0].at(4.5))
    found = load_file(tmp_path / "out.safetensors")
    assert found.keys() == {"fc.weight", "fc.bias", "scale", "mean", "steps"}
    assert all(np.array_equal(found[name], weights[name]) for name in weights)
    assert (found["mean"].tolist(), found["steps"].tolist()) == ([3, -3], 21)


@pytest.mark.parametrize("codec", ["none", "archive"])
def test_conversions_carry_everything(tmp_path: Path, layout: ParamLayout, walk: Walk, codec: Any) -> None:
    """From full to convex and to another codec, windows included; from convex to full, whole timesteps."""
    numbers = (0, 10, 25, 26, 400, 401)
    full = write(
        tmp_path / "a.mtt",
        layout,
        Carrier(walk(layout), layout, state, numbers),
        encoding="full",
        codec=codec,
    )
    convert(full, tmp_path / "b.mct", ConvertOptions(knots=(2,), timesteps=(1, 6)))
    convert(full, tmp_path / "c.mtt", ConvertOptions(codec="zstd"))
    convert(tmp_path / "b.mct", tmp_path / "d.mtt")
    for name, first, stored in (
        ("b.mct", 1, [0, 0, 2, 2, 4]),
        ("c.mtt", 0, range(6)),
        ("d.mtt", 1, [0, 0, 2, 2, 4]),
    ):
        assert validate(tmp_path / name) == []
        with trajfmt.open(tmp_path / name) as bundle:
            assert bundle[0].numbers == numbers[first:]
            for t, last in enumerate(stored):
                found = bundle[0].buffers(t)
                assert found["norm.steps"].tolist() == 7 * (first + last)
                assert found["norm.mean"].tolist() == [first + last, -first - last]


def test_buffers_survive_an_interruption(tmp_path: Path, layout: ParamLayout, walk: Walk) -> None:
    """A writer that continues another's job takes over the files of buffers, and the shards."""
    target, sources = tmp_path / "a.mct", [Carrier(walk(layout, seed=s), layout, state) for s in range(2)]
    options: Any = {"encoding": "convex", "shard_bytes": 40, "job": b"job"}
    writer = trajfmt.create(target, layout, **options)
    writer.add(sources[0])
    writer.release()
    with trajfmt.create(target, layout, **options) as writer:
        assert len(writer.recover()) == 1
        writer.add(sources[1])
    assert validate(target) == []
    whole = write(tmp_path / "b.mct", layout, *sources, shard_bytes=40)
    assert (target / "manifest.json").read_bytes() == (whole / "manifest.json").read_bytes()


def test_more_module_buffers_than_a_header_may_hold_are_refused(tmp_path: Path) -> None:
    """The writer says so, and leaves no file, instead of writing what no reader accepts."""
    one = np.zeros((), "u1")
    names = {f"n{i}": one for i in range(1000)}
    buffers.write(tmp_path / "fits", [(t, names) for t in range(10)])
    with pytest.raises(CorruptError, match="got 200000 of 200 timesteps; keep fewer") as caught:
        buffers.write(tmp_path / "heavy", [(t, names) for t in range(200)])
    assert caught.value.reason == "source_invalid"
    assert [path.name for path in tmp_path.iterdir()] == ["fits"]


def test_claimed_timesteps_without_buffers_cost_nothing(tmp_path: Path) -> None:
    """A file without a tensor may belong to any number of timesteps; one that lacks a timestep may not."""
    buffers.write(tmp_path / "none", [(0, {})])
    buffers.write(tmp_path / "one", [(0, {"n": np.zeros(2)})])
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    files = BundleFiles(tmp_path, sizes)
    none = buffers.Buffers(files, "none", range(2**31))
    none.check()
    assert none.at(2**30) == {}
    assert list(buffers.Buffers(files, "one", range(1)).at(0)) == ["n"]
    with pytest.raises(CorruptError, match="every stored timestep"):
        buffers.Buffers(files, "one", range(2**31)).check()


def test_buffers_survive_pickling(tmp_path: Path, layout: ParamLayout, walk: Walk) -> None:
    """Before and after their header was read: the copy reads it again."""
    path = write(tmp_path / "a.mct", layout, Carrier(walk(layout), layout, state))
    with trajfmt.open(path) as bundle:
        trajectory = bundle[0]
        before = pickle.dumps(trajectory)
        expected = trajectory.buffers(5)
        for copied in (pickle.loads(before), pickle.loads(pickle.dumps(trajectory))):
            found = copied.buffers(5)
            assert found.keys() == expected.keys()
            assert all(found[name].tobytes() == value.tobytes() for name, value in expected.items())


def test_a_file_of_buffers_says_what_it_holds(tmp_path: Path, layout: ParamLayout, walk: Walk) -> None:
    """In the metadata, as the specification spells it."""
    path = write(tmp_path / "a.mct", layout, Carrier(walk(layout), layout, state))
    with safe_open(path / "buffers/00000.safetensors", "np") as file:
        assert file.metadata() == {"trajfmt": '{"holds":"buffers"}'}


@pytest.mark.parametrize("encoding", ["convex", "full"])
def test_a_header_of_buffers_is_checked_on_request(
    tmp_path: Path, layout: ParamLayout, walk: Walk, encoding: str
) -> None:
    """Also if no buffer is asked for."""
    path = write(tmp_path / "a", layout, Carrier(walk(layout), layout, state), encoding=encoding)
    with trajfmt.open(path) as bundle:
        bundle[0].check_buffers()
    file = path / "buffers/00000.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:8] + b"[" + data[9:])
    with trajfmt.open(path) as bundle, pytest.raises(CorruptError):
        bundle[0].check_buffers()


def test_buffers_of_the_most_dimensions(tmp_path: Path, layout: ParamLayout, walk: Walk) -> None:
    """Eight, with sizes of one, two and none."""
    shapes = [(1,) * 8, (2, 1) * 4, (2, 0, 1, 1, 1, 1, 1, 3)]
    held = {str(n): np.arange(math.prod(shape)).reshape(shape) for n, shape in enumerate(shapes)}
    path = write(tmp_path / "a.mct", layout, Carrier(walk(layout), layout, lambda _: held))
    with trajfmt.open(path) as bundle:
        found = bundle[0].buffers(5)
    assert {name: (values.shape, values.tolist()) for name, values in found.items()} == {
        name: (values.shape, values.tolist()) for name, values in held.items()
    }

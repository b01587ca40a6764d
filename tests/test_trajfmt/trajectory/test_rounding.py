"""Storing weights in another type: rounded once, refused beyond its range, the error told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest

import trajfmt
from trajfmt import ArrayTrajectory, ParamLayout, SourceError, UsageError
from trajfmt.bundle.validation import validate
from trajfmt.convert.events import Event
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert
from trajfmt.encodings.convex.reader import ConvexTrajectory
from trajfmt.schema.layout import DTYPES
from trajfmt.trajectory.rounding import Rounding, describe, finite, narrow

BF16 = DTYPES["BF16"]
Walk = Callable[..., Any]


def every_bfloat16() -> np.ndarray:
    """Return all finite bfloat16 numbers as rising float64, each once."""
    numbers = np.arange(2**16, dtype=np.uint16).view(BF16)
    return np.unique(numbers[finite_mask(numbers)].astype(np.float64))


def finite_mask(numbers: np.ndarray) -> np.ndarray:
    """Return which bfloat16 numbers are finite, by their bits."""
    return (numbers.view(np.uint16) & 0x7F80) != 0x7F80


def nearest(values: np.ndarray) -> np.ndarray:
    """Return the nearest bfloat16 of each value, by comparing distances exactly; ties to even."""
    numbers = every_bfloat16()
    index = np.clip(np.searchsorted(numbers, values), 1, numbers.size - 1)
    low, high = numbers[index - 1], numbers[index]
    down, up = values - low, high - values
    even = (low.astype(BF16).view(np.uint16) & 1) == 0
    return np.where((down < up) | ((down == up) & even), low, high)


@pytest.mark.parametrize("shift", [0.0, np.inf, -np.inf])
def test_float64_is_rounded_once_to_bfloat16(shift: float) -> None:
    """At every midpoint of two neighbours, and a hair beside it, where a way by float32 would go wrong."""
    numbers = every_bfloat16()
    middles = (numbers[1:] + numbers[:-1]) / 2
    values = np.nextafter(middles, shift) if shift else middles
    assert np.array_equal(narrow(values, BF16).astype(np.float64), nearest(values))
    if shift:
        assert not np.array_equal(values.astype(np.float32).astype(BF16), narrow(values, BF16))


def test_bfloat16_keeps_what_it_can_hold() -> None:
    """Its own numbers, infinities and NaN stay; what is beyond its range becomes infinite."""
    numbers = every_bfloat16()
    assert np.array_equal(narrow(numbers, BF16).astype(np.float64), numbers)
    odd = narrow(np.array([np.inf, -np.inf, 1e300, np.nan]), BF16).astype(np.float64)
    assert odd[:3].tolist() == [np.inf, -np.inf, np.inf]
    assert np.isnan(odd[3])


@pytest.mark.parametrize("dtype", list(DTYPES))
def test_finite_sees_every_kind_of_number(dtype: str) -> None:
    """NaN and infinities anywhere, in blocks."""
    values = np.ones(2**18 + 3, DTYPES[dtype])
    assert finite(values)
    for bad in (np.nan, np.inf, -np.inf):
        values[-1] = bad
        assert not finite(values)
        values[-1] = 1


def test_rounding_is_measured() -> None:
    """Relative errors by the definition, in float64; zeros count for nothing."""
    exact = np.array([0.0, 1.0, 3.0])
    error = Rounding.of(exact, np.array([0.0, 1.5, 3.0]))
    assert (error.largest, error.norm) == (0.5, pytest.approx(0.5 / np.sqrt(10)))
    assert Rounding.of(exact[:2], np.array([0.0, 1.5])) + Rounding.of(exact[2:], exact[2:]) == error
    assert "timestep 7: 0.5, 0.16" in describe({7: error}, "F16")


@pytest.mark.parametrize("smooth", [False, True])
def test_betas_are_of_the_original_and_weights_are_rounded_once(
    tmp_path: Path, layout: ParamLayout, walk: Walk, smooth: bool
) -> None:
    """float32 stored as bfloat16: the tables of the float32 bundle, knots from exact means rounded once."""
    theta = walk(layout, timesteps=8)
    wide, small = tmp_path / "wide.mct", tmp_path / "small.mct"
    options: Any = {"encoding": "convex", "knots": (3,), "smooth": smooth, "gram": True}
    for path, stored in ((wide, layout), (small, layout.cast("BF16"))):
        with trajfmt.create(path, stored, cast=True, **options) as writer:
            writer.add(ArrayTrajectory(theta, layout))
    exact = theta.astype(np.float64)
    rows = [exact[0], (exact[2] + exact[4]) / 2, (exact[6] + exact[7]) / 2] if smooth else exact[[0, 3, 7]]
    with trajfmt.open(wide) as a, trajfmt.open(small) as b:
        assert isinstance(a[0], ConvexTrajectory)
        assert isinstance(b[0], ConvexTrajectory)
        assert np.array_equal(a[0].u, b[0].u)
        assert np.array_equal(a[0].gram, b[0].gram)
        for k, row in enumerate(rows):
            assert np.array_equal(b[0].knot(k).astype(np.float64), nearest(row))
        assert (b.layout.dtype, a.layout.dtype) == ("BF16", "F32")
    assert validate(small) == []


def test_another_type_is_refused_unless_asked_for(tmp_path: Path, layout: ParamLayout, walk: Walk) -> None:
    """Without `cast` a layout's type is binding."""
    with (
        pytest.raises(UsageError, match=r"must be .* BF16, got .* float32"),
        trajfmt.create(tmp_path / "a.mct", layout.cast("BF16"), encoding="convex") as writer,
    ):
        writer.add(ArrayTrajectory(walk(layout), layout))


@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
def test_weights_beyond_the_type_are_refused(
    tmp_path: Path, layout: ParamLayout, walk: Walk, write_bundle: Any, suffix: str
) -> None:
    """1e6 is finite, but not in float16."""
    theta = walk(layout)
    theta[-1, 7] = 1e6
    source = write_bundle(layout, theta, encoding="full", name="source.mtt")
    with pytest.raises(SourceError, match=r"timestep 5, parameter `fc.bias`: too large for F16") as caught:
        convert(source, tmp_path / f"out{suffix}", ConvertOptions(dtype="F16"))
    assert caught.value.reason == "non_finite"
    assert not (tmp_path / f"out{suffix}").exists()


@pytest.mark.parametrize("encoding", ["convex", "full"])
def test_conversion_tells_the_error(
    tmp_path: Path, layout: ParamLayout, walk: Walk, write_bundle: Any, encoding: str
) -> None:
    """One notice, with the largest relative error of one weight and of all, as float64 has it."""
    theta = walk(layout)
    source = write_bundle(layout, theta, encoding="full", name="source.mtt")
    target = tmp_path / ("out.mct" if encoding == "convex" else "out.mtt")
    events: list[Event] = []
    convert(source, target, ConvertOptions(dtype="BF16"), on_event=events.append)
    (message,) = [event.message for event in events if event.message.startswith("stored in BF16")]
    exact = theta.astype(np.float64)
    stored = nearest(exact)
    for t in (0, 5):
        largest = np.abs((stored[t] - exact[t]) / exact[t]).max()
        norm = np.linalg.norm(stored[t] - exact[t]) / np.linalg.norm(exact[t])
        assert f"timestep {t}: {largest:.2g}, {norm:.2g}" in message
    with trajfmt.open(target) as bundle:
        assert np.array_equal(bundle[0].at(5).astype(np.float64), stored[5])
    assert validate(target) == []


def test_stored_type_does_not_depend_on_the_way(
    tmp_path: Path, layout: ParamLayout, walk: Walk, write_bundle: Any
) -> None:
    """Rounded when it is convexified, or afterwards from a bundle: the same knots and betas."""
    full = write_bundle(layout, walk(layout), encoding="full", name="source.mtt")
    convert(full, tmp_path / "at-once.mct", ConvertOptions(dtype="BF16", knots=(2,)))
    convert(full, tmp_path / "wide.mct", ConvertOptions(knots=(2,)))
    convert(tmp_path / "wide.mct", tmp_path / "later.mct", ConvertOptions(dtype="BF16"))
    with trajfmt.open(tmp_path / "at-once.mct") as a, trajfmt.open(tmp_path / "later.mct") as b:
        one, other = a.manifest.trajectories[0], b.manifest.trajectories[0]
        assert one.digest == other.digest
        assert np.array_equal(a[0].u, b[0].u)  # type: ignore[attr-defined]
        assert (a.path / one.file).read_bytes() == (b.path / other.file).read_bytes()
    assert validate(tmp_path / "later.mct") == []


class Mixed:
    """A source whose second parameter is float16."""

    timesteps = 3

    def read(self, t: int, parameter: int) -> np.ndarray:
        """Return one parameter."""
        return np.full((6, 2, 1)[parameter], t + 0.5, np.float16 if parameter == 1 else np.float32)


@pytest.mark.parametrize("encoding", ["convex", "full"])
def test_mixed_types_are_stored_in_one(tmp_path: Path, layout: ParamLayout, encoding: Any) -> None:
    """With `cast`, every parameter may have a type of its own."""
    with trajfmt.create(tmp_path / "a", layout, encoding=encoding, cast=True) as writer:
        writer.add(Mixed())
    with trajfmt.open(tmp_path / "a") as bundle:
        assert bundle[0].at(2).tolist() == [2.5] * 9
    assert validate(tmp_path / "a") == []


@pytest.mark.parametrize("codec", ["none", "zstd", "archive"])
def test_bfloat16_round_trip_is_exact(layout: ParamLayout, walk: Walk, write_bundle: Any, codec: str) -> None:
    """Every codec gives back the bits; HDF5's own library reads the numbers."""
    pytest.importorskip("hdf5plugin")
    small = layout.cast("BF16")
    theta = walk(layout).astype(BF16)
    path = write_bundle(small, theta, encoding="full", codec=codec, name="a.mtt")
    with trajfmt.open(path, verify=True) as bundle:
        assert all(np.array_equal(bundle[0].at(t), theta[t]) for t in range(6))
        assert bundle[0].pieces(3, 2, 8).tobytes() == theta[3, 2:8].tobytes()
        file = path / str(bundle.manifest.trajectories[0].file)
    assert validate(path) == []
    with h5py.File(file) as stored:
        if codec == "archive":
            assert np.array_equal(stored["delta"][0], theta[0].view(np.uint16))
        else:
            assert np.array_equal(stored["theta"][()], theta.astype(np.float32))
    again = write_bundle(small, theta, encoding="full", codec=codec, name="b.mtt")
    assert (again / "manifest.json").read_bytes() == (path / "manifest.json").read_bytes()


def test_validation_finds_what_is_not_finite_in_bfloat16(
    layout: ParamLayout, walk: Walk, write_bundle: Any, edit_manifest: Any
) -> None:
    """A NaN is named by timestep and parameter."""
    theta = walk(layout).astype(BF16)
    path = write_bundle(layout.cast("BF16"), theta, encoding="full", name="a.mtt")
    with trajfmt.open(path) as bundle:
        entry: Any = bundle.manifest.trajectories[0]
    data = bytearray((path / entry.file).read_bytes())
    place = entry.data + 2 * (4 * 9 + 7)
    data[place : place + 2] = np.array([np.nan], BF16).tobytes()
    (path / entry.file).write_bytes(bytes(data))
    edit_manifest(path)
    (problem,) = validate(path)
    assert problem.reason == "non_finite"
    assert "timestep 4, parameter `fc.bias`" in problem.message


def test_weights_between_knots_are_within_half_a_unit(
    layout: ParamLayout, walk: Walk, write_bundle: Any
) -> None:
    """Real t in bfloat16: the float64 interpolation of the stored knots, rounded once."""
    small = layout.cast("BF16")
    path = write_bundle(small, walk(layout, timesteps=9).astype(BF16), knots=(4,))
    with trajfmt.open(path) as bundle:
        trajectory: Any = bundle[0]
        knots = [trajectory.knot(k).astype(np.float64) for k in range(3)]
        for t in np.linspace(0, 8, 97):
            segment, weight = trajectory.locate(float(t))
            owner = np.repeat([0, 1, 2], [6, 2, 1])
            s, w = segment[owner], weight[owner]
            low = np.choose(s, knots)
            high = np.choose(s + 1, knots)
            exact = (1 - w) * low + w * high
            assert np.array_equal(trajectory.at(float(t)).astype(np.float64), nearest(exact))


def test_types_of_the_layout() -> None:
    """`cast` changes the type and nothing else; an unknown type is refused."""
    layout = ParamLayout.of([("a", (2,)), ("b", (3,))], layers="all")
    assert (layout.cast("BF16").layers, layout.cast("BF16").nbytes) == (layout.layers, 10)
    assert layout.cast("BF16").numpy_dtype == ml_dtypes.bfloat16
    with pytest.raises(UsageError, match="dtype"):
        ConvertOptions(dtype="F8")  # type: ignore[arg-type]


@pytest.mark.parametrize("disguise", ["<f2", "<u2", ">f2", "bias"])
def test_hdf5_must_say_bfloat16(
    layout: ParamLayout, walk: Walk, write_bundle: Any, edit_manifest: Any, disguise: str
) -> None:
    """The same bytes under another type of the same width: other programs would read other numbers."""
    theta = walk(layout).astype(BF16)
    path = write_bundle(layout.cast("BF16"), theta, encoding="full", name="a.mtt")
    with trajfmt.open(path) as bundle:
        file = path / str(bundle.manifest.trajectories[0].file)
    kind = h5py.h5t.IEEE_F16LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_ebias(15)
    kind = kind if disguise == "bias" else h5py.h5t.py_create(np.dtype(disguise))
    with h5py.File(file, "w") as other:
        dataset = h5py.h5d.create(other.id, b"theta", kind, h5py.h5s.create_simple(theta.shape))
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, theta.view(np.uint16), kind)
        offset = dataset.get_offset()

    def move(manifest: dict[str, Any]) -> None:
        manifest["trajectories"][0]["data"] = offset

    edit_manifest(path, move)
    with trajfmt.open(path) as bundle:
        assert np.array_equal(bundle[0].at(3), theta[3])
    assert [problem.reason for problem in validate(path)] == ["header_mismatch"]

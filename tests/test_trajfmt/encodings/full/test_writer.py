"""Files of all timesteps, by stock HDF5 tools and by the words of the specification."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from tests.helpers.equations import SHAPES
from trajfmt import ArrayTrajectory, ParamLayout, SourceError, UsageError
from trajfmt.bundle.validation import validate
from trajfmt.codecs.archive import KEYFRAME
from trajfmt.encodings.full import encoder, writer
from trajfmt.trajectory.rounding import Rounding

Array = NDArray[np.generic]


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_theta_is_what_stock_hdf5_reads(codec: str, theta: Array, write_bundle: Callable[..., Path]) -> None:
    """h5py, for zstd with hdf5plugin, reads dataset `theta`."""
    if codec == "zstd":
        pytest.importorskip("hdf5plugin")
    layout = ParamLayout.of(SHAPES)
    theta = theta.astype("<f4")
    path = write_bundle(layout, theta, encoding="full", codec=codec)
    with h5py.File(path / "theta/00000.h5") as file:
        assert list(file) == ["theta"]
        assert file["theta"].dtype.str == "<f4"
        assert file["theta"][()].tobytes() == theta.tobytes()


def test_archive_is_what_the_specification_says(theta: Array, write_bundle: Callable[..., Path]) -> None:
    """Dataset `delta` holds bits at keyframes, and between them zigzag differences from predictions."""
    pytest.importorskip("hdf5plugin")
    layout = ParamLayout.of(SHAPES)
    theta = theta.astype("<f4")
    theta = np.concatenate([theta, theta[::-1]])  # more timesteps than a keyframe distance
    path = write_bundle(layout, theta, encoding="full", codec="archive")
    with trajfmt.open(path) as bundle:
        slopes = bundle.manifest.trajectories[0].chunks.slopes
    with h5py.File(path / "theta/00000.h5") as file:
        assert file["delta"].attrs["keyframe"] == KEYFRAME
        codes = file["delta"][()].astype(object)
    bits = theta.view("<u4").astype(object)
    assert len(slopes) == len(theta) > KEYFRAME
    for t, slope in enumerate(slopes):
        if t % KEYFRAME == 0:
            assert (codes[t] == bits[t]).all()
            continue
        before = bits[t - 2] if t % KEYFRAME >= 2 else bits[t - 1]
        predicted = bits[t - 1] + signed(slope * (bits[t - 1] - before)) // 4
        error = signed(bits[t] - predicted)
        assert (codes[t] == np.where(error >= 0, 2 * error, -2 * error - 1)).all()


def signed(values: Array) -> Array:
    """Return Python's integers modulo 2**32 as two's complement."""
    return (values + 2**31) % 2**32 - 2**31


def test_earlier_timesteps_are_kept_or_read_again(
    theta: Array, write_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small timesteps are kept for the prediction, large ones are read again: the bytes are the same."""
    monkeypatch.setattr(encoder, "CHUNK", 5)
    theta = np.concatenate([theta, theta[::-1]]).astype("<f4")
    layout, reads = ParamLayout.of(SHAPES), {}
    of = writer._Pieces.of
    for keep in (0, theta[0].nbytes - 1, theta[0].nbytes, writer.KEEP):
        asked: list[int] = []
        monkeypatch.setattr(writer, "KEEP", keep)
        monkeypatch.setattr(writer._Pieces, "of", lambda self, t, n, a=asked: a.append(t) or of(self, t, n))
        path = write_bundle(layout, theta, name=f"{keep}.mtt", encoding="full", codec="archive")
        reads[keep] = (len(asked), (path / "theta/00000.h5").read_bytes())
    times = [1 + min(t % KEYFRAME, 2) for t in range(len(theta))]
    assert [count for count, _ in reads.values()] == [sum(times)] * 2 + [len(theta)] * 2
    assert len({data for _, data in reads.values()}) == 1


def test_archive_is_smaller_than_zstd_on_a_slow_walk(write_bundle: Callable[..., Path]) -> None:
    """Small steps leave small differences: that is what the codec is for."""
    layout = ParamLayout.of([("w", (20000,))])
    rng = np.random.default_rng(0)
    theta = (rng.standard_normal(20000) + 1e-4 * rng.standard_normal((9, 20000)).cumsum(0)).astype("<f4")
    size = {}
    for codec in ("none", "zstd", "archive"):
        path = write_bundle(layout, theta, name=f"{codec}.mtt", encoding="full", codec=codec)
        size[codec] = (path / "theta/00000.h5").stat().st_size
    assert size["archive"] < 0.8 * size["zstd"] < 0.8 * size["none"]


@pytest.mark.parametrize("codec", ["none", "zstd", "archive"])
def test_weights_that_are_nearly_all_zeros_are_stored_with_codec_none(
    codec: str, tmp_path: Path, write_bundle: Callable[..., Path]
) -> None:
    """Another codec would shrink them so far that no reader accepts the bundle: nothing is left of it."""
    theta = np.zeros((2, 200_000), "<f4")
    theta[1, 7] = 1.0
    layout = ParamLayout.of([("w", (200_000,))])
    if codec == "none":
        assert validate(write_bundle(layout, theta, encoding="full", codec=codec)) == []
        return
    with pytest.raises(UsageError, match="store them with codec `none`"):
        write_bundle(layout, theta, encoding="full", codec=codec)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_weights_that_never_move_are_refused(
    codec: str, tmp_path: Path, layout: ParamLayout, write_bundle: Callable[..., Path]
) -> None:
    """Nothing is left of them."""
    with pytest.raises(SourceError) as caught:
        write_bundle(layout, np.ones((4, layout.size), "<f4"), encoding="full", codec=codec)
    assert caught.value.reason == "no_motion"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("codec", ["none", "zstd", "archive"])
def test_bfloat16_is_a_float_of_its_own_in_hdf5(
    codec: str, theta: Array, write_bundle: Callable[..., Path]
) -> None:
    """8 bits of exponent and 7 of fraction, so that stock HDF5 tools see the same numbers."""
    layout = ParamLayout.of(SHAPES, dtype="BF16")
    theta = theta.astype(layout.numpy_dtype)
    path = write_bundle(layout, theta, encoding="full", codec=codec)
    assert validate(path) == []
    with trajfmt.open(path, verify=True) as bundle:
        for t, row in enumerate(theta):
            assert bundle[0].knot(t).tobytes() == row.tobytes()
    if codec == "none":
        with h5py.File(path / "theta/00000.h5") as file:
            kind = file["theta"].id.get_type()
            assert (kind.get_fields(), kind.get_ebias(), kind.get_size()) == ((15, 7, 8, 0, 7), 127, 2)
            assert np.array_equal(file["theta"][()], theta.astype("<f4"))


def test_rounding_of_every_timestep_is_recorded_and_bounded(
    layout: ParamLayout, walk: Callable[..., Array], tmp_path: Path
) -> None:
    """Wider weights are rounded to the type that is stored; one that overflows it is named."""
    wide = ParamLayout.of([(each.name, each.shape) for each in layout.parameters], dtype="F64")
    theta = walk(wide)
    with trajfmt.create(tmp_path / "a.mtt", layout, encoding="full", cast=True) as made:
        made.add(ArrayTrajectory(theta, wide))
        worst = made.rounding
    assert list(worst) == list(range(len(theta)))
    for error, row in zip(worst.values(), theta, strict=True):
        expected = Rounding.of(row, row.astype("<f4"))
        assert (error.largest, error.error) == (expected.largest, expected.error)
        assert error.error > 0
    theta[2, 8] = 1e39
    failed = trajfmt.create(tmp_path / "b.mtt", layout, encoding="full", cast=True)
    with pytest.raises(SourceError, match="too large for F32") as caught:
        failed.add(ArrayTrajectory(theta, wide))
    assert (caught.value.timestep, caught.value.parameter) == (2, "scale")
    failed.discard()


def test_an_unknown_codec_is_refused(layout: ParamLayout) -> None:
    """The known ones are named."""
    with pytest.raises(UsageError, match="`codec` must be one of none, zstd, archive, got 'lz4'"):
        encoder.codec_for("lz4", layout)


@pytest.mark.parametrize(("codec", "count"), [("none", 1), ("zstd", 0)])
def test_room_for_all_timesteps_is_tried_for_first(
    codec: str,
    count: int,
    theta: Array,
    write_bundle: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where their size is known before they are written."""
    asked: list[int] = []
    monkeypatch.setattr(writer, "reserve", lambda _, nbytes: asked.append(nbytes))
    layout = ParamLayout.of(SHAPES)
    write_bundle(layout, theta.astype("<f4"), encoding="full", codec=codec)
    assert asked == [13 * layout.nbytes] * count

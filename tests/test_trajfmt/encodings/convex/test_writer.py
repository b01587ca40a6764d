"""What convexifying stores: smoothed knots, and the shape of the path."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from tests.helpers.equations import SHAPES, beta_of
from trajfmt import ArrayTrajectory, ParamLayout, SourceError, UsageError
from trajfmt.encodings.convex import encoder
from trajfmt.trajectory.recorder import PathRecorder
from trajfmt.trajectory.rounding import Rounding

Array = NDArray[np.generic]


@pytest.mark.parametrize("dtype", ["F16", "F32", "F64"])
def test_smoothing_averages_knots_after_the_betas(
    dtype: str, theta: Array, write_bundle: Callable[..., Path]
) -> None:
    """Inserted knots become the mean of their neighbours, the last that of the last two; betas stay."""
    layout = ParamLayout.of(SHAPES, dtype=dtype)  # type: ignore[arg-type]
    theta = theta.astype(layout.numpy_dtype)
    path = write_bundle(layout, theta, knots=(1, 5, 11), smooth=True)
    with trajfmt.open(path) as bundle:
        item: Any = bundle[0]
        wide = theta.astype(np.float64)
        expected = [
            wide[0],
            *((wide[t - 1] + wide[t + 1]) / 2 for t in (1, 5, 11)),
            (wide[11] + wide[12]) / 2,
        ]
        for k, direct in enumerate(expected):
            assert item.knot(k).tobytes() == direct.astype(layout.numpy_dtype).tobytes()
        assert np.abs(item.u - beta_of(theta, layout, [0, 1, 5, 11, 12])).max() <= 1e-12
    assert json.loads((path / "manifest.json").read_bytes())["smoothed"] is True


def test_gram_matrix_keeps_the_shape_of_the_path(theta: Array, write_bundle: Callable[..., Path]) -> None:
    """Distances between any two original timesteps follow from it."""
    layout = ParamLayout.of(SHAPES)
    theta = theta.astype("<f4")
    with trajfmt.open(write_bundle(layout, theta, gram=True)) as bundle:
        gram = bundle[0].gram  # type: ignore[attr-defined]
        moved = theta.astype(np.float64) - theta[0].astype(np.float64)
        assert np.allclose(gram, moved @ moved.T, rtol=0, atol=1e-11 * np.abs(gram).max())


def test_table_that_no_reader_accepts_is_refused_before_the_work(
    layout: ParamLayout,
    walk: Callable[..., Any],
    write_bundle: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Timesteps times layers: exactly the limit is written, and one element less is too little room."""
    theta = walk(layout)
    size = len(theta) * layout.num_layers
    monkeypatch.setattr(encoder, "MAX_TABLE", size)
    write_bundle(layout, theta)
    monkeypatch.setattr(encoder, "MAX_TABLE", size - 1)
    with pytest.raises(UsageError, match=f"at most {size - 1} elements, got {len(theta)} timesteps"):
        write_bundle(layout, theta, name="more.mct")


def test_rounding_of_knots_is_recorded_and_bounded(
    layout: ParamLayout, walk: Callable[..., Any], tmp_path: Path
) -> None:
    """Wider weights are rounded to the type that is stored; one that overflows it is named."""
    wide = ParamLayout.of([(each.name, each.shape) for each in layout.parameters], dtype="F64")
    theta = walk(wide)
    with trajfmt.create(tmp_path / "a.mct", layout, encoding="convex", knots=(2,), cast=True) as writer:
        writer.add(ArrayTrajectory(theta, wide))
        worst = writer.rounding
    assert sorted(worst) == [0, 2, 5]
    for t, error in worst.items():
        expected = Rounding.of(theta[t], theta[t].astype("<f4"))
        assert (error.largest, error.error) == (expected.largest, expected.error)
        assert error.error > 0
    with trajfmt.open(tmp_path / "a.mct") as bundle:
        assert bundle[0].knot(1).tobytes() == theta[2].astype("<f4").tobytes()
    theta[5, 7] = 1e39
    writer = trajfmt.create(tmp_path / "b.mct", layout, encoding="convex", cast=True)
    with pytest.raises(SourceError, match="too large for F32") as caught:
        writer.add(ArrayTrajectory(theta, wide))
    assert (caught.value.timestep, caught.value.parameter) == (5, "fc.bias")
    writer.discard()


def test_a_recorded_trajectory_must_have_the_settings_of_the_bundle(
    layout: ParamLayout, walk: Callable[..., Any], tmp_path: Path
) -> None:
    """Its waypoints are gone, so that other knots cannot be taken: both settings are named."""

    def recorded(**options: Any) -> Any:
        recorder = PathRecorder(layout, **options)
        for theta in walk(layout):
            recorder.add(theta)
        return recorder.finish()

    for asked, given, words in (
        ({"knots": (2,)}, {"knots": (2,), "smooth": True}, "has knots 2, but the .* with knots 2, smoothed"),
        ({"knots": (2,)}, {"knots": (3,)}, "has knots 2, but the trajectory was recorded with knots 3"),
        ({"gram": True}, {}, "has two endpoints, Gram matrix, but the .* with two endpoints$"),
    ):
        writer = trajfmt.create(tmp_path / "a.mct", layout, encoding="convex", **asked)
        with pytest.raises(UsageError, match=words):
            writer.add(recorded(**given))
        writer.discard()
    writer = trajfmt.create(tmp_path / "a.mtt", layout, encoding="full")
    with pytest.raises(UsageError, match=r"was recorded convexified and has no waypoints; write a \.mct"):
        writer.add(recorded())
    writer.discard()
    with trajfmt.create(tmp_path / "a.mct", layout, encoding="convex", knots=(2,), smooth=True) as writer:
        writer.add(recorded(knots=(2,), smooth=True))

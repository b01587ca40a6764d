"""Recording while training: bit for bit what a conversion makes of all timesteps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from tests.helpers.folders import contents
from trajfmt import ParamLayout, SourceError, UsageError
from trajfmt.trajectory.recorder import PathRecorder, Recorded

SHAPES = [("a.weight", (90, 91)), ("a.bias", (300,)), ("b.weight", (5,))]
"""The first has more than one block at 60 timesteps."""


def record(layout: ParamLayout, theta: Any, **settings: Any) -> Recorded:
    """Return a trajectory recorded timestep by timestep from one buffer that is overwritten."""
    recorder = PathRecorder(layout, **settings)
    live = np.empty_like(theta[0])
    for row in theta:
        live[:] = row
        recorder.add(live)
    return recorder.finish()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"knots": (1, 7, 30)},
        {"knots": (1, 2, 58), "smooth": True},
        {"average": 4},
        {"knots": (2, 3, 55), "average": 3},
    ],
)
@pytest.mark.parametrize("dtype", ["F16", "F32", "F64"])
@pytest.mark.parametrize("layers", ["tensor", "all"])
def test_recorded_bundle_equals_the_converted_one(
    tmp_path: Path,
    write_bundle: Callable[..., Path],
    walk: Callable[..., Any],
    dtype: Any,
    layers: Any,
    settings: dict[str, Any],
) -> None:
    """Every byte of every file, manifest included, is the same."""
    layout = ParamLayout.of(SHAPES, dtype=dtype, layers=layers)
    thetas = [walk(layout, timesteps=60), walk(layout, timesteps=61, seed=1)]
    converted = write_bundle(layout, *thetas, name="converted.mct", **settings)
    with trajfmt.create(tmp_path / "recorded.mct", layout, encoding="convex", **settings) as bundle:
        for theta in thetas:
            bundle.add(record(layout, theta, **settings))
    assert contents(tmp_path / "recorded.mct") == contents(converted)


def test_shortest_recording(
    tmp_path: Path, write_bundle: Callable[..., Path], walk: Callable[..., Any]
) -> None:
    """Two timesteps are a trajectory, also for the recorder."""
    layout = ParamLayout.of(SHAPES)
    theta = walk(layout, timesteps=2)
    with trajfmt.create(tmp_path / "recorded.mct", layout, encoding="convex") as bundle:
        bundle.add(record(layout, theta))
    assert contents(tmp_path / "recorded.mct") == contents(write_bundle(layout, theta, name="c.mct"))


@pytest.mark.parametrize(
    ("timesteps", "knots", "average"), [(1, (), 1), (3, (2,), 1), (3, (5,), 1), (3, (), 3), (5, (3,), 5)]
)
def test_too_short_recording_is_refused(
    walk: Callable[..., Any], timesteps: int, knots: tuple[int, ...], average: int
) -> None:
    """Fewer than two timesteps, an inserted knot that is not before the end, or a mean of later timesteps."""
    layout = ParamLayout.of(SHAPES)
    with pytest.raises(SourceError) as caught:
        record(layout, walk(layout, timesteps=timesteps), knots=knots, average=average)
    assert caught.value.reason == "too_few_timesteps"


def test_weight_that_is_not_finite_is_named(walk: Callable[..., Any]) -> None:
    """The moment it happens, with the number of the timestep."""
    layout = ParamLayout.of(SHAPES)
    recorder = PathRecorder(layout)
    theta = walk(layout, timesteps=3)
    theta[2, -1] = np.nan
    recorder.add(theta[0])
    recorder.add(theta[1])
    with pytest.raises(SourceError, match=r"timestep 2, parameter `b\.weight`"):
        recorder.add(theta[2])
    assert len(recorder) == 2


def test_standing_still_is_refused(tmp_path: Path, walk: Callable[..., Any]) -> None:
    """A module that is not trained has no trajectory."""
    layout = ParamLayout.of(SHAPES)
    theta = np.repeat(walk(layout, timesteps=1), 4, axis=0)
    bundle = trajfmt.create(tmp_path / "out.mct", layout, encoding="convex")
    with pytest.raises(SourceError) as caught:
        bundle.add(record(layout, theta))
    bundle.discard()
    assert caught.value.reason == "no_motion"


def test_other_settings_than_the_bundle_are_refused(tmp_path: Path, walk: Callable[..., Any]) -> None:
    """Knots that were not kept cannot be written, and timesteps are gone for a full bundle."""
    layout = ParamLayout.of(SHAPES)
    recorded = record(layout, walk(layout), knots=(2,))
    with pytest.raises(UsageError, match=r"recorded with knots 2"):
        trajfmt.create(tmp_path / "a.mct", layout, encoding="convex").add(recorded)
    with pytest.raises(UsageError, match=r"write a \.mct"):
        trajfmt.create(tmp_path / "a.mtt", layout, encoding="full").add(recorded)


@pytest.mark.parametrize(
    ("knots", "smooth", "average"),
    [((), False, 1), ((2, 3), False, 1), ((2, 3), True, 1), ((), False, 3), ((3, 4), False, 5)],
)
@pytest.mark.parametrize("stop", range(7))
def test_state_continues_bit_for_bit(
    walk: Callable[..., Any],
    layout: ParamLayout,
    knots: tuple[int, ...],
    smooth: bool,
    average: int,
    stop: int,
) -> None:
    """A recorder that goes on from a state ends as the first one, module buffers included."""
    theta = walk(layout, timesteps=7)
    held = [{"a.mean": row[:3].copy(), "count": np.array(t)} for t, row in enumerate(theta)]
    settings: Any = {"knots": knots, "smooth": smooth, "average": average}
    whole, first, second = (PathRecorder(layout, **settings) for _ in range(3))
    for t in range(7):
        whole.add(theta[t], held[t])
        if t < stop:
            first.add(theta[t], held[t])
    second.restore({name: values.copy() for name, values in first.state().items()})
    for t in range(stop, 7):
        second.add(theta[t], held[t])
    ours, theirs = second.finish(), whole.finish()
    assert (ours.knots, ours.timesteps, ours.smoothed) == (theirs.knots, theirs.timesteps, theirs.smoothed)
    assert [row.tobytes() for row in ours.rows] == [row.tobytes() for row in theirs.rows]
    assert ours.measured.step_norms.tobytes() == theirs.measured.step_norms.tobytes()
    assert ours.measured.digest == theirs.measured.digest
    assert ours.measured.moves
    for one, other in zip(ours.held, theirs.held, strict=True):
        assert {k: v.tobytes() for k, v in one.items()} == {k: v.tobytes() for k, v in other.items()}


@pytest.mark.parametrize(
    ("timesteps", "knots", "left", "count"),
    [(2, (), (), 1), (3, (), (), 2), (5, (3,), (), 4), (6, (3, 4), (3,), 5), (7, (3, 4), (3, 4), 5)],
)
def test_a_recording_that_ends_early_is_averaged_as_far_as_it_goes(
    layout: ParamLayout, walk: Callable[..., Any], timesteps: int, knots: Any, left: Any, count: int
) -> None:
    """The last knot is the mean of what there is, and a knot whose mean needs later timesteps is left out."""
    theta = walk(layout, timesteps=timesteps)
    recorder = PathRecorder(layout, knots=knots, average=5)
    for row in theta:
        recorder.add(row)
    recorded = recorder.finish(cut=True)
    assert recorded.knots == (0, *left, timesteps - 1)
    assert recorded.averaged == count
    path = theta.astype(np.float64)
    for t in left:
        path[t] = theta[t - 2 : t + 3].astype(np.float64).mean(axis=0)
    path[-1] = theta[-count:].astype(np.float64).mean(axis=0)
    assert np.array_equal(recorded.rows, path[list(recorded.knots)].astype(np.float32))
    total = np.sqrt((recorded.measured.step_norms**2).sum(axis=1))
    assert np.allclose(total, np.linalg.norm(np.diff(path, axis=0), axis=1), rtol=1e-6)


def test_state_is_restored_where_it_fits(walk: Callable[..., Any], layout: ParamLayout) -> None:
    """Neither over what is recorded already, nor from another network."""
    first, second = PathRecorder(layout), PathRecorder(layout)
    for row in walk(layout, timesteps=3):
        first.add(row)
    with pytest.raises(UsageError, match="3 timesteps are"):
        first.restore(first.state())
    for wrong in ({"rows.0": np.zeros(4, np.float32)}, {"norms": np.zeros((1, 3))}):
        with pytest.raises(UsageError, match=f"damaged: {next(iter(wrong))}"):
            second.restore(first.state() | wrong)

"""Means in the place of knots: closed forms, and equality with the path in which they are the timesteps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from tests.helpers.folders import contents
from trajfmt import ArrayTrajectory, ParamLayout, SourceError, UsageError
from trajfmt.bundle.validation import validate
from trajfmt.trajectory.averaging import average, check_average
from trajfmt.trajectory.rounding import narrow


def with_means(theta: Any, knots: tuple[int, ...], count: int) -> Any:
    """Return a path with the means in the place of its knots, by the definition."""
    path = theta.copy()
    spans = {k: range(k - (count - 1) // 2, k + (count - 1) // 2 + 1) for k in knots}
    spans[len(theta) - 1] = range(len(theta) - count, len(theta))
    for k, span in spans.items():
        path[k] = narrow(sum(theta[t].astype(np.float64) for t in span) / count, theta.dtype)
    return path


@pytest.mark.parametrize(("knots", "count"), [((), 2), ((), 5), ((3, 4), 5), ((2, 6), 3)])
@pytest.mark.parametrize("dtype", ["BF16", "F32"])
def test_the_bundle_is_that_of_the_path_with_the_means(
    write_bundle: Callable[..., Path], walk: Any, edit_manifest: Any, knots: Any, count: int, dtype: Any
) -> None:
    """Knots, betas, step norms, Gram matrix and digest, bit for bit; the recipe alone tells them apart."""
    layout = ParamLayout.of([("a", (30, 9)), ("b", (7,))], dtype=dtype)
    theta = walk(layout, timesteps=9)
    ours = write_bundle(layout, theta, name="a.mct", knots=knots, average=count, gram=True)
    plain = write_bundle(layout, with_means(theta, knots, count), name="b.mct", knots=knots, gram=True)
    assert validate(ours) == []
    with trajfmt.open(ours) as bundle:
        assert bundle.manifest.provenance.recipe == {"knots_averaged": count}
        assert bundle[0].knot(0).tobytes() == theta[0].tobytes()
    for path in (ours, plain):
        edit_manifest(path, lambda manifest: manifest["provenance"].pop("recipe", None))
    assert contents(ours) == contents(plain)


def test_means_are_summed_in_float64_and_rounded_once() -> None:
    """In float32, 2^24 + 1 + 1 would lose both ones."""
    rows = [np.array([value], np.float32) for value in (2.0**24, 1.0, 1.0)]
    assert average(rows).tolist() == [np.float32((2**24 + 2) / 3)]
    assert average(rows[:1])[0] == rows[0][0]


@pytest.mark.parametrize(
    ("count", "inserted", "smooth", "words"),
    [
        (0, (), False, "must be 1 or more"),
        (4, (6,), False, "must be odd with inserted knots"),
        (5, (2, 9), False, "around the knot 2 would include timestep 0"),
        (3, (6,), True, "two ways to average"),
    ],
)
def test_settings_that_cannot_be_met(count: int, inserted: Any, smooth: bool, words: str) -> None:
    """Refused before a weight is read."""
    with pytest.raises(UsageError, match=words):
        check_average(count, inserted=inserted, smooth=smooth)


@pytest.mark.parametrize(("timesteps", "knots", "count"), [(5, (), 5), (9, (7,), 5)])
def test_a_trajectory_without_all_timesteps_of_a_mean_is_refused(
    write_bundle: Callable[..., Path], layout: ParamLayout, walk: Any, timesteps: int, knots: Any, count: int
) -> None:
    """The last knot would include theta(0), or an inserted one what comes after the end."""
    write_bundle(layout, walk(layout, timesteps=timesteps + 1), name="a.mct", knots=knots, average=count)
    with pytest.raises(SourceError, match=f"has {timesteps} timesteps, but .* need {timesteps + 1};"):
        write_bundle(layout, walk(layout, timesteps=timesteps), name="b.mct", knots=knots, average=count)


def test_a_weight_in_a_mean_that_is_not_finite_is_named(
    write_bundle: Callable[..., Path], layout: ParamLayout, walk: Any
) -> None:
    """By its own timestep, not by that of the knot."""
    theta = walk(layout, timesteps=9)
    theta[5, 6] = np.inf
    with pytest.raises(SourceError, match=r"timestep 5, parameter `fc\.bias`"):
        write_bundle(layout, theta, knots=(4,), average=3)


def test_a_bundle_has_knots_of_one_kind(
    tmp_path: Path, write_bundle: Any, layout: ParamLayout, walk: Any
) -> None:
    """What is appended is averaged alike, and a trajectory with other knots is refused."""
    path = write_bundle(layout, walk(layout, timesteps=9), name="a.mct", average=3)
    other = write_bundle(layout, walk(layout, timesteps=9, seed=1), name="b.mct")
    with trajfmt.append(path) as writer:
        writer.add(ArrayTrajectory(theta := walk(layout, timesteps=9, seed=2), layout))
    with trajfmt.open(path) as bundle, trajfmt.open(other) as exact:
        assert np.array_equal(bundle[1].knot(1), with_means(theta, (), 3)[-1])
        with pytest.raises(
            UsageError, match="two endpoints, the bundle two endpoints, means of 3 timesteps;"
        ):
            trajfmt.append(path).add(exact[0])
        with trajfmt.create(tmp_path / "c.mct", layout, encoding="convex", average=3) as writer:
            writer.add(bundle[1])
        with pytest.raises(UsageError, match=r"created with knots=\(\), smooth=False, average=3"):
            trajfmt.create(tmp_path / "d.mct", layout, encoding="convex").add(bundle[1])
        found = {
            each.name: each.of_kind for each in trajfmt.bundle.differences(bundle.manifest, exact.manifest)
        }
    assert found == {"recipe.knots_averaged": True}

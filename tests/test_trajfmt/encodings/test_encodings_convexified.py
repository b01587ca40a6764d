"""Trajectories that others have convexified: kept as they are, free, refused where broken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from tests.helpers.convexified import OWNER, Walk, exact, given, write
from trajfmt import CorruptError, ParamLayout, SourceError, UsageError
from trajfmt.bundle.report import layer_reports, summarize
from trajfmt.bundle.validation import validate
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert
from trajfmt.encodings.convex.reader import ConvexTrajectory
from trajfmt.schema.layout import DTYPES
from trajfmt.trajectory.beta import curve
from trajfmt.trajectory.measure import Digest


@pytest.mark.parametrize("norms", [False, True])
def test_knots_and_tables_arrive_unchanged(
    tmp_path: Path, layout: ParamLayout, walk: Walk, norms: bool
) -> None:
    """Trajectories with knots of their own, in one bundle; the weights are those of eq. 10 at any t."""
    sources = [given(layout, walk, knots) for knots in ((0, 2, 5), (0, 7), (0, 1, 2, 3))]
    if norms:
        sources = [replace(source, step_norms=7 * np.diff(source.u, axis=0)) for source in sources]
    path = write(tmp_path / "a.mct", layout, *sources, shard_bytes=80)
    with trajfmt.open(path, verify=True) as bundle:
        for trajectory, source in zip(bundle, sources, strict=True):
            assert isinstance(trajectory, ConvexTrajectory)
            assert trajectory.knots == source.knots
            assert np.array_equal(trajectory.u, source.u)
            assert (trajectory.step_norms is not None) == norms
            assert all(np.array_equal(trajectory.knot(k), row) for k, row in enumerate(source.rows))
            for t in np.linspace(0, trajectory.last, 53):
                np.testing.assert_array_max_ulp(
                    trajectory.at(float(t)), exact(source, float(t)).astype(np.float32), maxulp=1
                )
    assert validate(path) == []
    assert summarize(path).unknown_steps == (0 if norms else 3)


def test_step_norms_of_other_betas_are_refused(tmp_path: Path, layout: ParamLayout, walk: Walk) -> None:
    """A validation would find that they contradict each other."""
    source = given(layout, walk, (0, 2, 5))
    made_up = replace(source, step_norms=np.full((source.timesteps - 1, 3), 0.5))
    with pytest.raises(CorruptError, match="must follow from the step norms"):
        write(tmp_path / "a.mct", layout, made_up)


def test_layers_without_step_norms_have_no_length(tmp_path: Path, layout: ParamLayout, walk: Walk) -> None:
    """The path's length is unknown; the way and the betas are known."""
    source = given(layout, walk)
    path = write(tmp_path / "a.mct", layout, source)
    with trajfmt.open(path) as bundle:
        for index, report in enumerate(layer_reports(bundle[0])):
            assert report.path_length is None
            way = source.rows[2].astype(np.float64) - source.rows[0].astype(np.float64)
            assert report.displacement == pytest.approx(float(np.linalg.norm(way[index == OWNER])))
            assert report.beta == pytest.approx(tuple(source.u[:, index] / 2))


def test_free_weights_are_not_clipped(tmp_path: Path, layout: ParamLayout, walk: Walk) -> None:
    """They fall, leave [0, 1], miss the knots: (1 - x) knot 0 + x knot 1 as it comes."""
    u = np.array([[0.25, 0.0, -0.5], [0.125, 1.0, 0.5], [1.5, 0.5, 2.0], [0.75, 1.0, 0.5]])
    source = given(layout, walk, (0, 3), u=u, free=True)
    path = write(tmp_path / "a.mct", layout, source)
    assert validate(path) == []
    with trajfmt.open(path) as bundle:
        trajectory = bundle[0]
        for t in np.linspace(0, 3, 61):
            segment, weight = trajectory.locate(float(t))
            assert segment.tolist() == [0, 0, 0]
            n = min(int(t), 2)
            assert np.allclose(weight, (1 - (t - n)) * u[n] + (t - n) * u[n + 1], rtol=0, atol=1e-15)
            np.testing.assert_allclose(trajectory.at(float(t)), exact(source, float(t)), rtol=1e-6)
        assert np.array_equal(trajectory.at(1)[6:8], source.rows[1][6:8])  # a weight of 1 is the knot itself
        convert(path, tmp_path / "full.mtt")
        with trajfmt.open(tmp_path / "full.mtt") as full:
            assert all(full[0].at(t).tobytes() == trajectory.at(t).tobytes() for t in range(4))
    assert summarize(path).free == 1


def test_digest_is_of_the_stored_ends(tmp_path: Path, layout: ParamLayout, walk: Walk) -> None:
    """First and last knot and T + 1, of what is stored; two of the same ends are one trajectory."""
    source = given(layout, walk)
    path = write(tmp_path / "a.mct", layout, source)
    identity = Digest(6, layout.numpy_dtype)
    identity.add(0, source.rows[0])
    identity.add(5, source.rows[2])
    with trajfmt.open(path) as bundle:
        assert bundle.manifest.trajectories[0].digest == identity.digest()
    with pytest.raises(SourceError) as caught:
        write(tmp_path / "b.mct", layout, source, replace(source, u=curve(np.ones((5, 3)), (0, 2, 5))))
    assert caught.value.reason == "duplicate_trajectory"


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"u": lambda u: u[:-1]}, CorruptError, "must have shape"),
        ({"u": lambda u: u[:, :2]}, CorruptError, "must have shape"),
        ({"u": lambda u: u * np.nan}, CorruptError, "must be finite"),
        ({"u": lambda u: u[::-1]}, CorruptError, "must not decrease"),
        ({"u": lambda u: u / 2}, CorruptError, "must be 1 at knot 2"),
        ({"free": lambda _: True}, CorruptError, "two knots"),
        ({"step_norms": lambda _: -np.ones((5, 3))}, CorruptError, "step norms"),
        ({"step_norms": lambda _: np.ones((6, 3))}, CorruptError, "must have shape"),
        ({"rows": lambda rows: rows * np.float32(np.nan)}, SourceError, "timestep 0, parameter `fc.weight`"),
        ({"rows": lambda rows: rows.astype(np.float64)}, UsageError, "does not fit the parameter layout"),
        ({"knots": lambda _: (0, 4, 5)}, CorruptError, "knot 4"),
    ],
)
def test_broken_ones_are_refused(
    tmp_path: Path, layout: ParamLayout, walk: Walk, changes: Any, error: Any, match: str
) -> None:
    """One line each, and nothing is left behind."""
    source = given(layout, walk)
    for name, change in changes.items():
        source = replace(source, **{name: change(getattr(source, name))})
    with pytest.raises(error, match=match):
        write(tmp_path / "a.mct", layout, source)
    assert list(tmp_path.iterdir()) == []


def test_one_that_stands_still_is_refused(tmp_path: Path, layout: ParamLayout, walk: Walk) -> None:
    """Two equal endpoints are no training."""
    source = given(layout, walk, (0, 3))
    with pytest.raises(SourceError) as caught:
        write(tmp_path / "a.mct", layout, replace(source, rows=source.rows[[0, 0]]))
    assert caught.value.reason == "no_motion"


def test_smoothed_and_others_do_not_mix(tmp_path: Path, layout: ParamLayout, walk: Walk) -> None:
    """A bundle is smoothed or not, by its first trajectory; so it says."""
    smoothed = given(layout, walk, smoothed=True)
    path = write(tmp_path / "a.mct", layout, smoothed)
    with trajfmt.open(path) as bundle:
        assert bundle.manifest.smoothed  # type: ignore[union-attr]
    other = given(layout, lambda *a, **k: walk(*a, **k, seed=3))
    with pytest.raises(UsageError, match="are smoothed, unlike this one"):
        write(tmp_path / "b.mct", layout, smoothed, other)
    with trajfmt.append(path) as writer:
        writer.add(replace(other, smoothed=True))
    assert validate(path) == []


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F64"])
def test_stored_in_another_type(tmp_path: Path, layout: ParamLayout, walk: Walk, dtype: Any) -> None:
    """Knots are rounded, tables stay, and the digest is of what is stored."""
    source = given(layout, walk)
    path = write(tmp_path / "a.mct", layout.cast(dtype), source, cast=True)
    assert validate(path) == []
    with trajfmt.open(path) as bundle:
        trajectory: Any = bundle[0]
        assert np.array_equal(trajectory.u, source.u)
        for k, row in enumerate(source.rows):
            assert np.array_equal(trajectory.knot(k), row.astype(DTYPES[dtype]))


@pytest.mark.parametrize("layers", ["module", "all"])
def test_layers_of_a_bundle_stay(tmp_path: Path, walk: Walk, write_bundle: Any, layers: Any) -> None:
    """A table of another grouping than by tensors is taken over with its layers."""
    layout = ParamLayout.of([("a.w", (2, 3)), ("a.b", (2,)), ("c.s", ())], layers=layers)
    source = write_bundle(layout, walk(layout), knots=(3,), gram=True)
    convert(source, tmp_path / "b.mct", ConvertOptions(dtype="F64"))
    assert validate(tmp_path / "b.mct") == []
    with trajfmt.open(source) as a, trajfmt.open(tmp_path / "b.mct") as b:
        assert a.layout.layers == b.layout.layers
        assert np.array_equal(a[0].u, b[0].u)  # type: ignore[attr-defined]
        np.testing.assert_allclose(b[0].at(2.5), a[0].at(2.5), rtol=1e-6)

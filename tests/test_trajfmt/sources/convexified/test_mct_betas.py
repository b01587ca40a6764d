"""One trajectory of a pair: its weights are those of the authors' reader, at any time."""

from __future__ import annotations

import itertools
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from trajfmt import CorruptError, SourceError, UsageError
from trajfmt.bundle.validation import validate
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert
from trajfmt.sources.discovery import open_source

torch = pytest.importorskip("torch")
from tests.foreign import mct_authors as theirs  # noqa: E402  # the generator needs torch
from tests.helpers.conversion import notices, run  # noqa: E402

Float = NDArray[np.float64]
KINDS = [
    pytest.param(2, "", True, id="two"),
    pytest.param(4, "", True, id="four-smoothed"),
    pytest.param(4, "", False, id="four-exact"),
    pytest.param(3, "", True, id="three-smoothed"),
    pytest.param(2, "_uni", True, id="uni"),
    pytest.param(2, "_dec", True, id="dec"),
    pytest.param(2, "_proj", True, id="proj"),
]


@pytest.fixture(scope="module")
def experts() -> list[list[list[list[Any]]]]:
    """Return two buffers, of three and of two experts."""
    made = [theirs.expert(seed) for seed in range(5)]
    return [made[:3], made[3:]]


def point(waypoints: Any, steps: Any, t: float) -> list[Float]:
    """Return the authors' weights at a real t, in float64: lerp of betas, then of the knots around t.

    At the very end, where their code has an answer only for two knots, the last segment's end.
    """
    segments = steps if len(waypoints) > 2 else [steps]
    ends = list(itertools.accumulate(len(segment) - 1 for segment in segments))
    s = min(next(i for i, end in enumerate(ends) if t < end or i == len(ends) - 1), len(ends) - 1)
    local = t - (ends[s] - len(segments[s]) + 1)
    low = min(math.floor(local), len(segments[s]) - 2)
    found = []
    for k, (a, b) in enumerate(zip(waypoints[s], waypoints[s + 1], strict=True)):
        first, second = (segments[s][low + i][k].double().item() for i in (0, 1))
        beta = first + (local - low) * (second - first)
        found.append(((1 - beta) * a.double() + beta * b.double()).numpy())
    return found


def load(folder: Path, infix: str, number: int = 0) -> tuple[Any, Any]:
    """Return a pair's contents."""
    return tuple(torch.load(folder / f"{half}_buffer{infix}_{number}.pt") for half in ("waypoint", "step"))  # type: ignore[return-value]


@pytest.mark.parametrize(("knots", "ablation", "smooth"), KINDS)
def test_weights_are_theirs_at_any_time(
    knots: int, ablation: str, smooth: bool, experts: Any, tmp_path: Path
) -> None:
    """200 random t of every trajectory of every file: their definition in float64, to float32 rounding."""
    infix = theirs.write(tmp_path / "CIFAR10" / "ConvNetD1W4", experts, knots, ablation, smooth=smooth)
    folder = tmp_path / "CIFAR10" / "ConvNetD1W4"
    assert convert(folder, tmp_path / "out.mct") == 5
    random = np.random.default_rng(0)
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert validate(tmp_path / "out.mct") == []
        for number, item in enumerate(bundle):
            waypoints, steps = (half[number % 3] for half in load(folder, infix, number // 3))
            for t in [*random.uniform(0, item.last, 200), *map(float, range(item.last + 1))]:
                ours = bundle.layout.split(item.at(float(t)))
                for got, expected in zip(ours.values(), point(waypoints, steps, float(t)), strict=True):
                    assert np.abs(got - expected).max() <= 2e-7 * np.abs(expected).max(), t


@pytest.mark.parametrize(("knots", "ablation", "smooth"), KINDS)
def test_knots_and_betas_arrive_unchanged(
    knots: int, ablation: str, smooth: bool, experts: Any, tmp_path: Path
) -> None:
    """Knots bit for bit, where the segments say they are; u holds the very float32 numbers."""
    infix = theirs.write(tmp_path / "in", experts[:1], knots, ablation, smooth=smooth)
    convert(tmp_path / "in", tmp_path / "out.mct")
    waypoints, steps = load(tmp_path / "in", infix)
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        manifest: Any = bundle.manifest
        assert not manifest.smoothed
        for number in range(3):
            item: Any = bundle[number]
            expected = (0, 50) if knots == 2 else tuple(theirs.indices(51, knots))
            assert item.knots == expected
            assert manifest.trajectories[number].table.free is (ablation in ("_dec", "_proj"))
            assert manifest.trajectories[number].table.step_norms is None
            for k, knot in enumerate(waypoints[number]):
                assert item.knot(k).tobytes() == b"".join(p.numpy().tobytes() for p in knot)
            segments = steps[number] if knots > 2 else [steps[number]]
            for s, segment in enumerate(segments):
                table = torch.tensor([[float(b) for b in row] for row in segment]).double().numpy()
                u = item.u[expected[s] : expected[s + 1] + 1] - s
                assert np.abs(u - table).max() <= (
                    1e-6 if not manifest.trajectories[number].table.free else 0
                )
                inside = np.abs(u - table)[1:-1]
                assert np.median(inside) <= (s > 0) * 2.3e-16


@pytest.mark.parametrize("smooth", [False, True])
def test_whether_knots_are_averages_is_unknown_until_the_user_says_it(smooth: bool, tmp_path: Path) -> None:
    """Their code can write both, with the same names; two knots are never averages."""
    theirs.write(tmp_path / "in", [[theirs.expert(0, 9)]], 4, "", smooth=smooth)
    said = notices(run(tmp_path / "in", tmp_path / "a.mct"))
    assert "whether the knots are averages of their neighbours is unknown" in said
    assert "averages" not in notices(run(tmp_path / "in", tmp_path / "b.mct", smooth=True))
    smoothed = [trajfmt.open(tmp_path / name).manifest.smoothed for name in ("a.mct", "b.mct")]
    assert smoothed == [False, True]
    assert "averages" not in notices(run(tmp_path / "a.mct", tmp_path / "c.mct", dtype="F64"))
    theirs.write(tmp_path / "two", [[theirs.expert(0, 9)]], 2)
    assert "averages" not in notices(run(tmp_path / "two", tmp_path / "d.mct"))
    with pytest.raises(UsageError, match="two knots are never smoothed"):
        convert(tmp_path / "two", tmp_path / "e.mct", ConvertOptions(smooth=True))
    with pytest.raises(UsageError, match="convexified already"):
        convert(tmp_path / "a.mct", tmp_path / "f.mct", ConvertOptions(smooth=True))


def test_a_layer_that_never_moves(tmp_path: Path) -> None:
    """Between equal knots its beta is linear, as everywhere in the format."""
    theirs.write(tmp_path / "in", [[theirs.expert(0, still=(1,))]])
    convert(tmp_path / "in", tmp_path / "out.mct")
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        u = bundle[0].u  # type: ignore[attr-defined]
        assert np.array_equal(u[:, 1], np.arange(51) / 50)
        assert np.array_equal(bundle[0].at(3.5)[108:112], bundle[0].at(0)[108:112])


def test_a_layer_that_rests_between_knots_that_smoothing_moved(tmp_path: Path) -> None:
    """It stays at the knot until the next one, as in their reader, up to the last whole timestep before."""
    steps = theirs.expert(0)
    for t in range(17, 35):
        steps[t][1] = steps[17][1].clone()
    infix = theirs.write(tmp_path / "in", [[steps]], 4)
    convert(tmp_path / "in", tmp_path / "out.mct")
    waypoints, betas = (half[0] for half in load(tmp_path / "in", infix))
    assert not torch.equal(waypoints[1][1], waypoints[2][1])
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        u = bundle[0].u  # type: ignore[attr-defined]
        assert set(u[17:34, 1]) == {1.0}
        assert u[34, 1] == 2.0
        for t in np.random.default_rng(0).uniform(17, 33, 200):
            got = list(bundle.layout.split(bundle[0].at(t)).values())[1]
            assert np.abs(got - point(waypoints, betas, t)[1]).max() < 1e-6


@pytest.mark.parametrize(("timesteps", "knots", "found"), [(51, 5, 6), (51, 7, 8), (101, 4, 5)])
def test_one_knot_more_than_the_name_says(timesteps: int, knots: int, found: int, tmp_path: Path) -> None:
    """All knots are read, and it is said that their own reader stops before the last."""
    infix = theirs.write(tmp_path / "in", [[theirs.expert(0, timesteps)]], knots)
    (notice,) = open_source(tmp_path / "in").notices
    assert f"the names say {knots} knots, the files have {found}: all are used" in notice
    convert(tmp_path / "in", tmp_path / "out.mct")
    waypoints, steps = (half[0] for half in load(tmp_path / "in", infix))
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert len(bundle[0].knots) == found
        assert bundle[0].last == timesteps - 1
        t = timesteps - 1.25
        got = bundle[0].at(t)
        expected = np.concatenate([p.ravel() for p in point(waypoints, steps, t)])
        assert np.abs(got - expected).max() < 1e-6


def misfit(case: str, waypoints: Any, steps: Any) -> tuple[Any, Any]:
    """Return a pair of four knots that does not fit."""
    if case == "trajectories":
        return waypoints, steps[:2]
    if case == "segments":
        return waypoints, [one[:-1] for one in steps]
    if case == "layers":
        return waypoints, [[[row[:-1] for row in seg] for seg in one] for one in steps]
    if case == "two knots":
        return [[one[0], one[-1]] for one in waypoints], steps
    if case == "empty segment":
        return waypoints, [[*one[:-1], one[-1][:1]] for one in steps]
    if case == "vectors":
        return waypoints, [[[[b.expand(2).clone() for b in r] for r in s] for s in one] for one in steps]
    assert case == "not a list"
    return waypoints, {"steps": 1}


@pytest.mark.parametrize(
    "case", ["trajectories", "segments", "layers", "two knots", "empty segment", "vectors", "not a list"]
)
def test_halves_that_do_not_fit_are_one_line(case: str, experts: Any, tmp_path: Path) -> None:
    """Another number of trajectories, segments, layers, or something else altogether."""
    theirs.write(tmp_path / "in", experts[:1], 4)
    halves = misfit(case, *load(tmp_path / "in", "_ip4"))
    for half, value in zip(("waypoint", "step"), halves, strict=True):
        torch.save(value, tmp_path / "in" / f"{half}_buffer_ip4_0.pt")
    with pytest.raises(SourceError) as error:
        convert(tmp_path / "in", tmp_path / "out.mct")
    assert error.value.reason == "pair_mismatch"
    assert "step_buffer_ip4_0.pt" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out.mct").exists()


@pytest.mark.parametrize("case", ["falls", "end", "start", "nan"])
def test_betas_that_are_none_are_refused(case: str, experts: Any, tmp_path: Path) -> None:
    """A dip beyond rounding, an end that is not 1, NaN: the file and by how much; rounding is put right."""
    theirs.write(tmp_path / "in", experts[:1], 2)
    path = tmp_path / "in" / "step_buffer_0.pt"
    whole = torch.load(path)
    for size in (0.9e-6, 1e-3):
        steps = torch.load(path) if size < 1e-5 else whole
        if case == "falls":
            steps[1][20][2] = steps[1][19][2] - size
        elif case == "end":
            steps[1][50][2] = steps[1][50][2] + size
        elif case == "start":
            steps[1][0][2] = steps[1][0][2] + size
        else:
            steps[1][20][2] = torch.tensor(math.nan)
        torch.save(steps, path)
        if size < 1e-5 and case != "nan":
            shutil.rmtree(tmp_path / "out.mct", ignore_errors=True)
            convert(tmp_path / "in", tmp_path / "out.mct")
            assert validate(tmp_path / "out.mct") == []
            continue
        with pytest.raises(CorruptError) as error:
            convert(tmp_path / "in", tmp_path / "other.mct")
        assert error.value.reason == "beta_invalid"
        assert "step_buffer_0.pt" in str(error.value)

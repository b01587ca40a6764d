"""Knots that a conversion places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from tests.helpers.conversion import files, flat, notices, run, save, theta  # noqa: E402
from trajfmt.convert.options import ConvertOptions  # noqa: E402
from trajfmt.convert.planning import plan  # noqa: E402
from trajfmt.errors import SourceError, UsageError  # noqa: E402
from trajfmt.trajectory.geometry import gram_of  # noqa: E402
from trajfmt.trajectory.placement import misses, placed  # noqa: E402


def test_knots_are_those_of_the_sum_of_misses(tmp_path: Path) -> None:
    """Over all trajectories, of several files; the bundle is that of the same numbers, but says so."""
    walks = [theta(seed, timesteps=12) for seed in range(3)]
    save(tmp_path / "src", walks[:2])
    source = save(tmp_path / "src", walks[2:], number=1)
    expected = placed(sum(misses(gram_of(flat(walk))) for walk in walks), 4)
    run(source, tmp_path / "a.mct", place=4)
    run(source, tmp_path / "b.mct", knots=expected[1:-1])
    ours, plain = (files(tmp_path / name) for name in ("a.mct", "b.mct"))
    assert ours.pop("manifest.json") != plain.pop("manifest.json")
    assert ours == plain
    bundle = trajfmt.open(tmp_path / "a.mct")
    assert [each.knots for each in bundle] == [expected] * 3
    assert bundle.manifest.provenance.recipe == {"knots_placed": True}
    assert any(placed(misses(gram_of(flat(walk))), 4) != expected for walk in walks)


def test_means_have_room_around_placed_knots(tmp_path: Path) -> None:
    """No knot is placed where its mean would need theta(0) or what comes after the end."""
    walk = theta(0, timesteps=12)
    run(save(tmp_path / "src", [walk]), tmp_path / "a.mct", place=3, average=7)
    bundle = trajfmt.open(tmp_path / "a.mct")
    assert bundle[0].knots == placed(misses(gram_of(flat(walk))), 3, margin=4)
    assert bundle.manifest.provenance.recipe == {"knots_placed": True, "knots_averaged": 7}


def test_a_plan_has_the_right_size(tmp_path: Path) -> None:
    """It reads no weights, so it cannot say where the knots are."""
    source = save(tmp_path / "src", [theta(0)])
    known = {"knots": (2, 5), "placed": True}
    ours, plain = (plan(source, None, ConvertOptions(**given)) for given in ({"place": 4}, known))
    assert ours.bytes == plain.bytes
    assert "where the 4 knots are follows from the weights, which a plan does not read" in ours.notices


def test_trajectories_of_several_lengths_are_refused(tmp_path: Path) -> None:
    """Unless timesteps are selected that all have; a remark of the first pass is not made twice."""
    source = save(tmp_path / "src", [theta(0), theta(1, timesteps=6)])
    with pytest.raises(UsageError, match="some have 8 timesteps and others 6"):
        run(source, tmp_path / "a.mct", place=3)
    said = notices(run(source, tmp_path / "a.mct", place=3, timesteps=(0, 6)))
    assert said.count("unknown") == len(said.splitlines())
    assert len(set(said.splitlines())) == len(said.splitlines())


def test_trajectories_that_cannot_be_converted_are_left_out(tmp_path: Path) -> None:
    """With `keep_going`, knots are placed for the others; without it, the error names the trajectory."""
    walks = [theta(0, timesteps=9), theta(1, timesteps=9)]
    walks[0][4][0][1, 1] = np.nan
    source = save(tmp_path / "src", walks)
    with pytest.raises(SourceError, match=r"trajectory 0: .*timestep 4"):
        run(source, tmp_path / "a.mct", place=3)
    run(source, tmp_path / "a.mct", place=3, keep_going=True)
    assert [each.knots for each in trajfmt.open(tmp_path / "a.mct")] == [
        placed(misses(gram_of(flat(walks[1]))), 3)
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"place": 2}, "must be 3 or more"),
        ({"place": 3, "knots": (4,)}, "cannot be given with `knots`"),
        ({"place": 3, "append": True}, "a bundle keeps its knots"),
    ],
)
def test_options_that_contradict_each_other(given: dict[str, object], words: str) -> None:
    """They are refused before a file is opened."""
    with pytest.raises(UsageError, match=words):
        ConvertOptions(**given)  # type: ignore[arg-type]


def test_sources_on_which_no_knots_can_be_placed(tmp_path: Path) -> None:
    """Too long for a Gram matrix, too short, convexified already, or for a bundle of all timesteps."""
    source = save(tmp_path / "src", [theta(0, timesteps=258, shapes=((2,),))])
    short = save(tmp_path / "short", [theta(0, timesteps=4)])
    run(short, tmp_path / "a.mct")
    for where, name, count, words in (
        (source, "b.mct", 3, "at most 257 timesteps, got 258"),
        (short, "b.mct", 5, "3 knots cannot be placed between the endpoints: there is room for 2"),
        (tmp_path / "a.mct", "b.mct", 3, "convexified already"),
        (short, "b.mtt", 3, "for convexified bundles"),
    ):
        with pytest.raises(UsageError, match=words):
            run(where, tmp_path / name, place=count)


def test_placed_knots_stay_placed_in_another_dtype(tmp_path: Path) -> None:
    """The knots are those of the source, so that what is recorded of them stays true."""
    run(save(tmp_path / "src", [theta(0)]), tmp_path / "a.mct", place=3)
    for name, options in (("b.mct", {"dtype": "F64"}), ("c.mct", {"dataset": "own"})):
        run(tmp_path / "a.mct", tmp_path / name, **options)
        found = trajfmt.open(tmp_path / name)
        assert found[0].knots == trajfmt.open(tmp_path / "a.mct")[0].knots
        assert found.manifest.provenance.recipe == {"knots_placed": True}


def test_a_bundle_of_all_timesteps_forgets_how_knots_were_placed(tmp_path: Path) -> None:
    """Only what was computed from such knots still says so."""
    run(save(tmp_path / "src", [theta(0)]), tmp_path / "a.mct", place=3)
    run(tmp_path / "a.mct", tmp_path / "a.mtt")
    run(tmp_path / "a.mtt", tmp_path / "b.mct")
    recipes = [trajfmt.open(tmp_path / name).manifest.provenance.recipe for name in ("a.mtt", "b.mct")]
    assert recipes == [{"knots_placed": True, "convexified": True}] * 2

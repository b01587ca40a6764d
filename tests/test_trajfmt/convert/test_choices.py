"""What a conversion has chosen of the path, in the recipe of its bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from tests.helpers.conversion import files, flat, run, save, theta  # noqa: E402
from trajfmt.convert.choices import remark_on_means, require_epochs  # noqa: E402
from trajfmt.convert.options import ConvertOptions  # noqa: E402
from trajfmt.convert.planning import plan  # noqa: E402
from trajfmt.errors import SourceError, UsageError  # noqa: E402
from trajfmt.merge.run import merge  # noqa: E402
from trajfmt.schema.provenance import Provenance, TimestepUnit  # noqa: E402

FOR = {"timesteps": (0, 5), "cut_for": "some-preset"}


def _recipe(path: Path) -> object:
    return trajfmt.open(path).manifest.provenance.recipe


def test_a_cut_is_recorded_with_its_reason(tmp_path: Path) -> None:
    """The files are those of the same timesteps without a reason, and a plan knows of it."""
    source = save(tmp_path / "src", [theta(0)])
    run(source, tmp_path / "a.mct", **FOR)
    run(source, tmp_path / "b.mct", timesteps=(0, 5))
    assert _recipe(tmp_path / "a.mct") == {"cut_for": "some-preset", "cut_after": 4}
    assert _recipe(tmp_path / "b.mct") is None
    ours, plain = (files(tmp_path / name) for name in ("a.mct", "b.mct"))
    assert ours.pop("manifest.json") != plain.pop("manifest.json")
    assert ours == plain
    assert plan(source, None, ConvertOptions(**FOR)).provenance.recipe == _recipe(tmp_path / "a.mct")


def test_a_cut_is_kept_until_another_one(tmp_path: Path) -> None:
    """It is true of what is made of the bundle, unless timesteps are selected again."""
    run(save(tmp_path / "src", [theta(0)]), tmp_path / "a.mtt", **FOR)
    run(tmp_path / "a.mtt", tmp_path / "b.mct")
    run(tmp_path / "a.mtt", tmp_path / "c.mct", timesteps=(0, 4))
    run(tmp_path / "a.mtt", tmp_path / "d.mct", timesteps=(0, 4), cut_for="other")
    assert _recipe(tmp_path / "b.mct") == {"cut_for": "some-preset", "cut_after": 4}
    assert _recipe(tmp_path / "c.mct") == {}
    assert _recipe(tmp_path / "d.mct") == {"cut_for": "other", "cut_after": 3}


def test_a_trajectory_that_ends_before_the_cut_is_refused(tmp_path: Path) -> None:
    """Unlike with a plain range of timesteps; with `keep_going` it is left out."""
    source = save(tmp_path / "src", [theta(0), theta(1, timesteps=4)])
    with pytest.raises(SourceError, match="trajectory 1: ends at timestep 3, but the window of some-preset"):
        run(source, tmp_path / "a.mct", **FOR)
    run(source, tmp_path / "a.mct", keep_going=True, **FOR)
    assert len(trajfmt.open(tmp_path / "a.mct")) == 1


def test_cut_and_whole_trajectories_do_not_share_a_bundle(tmp_path: Path) -> None:
    """An append states the same reason, and two bundles that differ in it are not merged."""
    first, second = (save(tmp_path / name, [theta(seed)]) for seed, name in enumerate("ab"))
    run(first, tmp_path / "a.mct", **FOR)
    with pytest.raises(UsageError, match="taken with --for-preset some-preset, those of the source were"):
        run(second, tmp_path / "a.mct", append=True, timesteps=(0, 5))
    run(second, tmp_path / "a.mct", append=True, **FOR)
    run(second, tmp_path / "b.mct", timesteps=(0, 5))
    with pytest.raises(UsageError, match="such trajectories do not belong into one bundle"):
        merge([tmp_path / "a.mct", tmp_path / "b.mct"], tmp_path / "c.mct", common=True)


@pytest.mark.parametrize(("options", "told"), [({"average": 3}, True), ({"smooth": True}, True), ({}, False)])
def test_statistics_that_are_no_means_are_said(options: dict[str, Any], told: bool) -> None:
    """Counters need no mean, and weights that are no means fit their statistics."""
    made = ConvertOptions(**options, **({"knots": (2,)} if options else {}))
    statistics = {"bn.num_batches_tracked": np.array(3), "bn.running_mean": np.zeros(2, np.float32)}
    remark = remark_on_means(made, statistics)
    assert (remark is not None) == told
    assert remark is None or "such as `bn.running_mean` are those of one timestep" in remark
    assert remark_on_means(made, {"bn.num_batches_tracked": np.array(3)}) is None


def test_averages_are_recorded_and_appended_alike(tmp_path: Path) -> None:
    """An append averages as the bundle does; a convexified source must have been averaged in the same way."""
    first, second = (save(tmp_path / name, [theta(seed)]) for seed, name in enumerate("ab"))
    run(first, tmp_path / "a.mct", average=3)
    run(second, tmp_path / "a.mct", append=True)
    run(second, tmp_path / "exact.mct")
    assert _recipe(tmp_path / "a.mct") == {"knots_averaged": 3}
    end = np.mean(np.float64(flat(theta(1))[-3:]), axis=0).astype(np.float32)
    assert np.array_equal(trajfmt.open(tmp_path / "a.mct")[1].knot(1), end)
    with pytest.raises(
        UsageError, match="means of 3 timesteps, not two endpoints, means of 5 timesteps; omit"
    ):
        run(second, tmp_path / "a.mct", append=True, average=5)
    with pytest.raises(UsageError, match="its knots are means of 3 timesteps, those of the source no means"):
        run(tmp_path / "exact.mct", tmp_path / "a.mct", append=True)
    with pytest.raises(UsageError, match="its knots are no means, those of the source means of 3 timesteps"):
        run(tmp_path / "a.mct", tmp_path / "exact.mct", append=True)


def test_computed_timesteps_are_not_averaged(tmp_path: Path) -> None:
    """They know of the means that they were computed from, and are no means themselves."""
    run(save(tmp_path / "src", [theta(0)]), tmp_path / "a.mct", average=3)
    run(tmp_path / "a.mct", tmp_path / "a.mtt")
    run(tmp_path / "a.mtt", tmp_path / "b.mct")
    run(save(tmp_path / "other", [theta(1)]), tmp_path / "c.mct", average=3)
    run(tmp_path / "c.mct", tmp_path / "c.mtt")
    run(tmp_path / "c.mtt", tmp_path / "b.mct", append=True)
    assert _recipe(tmp_path / "b.mct") == {"knots_averaged": 3, "convexified": True}
    exact, computed = (trajfmt.open(tmp_path / name) for name in ("c.mct", "b.mct"))
    assert np.array_equal(exact[0].knot(1), computed[1].knot(1))
    with pytest.raises(UsageError, match="say nothing about the training; omit `average`"):
        run(tmp_path / "a.mtt", tmp_path / "d.mct", average=3)
    with pytest.raises(UsageError, match="omit knots, smoothing, averages"):
        run(tmp_path / "a.mct", tmp_path / "d.mct", average=3)
    with pytest.raises(UsageError, match="`average` and `gram` are for convexified bundles"):
        run(tmp_path / "src", tmp_path / "d.mtt", average=3)


@pytest.mark.parametrize("given", [{"cut_for": "some-preset"}, {"timesteps": (0, 5), "cut_for": ""}])
def test_a_reason_needs_a_cut(given: dict[str, object]) -> None:
    """Without an end there is nothing that it could be the reason of."""
    with pytest.raises(UsageError, match="it needs a text and an end"):
        ConvertOptions(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "numbers", "words"),
    [
        ({"timestep": TimestepUnit(kind="step")}, None, "are steps, 1 each, from 0 on; give --timesteps"),
        ({"timestep": TimestepUnit(kind="epoch", every=2)}, None, "are epochs, 2 each, from 0 on"),
        ({"timestep": TimestepUnit(kind="epoch"), "first_timestep": 3}, None, "are numbers from 3 on"),
        ({}, (0, 1, 2, 5), "are numbers 0, 1, …; give"),
    ],
)
def test_a_preset_counts_epochs(facts, numbers, words: str) -> None:
    """A source whose timesteps are something else is not cut for one; nothing known is no objection."""
    with pytest.raises(UsageError, match=words):
        require_epochs(Provenance(**facts), numbers)
    require_epochs(Provenance(), None)
    require_epochs(Provenance(timestep=TimestepUnit(kind="epoch")), (0, 1, 2))

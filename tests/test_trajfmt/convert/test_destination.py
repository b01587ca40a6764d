"""A bundle that exists, and more trajectories of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert
from trajfmt.errors import MissingError, SourceError

torch = pytest.importorskip("torch")
from tests.helpers.conversion import files, flat, run, save, theta  # noqa: E402
from tests.helpers.walks import write_walks  # noqa: E402
from trajfmt.convert.events import Event  # noqa: E402


@pytest.mark.parametrize(("suffix", "codec"), [(".mct", "none"), (".mtt", "none"), (".mtt", "archive")])
def test_appended_trajectories_follow_the_old_ones(tmp_path: Path, suffix: str, codec: Any) -> None:
    """Append adds files, changes none, and numbers origins after the old sources."""
    target = tmp_path / f"out{suffix}"
    run(save(tmp_path / "a", [theta(0), theta(1)]), target, codec=codec)
    before = files(target)
    run(save(tmp_path / "b", [theta(2, 5)]), target, append=True)
    after = files(target)
    assert all(after[name] == data for name, data in before.items() if name != "manifest.json")
    with trajfmt.open(target) as bundle:
        assert len(bundle) == 3
        for seed, item in enumerate(bundle):
            steps = flat(theta(seed, item.timesteps))
            assert np.array_equal(item.at(0), steps[0])
            assert np.array_equal(item.at(item.last), steps[-1])
        assert bundle.manifest.trajectories[2].origin.file == 1
        assert len(bundle.manifest.provenance.sources) == 2
    assert not (tmp_path / f".out{suffix}.partial").exists()


def test_appending_a_duplicate_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    """A trajectory that the bundle holds is refused, and every byte stays."""
    target = tmp_path / "out.mct"
    run(save(tmp_path / "a", [theta(0), theta(1)]), target)
    before = files(target)
    with pytest.raises(SourceError) as caught:
        convert(save(tmp_path / "b", [theta(1)]), target, ConvertOptions(append=True))
    assert caught.value.reason == "duplicate_trajectory"
    assert "trajectory 1 of the bundle" in str(caught.value)
    assert files(target) == before


def test_appending_to_nothing_is_refused(tmp_path: Path) -> None:
    """Append needs a bundle; it does not start one."""
    with pytest.raises(MissingError):
        convert(save(tmp_path / "a", [theta(0)]), tmp_path / "out.mct", ConvertOptions(append=True))
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_appending_uses_the_knots_of_the_bundle(tmp_path: Path) -> None:
    """A bundle with inserted knots and smoothing gets more of the same."""
    target = tmp_path / "out.mct"
    run(save(tmp_path / "a", [theta(0)]), target, knots=(3,), smooth=True, layers="module")
    run(save(tmp_path / "b", [theta(1)]), target, append=True)
    run(
        save(tmp_path / "c", [theta(0), theta(1)]),
        tmp_path / "once.mct",
        knots=(3,),
        smooth=True,
        layers="module",
    )
    with trajfmt.open(target) as bundle, trajfmt.open(tmp_path / "once.mct") as once:
        assert np.array_equal(bundle[1].u, once[1].u)
        assert np.array_equal(bundle[1].knot(1), once[1].knot(1))


def test_interruption_leaves_no_pending_files(tmp_path: Path) -> None:
    """Trajectories that were being written when Ctrl-C came do not stay on the disk."""
    source = write_walks(tmp_path / "s.mtt", 12)
    seen = 0

    def interrupt(event: Event) -> None:
        nonlocal seen
        seen += event.kind == "trajectory"
        if seen == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "o.mct", on_event=interrupt)
    assert not (tmp_path / ".o.mct.partial" / "pending").exists()
    assert convert(source, tmp_path / "o.mct") == 12
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.mct", "s.mtt"]

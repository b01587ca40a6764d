"""`traj merge` as its users meet it: globs, mistakes, notes, JSON, Ctrl-C."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import trajfmt
from tests.helpers.folders import hashes
from trajfmt import ArrayTrajectory, ParamLayout, Provenance

LAYOUT = ParamLayout.of([("fc.weight", (2, 3)), ("fc.bias", (2,))])


@pytest.fixture
def parts(tmp_path: Path, walk: Any) -> list[Path]:
    """Return bundles of one trajectory each, whose experts had different seeds."""
    (tmp_path / "parts").mkdir()
    paths = [tmp_path / "parts" / f"{seed}.mct" for seed in range(3)]
    for seed, path in enumerate(paths):
        about = Provenance(dataset="digits", recipe={"seed": seed})
        with trajfmt.create(path, LAYOUT, encoding="convex", provenance=about) as writer:
            writer.add(ArrayTrajectory(walk(LAYOUT, seed=seed), LAYOUT))
    return paths


def test_merge_says_what_it_wrote(traj: Any, parts: list[Path], tmp_path: Path) -> None:
    """One line on stdout, the note on what is not recorded on stderr, and with `--json` one object."""
    done = traj("merge", *parts, tmp_path / "out.mct", "--common")
    size = sum((path / "knots/00000.safetensors").stat().st_size for path in parts)
    assert (done.code, done.out) == (
        0,
        f"{tmp_path / 'out.mct'}: 3 trajectories of 3 bundles, {size / 1000:.1f} kB linked\n",
    )
    assert done.err == "note: not recorded, as not all bundles say the same of it: recipe.seed\n"
    again = traj("merge", *parts[::-1], tmp_path / "again.mct", "--common", "--copy", "--json")
    assert json.loads(again.out) == {
        "destination": str(tmp_path / "again.mct"),
        "trajectories": 3,
        "skipped": 0,
        "linked": 0,
        "copied": size,
    }
    assert hashes(tmp_path / "out.mct") == hashes(tmp_path / "again.mct")


def test_mistakes_are_one_line_and_change_nothing(traj: Any, parts: list[Path], tmp_path: Path) -> None:
    """A forgotten DEST, bundles that differ, a repeated bundle, no bundle at all, another suffix."""
    before = hashes(tmp_path)
    forgotten = traj("merge", *parts)
    assert forgotten.code == 2
    assert "2.mct already exists; choose another name for the new bundle" in forgotten.error
    differing = traj("merge", *parts, tmp_path / "out.mct")
    assert differing.code == 2
    assert "its recipe.seed is" in differing.error
    assert "--common" in differing.error
    repeated = traj("merge", parts[0], parts[0], tmp_path / "out.mct")
    assert repeated.code == 1
    assert "--skip-duplicates" in repeated.error
    assert traj("merge", parts[0]).code == 2
    assert traj("merge", tmp_path, tmp_path / "out.mct").code == 3
    assert "must end in .mct" in traj("merge", parts[0], tmp_path / "out.mtt").error
    assert hashes(tmp_path) == before
    assert os.listdir(tmp_path) == ["parts"]


def test_ctrl_c_says_how_to_continue(
    traj: Any, parts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 130; the same command takes over what was finished."""
    commit = trajfmt.BundleWriter.commit
    calls = []

    def interrupted(self: Any, *arguments: Any, **options: Any) -> int:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return commit(self, *arguments, **options)

    monkeypatch.setattr(trajfmt.BundleWriter, "commit", interrupted)
    stopped = traj("merge", *parts, tmp_path / "out.mct", "--common")
    assert (stopped.code, stopped.error) == (
        130,
        "error: interrupted; run the same command again to continue",
    )
    done = traj("merge", *parts, tmp_path / "out.mct", "--common")
    assert done.code == 0
    assert "continuing from 2 finished trajectories" in done.err
    assert sorted(os.listdir(tmp_path)) == ["out.mct", "parts"]


def test_files_that_were_converted_one_by_one_give_the_bundle_of_their_folder(
    traj: Any, buffer: Any, tmp_path: Path
) -> None:
    """Byte for byte, with the numbers in the names of files in their order as numbers."""
    for number in (9, 10):
        folder = buffer(number=number, seed=number)
        assert traj("convert", folder / f"replay_buffer_{number}.pt", tmp_path / f"{number}.mct").code == 0
    assert traj("convert", folder, tmp_path / "whole.mct").code == 0
    assert traj("merge", tmp_path / "10.mct", tmp_path / "9.mct", tmp_path / "out.mct").code == 0
    assert hashes(tmp_path / "out.mct") == hashes(tmp_path / "whole.mct")

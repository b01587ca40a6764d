"""`traj diff`: what is shown, and the exit codes that scripts use."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from trajfmt.schema.manifest import MAX_BYTES


def _rows(out: str) -> dict[str, str]:
    """Return what is shown, by the first word of each line; there are no spaces at the ends of lines."""
    lines = out.splitlines()[1:]
    return {line.split("  ")[0].strip(): " ".join(line.split()) for line in lines}


def test_same_bundles_are_exit_0(traj: Any, bundle: Any, tmp_path: Path) -> None:
    """In one line, and as JSON."""
    path = bundle()
    shutil.copytree(path, tmp_path / "copy.mct")
    done = traj("diff", path, tmp_path / "copy.mct")
    assert (done.code, done.out) == (0, f"{path} and {tmp_path / 'copy.mct'} are the same: 2 trajectories\n")
    found = json.loads(traj("diff", path, path, "--json").out)
    assert found["equal"] is True
    assert found["schema"] == "trajfmt.diff/1"


def test_other_knots_are_exit_1(traj: Any, bundle: Any) -> None:
    """The trajectories are the same, what is stored of them is not."""
    one, other = bundle("a.mct"), bundle("b.mct", knots=(2,))
    done = traj("diff", one, other)
    assert done.code == 1
    rows = _rows(done.out)
    assert rows["in both"] == "in both 2 trajectories in the same order"
    assert rows["knots of all"] == "knots of all 0,5 0,2,5"
    assert "only here" not in rows
    found = json.loads(traj("diff", one, other, "--json").out)
    assert found["equal"] is False
    assert found["both"][0]["stored"][0] == {"name": "knots", "one": "0,5", "other": "0,2,5"}


def test_convexified_and_full_are_compared_by_digest(traj: Any, bundle: Any) -> None:
    """The same experts in another encoding."""
    done = traj("diff", bundle("a.mct"), bundle("b.mtt"))
    assert done.code == 1
    rows = _rows(done.out)
    assert rows["encoding"] == "encoding convex full"
    assert rows["in both"] == "in both 2 trajectories in the same order"


def test_errors_are_no_difference(traj: Any, bundle: Any, tmp_path: Path) -> None:
    """What is missing or no bundle has an exit code of 2 or more; an unreachable address, too."""
    path = bundle()
    assert traj("diff", path, tmp_path / "no.mct").code == 2
    assert traj("diff", path, tmp_path).code == 3
    (tmp_path / "b.mct").mkdir()
    with (tmp_path / "b.mct" / "manifest.json").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert traj("diff", path, tmp_path / "b.mct").code == 5
    far = traj("diff", path, "http://127.0.0.1:9/a.mct")
    assert far.code == 2
    assert "127.0.0.1:9" in far.error

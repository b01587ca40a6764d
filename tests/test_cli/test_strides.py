"""`traj inspect --expert-steps`."""

from __future__ import annotations

import json
from typing import Any

import pytest


def test_a_row_for_each_start(traj: Any, bundle: Any) -> None:
    """Starts before the bound, as a table and as JSON; several paths are shown one after another."""
    path = bundle(gram=True)
    shown = traj("inspect", path, "--expert-steps", 2, "--max-start", 2)
    assert shown.code == 0
    rows = shown.out.splitlines()
    assert rows[0] == "timesteps of the convexified path as long as 2 timesteps of the original one"
    assert rows[1].split() == ["start", "mean", "from", "to", "trajectories"]
    assert [row.split()[0] for row in rows[2:]] == ["0", "1", "mean"]
    facts = json.loads(traj("inspect", path, "--expert-steps", 2, "--json").out)
    assert facts["schema"] == "trajfmt.strides/1"
    assert [row["start"] for row in facts["starts"]] == [0, 1, 2, 3]
    assert facts["trajectories"] == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--max-start", "2"], "--max-start goes with --expert-steps"),
        (["--expert-steps", "2", "--layers"], "omit --layers and --trajectory"),
        (["--expert-steps", "0"], "0 is not in the range x>=1"),
        (["--expert-steps", "2"], "stores no Gram matrix"),
    ],
)
def test_what_cannot_be_shown(traj: Any, bundle: Any, words: list[str], said: str) -> None:
    """Exit code 2, and one reason."""
    done = traj("inspect", bundle(), *words)
    assert done.code == 2
    assert said in done.err

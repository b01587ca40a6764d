"""Finding the runs below a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.runs import assert_same, opened  # noqa: E402
from trajfmt.convert.run import convert  # noqa: E402


def test_subfolders_are_trajectories(tmp_path: Path, trained: Any) -> None:
    """Folders of runs are one trajectory each, in natural order, wherever they lie below."""
    others = foreign.training(4, seed=1)[0]
    for name, states in (("run10/checkpoints", trained[0]), ("run9/checkpoints", others)):
        foreign.plain(tmp_path / "runs" / name, dict(enumerate(states)))
    collection, found = opened(tmp_path / "runs")
    assert_same(collection, found[0], others)
    assert_same(collection, found[1], trained[0])
    convert(tmp_path / "runs", tmp_path / "out.mct")
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert len(bundle) == 2

"""A reproduction of table 2 and of a figure at the smallest scale, which several modules read."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from benchmarks.reproduce_kills import smallest
from mct.reproduce import Reproduction


@pytest.fixture(scope="package")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Reproduction:
    """Return a finished reproduction; it must not be changed."""
    out = tmp_path_factory.mktemp("reproduce") / "out"
    plan = Reproduction.prepare(["table2", "fig2"], Path(out), scale=smallest(), seeds=1)
    assert not plan.run()[1]
    return plan

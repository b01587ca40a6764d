"""An array of a few jobs, half of which are killed: the bundle is that of one process."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

from benchmarks import experts_array


def test_killed_jobs_that_are_queued_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real processes and real kills; collected by the command and merged by the library: the same bytes."""
    options = SimpleNamespace(
        jobs=6, kills=3, terminations=1, epochs=2, at_a_time=2, out_name="a.mct", seed=1
    )
    assert experts_array.report(options, tmp_path) == 0
    said = capsys.readouterr().out
    assert "collected by mct experts: byte-identical" in said
    assert "collected by trajfmt.merge: byte-identical" in said

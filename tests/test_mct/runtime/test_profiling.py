"""A trace of outer steps 2 to 4: when it is written, and what is said where it is not."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from mct.errors import ExistsError, MissingError  # noqa: E402
from mct.runtime.profiling import Trace  # noqa: E402


def steps_of(trace: Trace, count: int, last: int | None = None) -> list[str | None]:
    """Make steps, and return what each says."""
    told = []
    for step in range(1, count + 1):
        trace.begin()
        torch.ones(step).sum()
        told.append(trace.end(last=step == last))
    return told


@pytest.mark.parametrize(("count", "last", "shown"), [(6, 6, 4), (3, 3, 3), (2, 2, 2)])
def test_trace_is_written_once(tmp_path: Path, count: int, last: int | None, shown: int) -> None:
    """After the fourth step, or the last one before it; the file is one of Chrome's format."""
    path = tmp_path / "trace.json"
    told = steps_of(Trace(path), count, last)
    assert told[shown - 1] == f"{path}: trace of outer steps 2 to {shown} of this process"
    assert [line for number, line in enumerate(told, 1) if number != shown] == [None] * (count - 1)
    assert json.loads(path.read_text())["traceEvents"]


def test_a_single_step_has_no_trace(tmp_path: Path) -> None:
    """Said, and no file is made."""
    path = tmp_path / "trace.json"
    assert steps_of(Trace(path), 1, 1) == [
        f"{path}: no trace was written, as this process ended before outer step 2; a trace covers "
        "outer steps 2 to 4"
    ]
    assert not path.exists()
    assert steps_of(Trace(None), 5, 5) == [None] * 5


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """Before anything is computed."""
    (tmp_path / "trace.json").write_text("mine")
    with pytest.raises(ExistsError, match="give another file with --profile"):
        Trace(tmp_path / "trace.json")
    with pytest.raises(MissingError, match="no such folder"):
        Trace(tmp_path / "missing" / "trace.json")

"""Jobs: their identity, their order, and what is left of them on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from mct.errors import CorruptError
from mct.reproduce.job import Folders, Job, ordered

EXPERTS = Job(name="experts", kind="experts", settings={"experts": 2})


def test_what_decides_a_result_decides_the_identity() -> None:
    """Settings and needed jobs do; the name does not, nor does the order of settings."""
    one = Job(name="a", kind="convert", settings={"knots": [1], "b": 2}, needs=(EXPERTS,))
    assert one == Job(name="b", kind="convert", settings={"b": 2, "knots": [1]}, needs=(EXPERTS,))
    assert one != Job(name="a", kind="convert", settings={"knots": [2], "b": 2}, needs=(EXPERTS,))
    other = Job(name="experts", kind="experts", settings={"experts": 3})
    assert one != Job(name="a", kind="convert", settings={"knots": [1], "b": 2}, needs=(other,))


def test_needed_jobs_come_first_and_once() -> None:
    """However often they are needed."""
    two = [
        Job(name=name, kind="convert", settings={"knots": [n]}, needs=(EXPERTS,))
        for n, name in enumerate("ab")
    ]
    assert [job.name for job in ordered([*two, *two])] == ["experts", "a", "b"]


def test_what_a_job_found_is_read_back(tmp_path: Path) -> None:
    """Its folder has its settings from the start, and its result at the end."""
    folders = Folders(tmp_path)
    path = folders.begin(EXPERTS)
    assert path == tmp_path / "jobs" / EXPERTS.label
    assert json.loads((path / "job.json").read_bytes())["settings"] == {"experts": 2}
    assert folders.found(EXPERTS) is None
    folders.finish(EXPERTS, {"bytes": 3}, seconds=1.5, cpu_seconds=1.0)
    assert folders.found(EXPERTS) == {"bytes": 3}


@pytest.mark.parametrize("content", ["{", "[]", '{"sha256": "0", "found": {}}', '{"seconds": 1}'])
def test_a_damaged_result_is_named(tmp_path: Path, content: str) -> None:
    """It is not taken for unfinished, which would do the work again without a word."""
    folders = Folders(tmp_path)
    (folders.begin(EXPERTS) / "done.json").write_text(content)
    with pytest.raises(CorruptError, match=r"done\.json: not the result of a job.*remove it"):
        folders.is_done(EXPERTS)

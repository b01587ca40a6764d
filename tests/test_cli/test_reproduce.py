"""`mct reproduce`: what it says before, during and after."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("click")

from click.testing import CliRunner, Result

from benchmarks.reproduce_kills import smallest
from mct.reproduce import SCALES, pool, scales
from mct.reproduce.job import Job
from mct.reproduce.place import Place


def run(*arguments: str | Path) -> Result:
    """Run `mct reproduce` in this process."""
    (entry,) = entry_points(group="console_scripts", name="mct")
    return CliRunner().invoke(entry.load(), ["reproduce", *map(str, arguments)])


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the scale tiny be the smallest one."""
    monkeypatch.setattr(scales, "SCALES", {**SCALES, "tiny": smallest()})


def test_dry_run(tmp_path: Path) -> None:
    """Jobs, hours, bytes and guesses; nothing is written."""
    found = run("table3", "--scale", "tiny", "--out", tmp_path / "out", "--dry-run")
    assert found.exit_code == 0, found.output
    assert [line.split()[:2] for line in found.stdout.splitlines()[1:6]] == [
        ["experts", "1"], ["convert", "1"], ["distill", "20"], ["test", "20"], ["all", "42"]
    ]  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_guesses_are_said_before_days_of_work(tmp_path: Path) -> None:
    """At the paper's scale, what it does not state is in the plan."""
    from mct.reproduce import Reproduction

    lines = Reproduction.prepare(["table2"], tmp_path / "out", scale="paper").remarks()
    assert any("neither N, M, whitening nor knots" in line for line in lines)
    assert any("mtt-cifar10-ipc50" in line for line in lines)


def test_a_failed_job_is_an_error_after_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table has dashes, the error names the job, and the exit code is 1."""

    def do(_job: Job, _place: Place, _tell: object) -> None:
        raise OSError(28, "No space left on device", "jobs")

    monkeypatch.setattr(pool, "do", do)
    found = run("table3", "--out", tmp_path / "out", "--jobs", "1")
    assert found.exit_code == 1
    assert "ipc 1" in found.stdout
    assert str(tmp_path / "out" / "table3.txt") in found.stdout
    assert "error: digits-experts-" in found.stderr
    assert "No space left on device" in found.stderr
    assert "Traceback" not in found.output


def test_ctrl_c_says_how_to_continue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are written, and the exit code is 130."""

    def do(_job: Job, _place: Place, _tell: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pool, "do", do)
    found = run("table3", "--out", tmp_path / "out", "--jobs", "1")
    assert found.exit_code == 130
    assert "out holds what is done; the same command continues" in found.stderr
    assert (tmp_path / "out" / "table3.txt").exists()


def test_report_of_nothing(tmp_path: Path) -> None:
    """There is no folder to write into: this is said, and none is made."""
    found = run("table3", "--out", tmp_path / "out", "--report")
    assert found.exit_code == 2
    assert "there is no reproduction" in found.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["table9"], "is not one of 'all', 'table1'"),
        (["table1", "--scale", "huge"], "is not one of 'tiny', 'small', 'gpu10', 'paper'"),
        (["table1", "--dry-run", "--report"], "give one of them"),
        (["table1", "--only", "x"], "--only 'x' matches none of"),
        (["table1", "--seeds", "0"], "--seeds must be >= 1, got 0"),
        (["table1", "--jobs", "0"], "0 is not in the range x>=1"),
    ],
)
def test_wrong_usage(tmp_path: Path, words: list[str], line: str) -> None:
    """One line, exit code 2, and nothing on disk."""
    found = run(*words, "--out", tmp_path / "out")
    assert found.exit_code == 2
    assert line in found.stderr
    assert not (tmp_path / "out").exists()

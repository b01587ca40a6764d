"""The campaign of faults: a slice of its trials finds nothing, and what it should find is found."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
from benchmarks.trust import faults
from benchmarks.trust.commands import Command, make_material

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(
    shutil.which("gcc") is None or sys.platform != "linux", reason="the faults need gcc and Linux"
)
def test_commands_survive_a_slice_of_all_faults() -> None:
    """No signal, no traceback, no false success, nothing lost, and the same bytes from the next run."""
    commands = "convert .mct,convert .mtt,append,extract,validate"
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "benchmarks/trust/faults.py")),
            *("--share", "1/300", "--commands", commands, "--only", "errors,kills"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"^all +(\d+) +(\d+)$", done.stdout, re.MULTILINE)
    assert found
    assert int(found[1]) >= 10
    assert int(found[2]) >= int(found[1]) / 2


class Scripted:
    """Stands in for the server: runs a function of the test in place of the command."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def run(self, _command: Command, folder: Path, _fault: object, **_more: object) -> dict[str, Any]:
        """Do what the next answer does, and return what it returns."""
        code, text, make, hit = self.answers.pop(0)
        if make is not None:
            (folder / "o").mkdir(exist_ok=True)
            (folder / "o" / "file").write_text(make)
        return {"code": code, "text": text, "calls": [0] * 14, "hit": max(hit, 0), "loose": int(hit < 0)}


RIGHT = (0, "", "result", 0)
FAILED = (1, "error: no\n", None, 0)


@pytest.mark.parametrize(
    ("disturbed", "again", "found"),
    [
        (RIGHT, (2, "error: it exists", None, 0), None),
        (FAILED, RIGHT, None),
        ((-11, "", None, 0), RIGHT, "ended with -11"),
        ((-9, "", None, 0), RIGHT, "ended with -9"),
        ((1, "Traceback (most recent call last):\n", None, 0), RIGHT, "traceback"),
        ((1, "", None, 0), RIGHT, "without a reason"),
        ((77, "error: no", None, 0), RIGHT, "ended with 77"),
        ((0, "", None, 0), RIGHT, "exit 0 without the complete result"),
        ((0, "", "resu", 0), RIGHT, "exit 0 without the complete result"),
        ((1, "error: no", "resu", 0), RIGHT, "a part of the result is there"),
        ((1, "error: no", "result", 0), RIGHT, "failed, but the result is there"),
        ((0, "", "result", faults.KINDS["fsync"]), RIGHT, "not durable"),
        ((0, "", "result", -1), RIGHT, "bytes that are not durable got a final name"),
        (FAILED, (1, "error: never", None, 0), "the rerun refuses"),
        (FAILED, (0, "", "other", 0), "the rerun gives other bytes"),
        (FAILED, (1, "Traceback", "result", 0), "the rerun leaves a traceback"),
    ],
)
def test_what_is_wrong_is_found(tmp_path: Path, disturbed: Any, again: Any, found: str | None) -> None:
    """Each way in which a command may fail its user is told, and nothing else is."""
    make_material(tmp_path / "material")
    tally = faults.Tally()
    command = Command("made", ("make", "/o"), ("src",), "o")
    server: Any = Scripted((0, "", None, 0), RIGHT, disturbed, again)
    trials = faults.Trials(server, command, tmp_path / "work", tmp_path / "material", tally)
    trials.trial("errors", "EIO from fsync 1", faults.NOTHING)
    assert bool(tally.wrong) == bool(found)
    assert not found or any(found in text for text in tally.wrong)

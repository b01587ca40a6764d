"""`mct experts --only`, and what it says."""

from __future__ import annotations

import os
import signal
import time
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from click.testing import CliRunner, Result

import trajfmt
from tests.helpers.folders import contents
from tests.helpers.nodes import code_of, forked

(ENTRY,) = entry_points(group="console_scripts", name="mct")
WORDS = ["experts", "--dataset", "digits", "--model", "ConvNetD1W4", "--experts", "3", "--epochs", "2",
         "--augment", "none", "--device", "cpu"]  # fmt: skip


def run(*arguments: str | Path) -> Result:
    """Run `mct` in this process."""
    return CliRunner().invoke(ENTRY.load(), [str(word) for word in arguments])


def test_only_some_and_then_all(tmp_path: Path) -> None:
    """Parts are said where they are, and the whole command collects them."""
    out = tmp_path / "a.mct"
    result = run(*WORDS, "--out", out, "--only", "2,0-0")
    assert (result.exit_code, result.stdout) == (0, f"{out}.parts\n"), result.output
    assert "2 experts trained" in result.stderr
    again = run(*WORDS, "--out", out, "--only", "0")
    assert (again.exit_code, again.stdout) == (0, f"{out}.parts\n")
    assert "trained" not in again.stderr
    whole = run(*WORDS, "--out", out)
    assert (whole.exit_code, whole.stdout) == (0, f"{out}\n")
    assert "2 finished experts of earlier runs taken over" in whole.stderr
    assert run(*WORDS, "--out", tmp_path / "b.mct").exit_code == 0
    assert contents(out) == contents(tmp_path / "b.mct")


@pytest.mark.parametrize(("only", "message"), [
    ("", "expected numbers and ranges such as 17 or 0-9,17, got ''"),
    ("1,", "expected numbers and ranges"), ("-1", "expected numbers and ranges"), ("a", "expected numbers"),
    ("1.5", "expected numbers and ranges"), ("1-", "expected numbers and ranges"),
    ("0-9999999", "expected numbers and ranges"), ("2-1", "expected a range from a lower to a higher number"),
    ("1,0-2", "expected every number once"), ("0-3", "--only must name experts from 0 to 2, got 3"),
])  # fmt: skip
def test_experts_that_cannot_be(tmp_path: Path, only: str, message: str) -> None:
    """Before anything is trained or written."""
    result = run(*WORDS, "--out", tmp_path / "a.mct", "--only", only)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("words", "message"), [
    (["--surrogate-gap", "0.3"], "--surrogate-gap is 0.3, which needs --sharpness"),
    (["--sharpness", "-1"], "--sharpness must be a finite number >= 0"),
    (["--curriculum", "pad"], "--curriculum pad needs the difficulty of the images; set --scores to a file"),
    (["--scores", "a.npy"], "--scores has no effect without --curriculum"),
    (["--curriculum", "pad", "--scores", "el2n"], "name it with --scores-from"),
    (["--curriculum", "pad", "--scores", "none.npy"], "none.npy: no such file"),
    (["--curriculum", "hard"], "'hard' is not 'pad'"),
])  # fmt: skip
def test_recipes_that_cannot_be(tmp_path: Path, words: list[str], message: str) -> None:
    """In the words of the command line, before anything is trained or written."""
    result = run(*WORDS, "--out", tmp_path / "a.mct", *words)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_flat_experts_with_a_curriculum(tmp_path: Path) -> None:
    """Options reach the training, the bundle records them, and the file of the run repeats it."""
    scores = tmp_path / "scores.npy"
    np.save(scores, np.arange(1352) % 100)
    words = ["--sharpness", "0.5", "--surrogate-gap", "0.3", "--curriculum", "pad", "--scores", scores]
    out, again = tmp_path / "a.mct", tmp_path / "b.mct"
    assert run(*WORDS, "--out", out, *words).exit_code == 0
    result = run("experts", "--config", tmp_path / "a.mct.toml", "--out", again)
    assert result.exit_code == 0, result.output
    assert contents(out) == contents(again)
    with trajfmt.open(out) as bundle:
        recipe = bundle.provenance.recipe or {}
    wanted = {"sharpness": 0.5, "surrogate_gap": 0.3, "curriculum": "pad", "scores": "scores.npy"}
    assert {key: recipe[key] for key in wanted} == wanted
    assert run(*WORDS, "--out", tmp_path / "c.mct").exit_code == 0
    assert contents(tmp_path / "c.mct")["knots/00000.safetensors"] != contents(out)["knots/00000.safetensors"]


def test_preempted_job_saves_its_state(tmp_path: Path) -> None:
    """SIGTERM is Ctrl-C: exit code 130, one line that says what is kept; the same command finishes."""
    out, log = tmp_path / "a.mct", tmp_path / "log"
    words = [*WORDS, "--batch-size", "50", "--save-minutes", "0", "--only", "1", "--out", str(out)]
    process = forked(words, log)
    state = tmp_path / "a.mct.parts" / ".00001.mct.00001.state"
    while not state.exists():
        assert os.waitpid(process, os.WNOHANG) == (0, 0), log.read_text()
        time.sleep(0.005)
    os.kill(process, signal.SIGTERM)
    assert code_of(process) == 130
    assert log.read_text() == (
        "error: stopped by SIGTERM; the state of experts in training (1) kept; the same command continues\n"
    )
    assert code_of(forked(words, log)) == 0
    assert "expert 1 continues after epoch " in log.read_text()
    assert not state.exists()

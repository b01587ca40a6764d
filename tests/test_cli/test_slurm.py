"""`mct experts --slurm`: what is submitted, and what a job does when its node is taken away."""

from __future__ import annotations

import os
import signal
import sys
import time
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest.importorskip("torch")
submitit = pytest.importorskip("submitit")

from click.testing import CliRunner, Result  # noqa: E402

(ENTRY,) = entry_points(group="console_scripts", name="mct")
slurm = import_module(f"{ENTRY.module.rpartition('.')[0]}.slurm")
WORDS = ["experts", "--dataset", "digits", "--model", "ConvNetD1W4", "--experts", "5", "--epochs", "2",
         "--knots", "1", "--smooth", "--device", "cuda"]  # fmt: skip
SBATCH = """#!/bin/sh
cat "$1" > "$RECORD"
echo Submitted batch job 4711
"""


def run(*arguments: str | Path) -> Result:
    """Run `mct` in this process."""
    return CliRunner().invoke(ENTRY.load(), [str(word) for word in arguments])


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an sbatch on the path that records the script it is given; return where."""
    for name, text in (("sbatch", SBATCH), ("srun", "#!/bin/sh")):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("RECORD", str(tmp_path / "script"))
    return tmp_path / "script"


def test_missing_experts_are_submitted_as_an_array(tmp_path: Path, script: Path) -> None:
    """With the options of sbatch, each job with its own experts, and without what is finished already."""
    out = tmp_path / "a.mct"
    assert run(*WORDS[:-2], "--out", out, "--only", "1", "--device", "cpu").exit_code == 0
    result = run(*WORDS, "--out", out, "--at-once", "3", "--slurm", "partition=gpu,time=120,gpus=1")
    assert result.exit_code == 0, result.output
    assert result.stdout == "4711_0: experts 0,2,3\n4711_1: experts 4\n"
    assert "2 jobs submitted" in result.stderr
    assert "the same command without --slurm collects the experts" in result.stderr
    lines = script.read_text().splitlines()
    for line in ("--partition=gpu", "--time=120", "--gpus=1", "--array=0-1%2"):
        assert f"#SBATCH {line}" in lines
    for number, experts in enumerate(("0,2,3", "4")):
        stored = next((out.parent / "a.mct.parts" / "slurm").glob(f"4711_{number}_submitted.pkl"))
        words = submitit.core.utils.DelayedSubmission.load(stored).function.words
        assert words[:4] == [sys.executable, "-m", "traj_cli.mct", "experts"]
        expected = [*WORDS[1:], "--out", str(out), "--at-once", "3", "--only", experts]
        assert sorted(words[4:]) == sorted(expected)


def test_array_without_missing_experts(tmp_path: Path, script: Path) -> None:
    """Nothing is submitted."""
    assert run(*WORDS[:-2], "--out", tmp_path / "a.mct", "--only", "0-4", "--device", "cpu").exit_code == 0
    result = run(*WORDS, "--out", tmp_path / "a.mct", "--slurm", "time=5")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("no expert is missing; ")
    assert not script.exists()


@pytest.mark.parametrize(("settings", "code", "message"), [
    ("partition", 2, "expected different names with values"),
    ("time=1,time=2", 2, "expected different names with values"),
    ("time=2:00:00", 2, "expected minutes such as time=120, got time=2:00:00"),
    ("partition=gpu", 2, "the jobs could not be submitted"),  # there is no srun
])  # fmt: skip
def test_what_cannot_be_submitted(tmp_path: Path, settings: str, code: int, message: str) -> None:
    """One line, whose reason names the option."""
    result = run(*WORDS, "--out", tmp_path / "a.mct", "--slurm", settings)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.split())
    assert "--slurm" in result.stderr


def test_submitit_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, "submitit", None)
    result = run(*WORDS, "--out", tmp_path / "a.mct", "--slurm", "time=5")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: --slurm needs submitit: pip install 'trajfmt[slurm]'\n"


def test_job_whose_node_is_taken_away_goes_on(tmp_path: Path) -> None:
    """A real job of submitit: the command gets SIGTERM and saves; the same job, queued again, finishes it."""
    state, done = tmp_path / "state", tmp_path / "done"
    code = (
        "import os, pathlib, signal, sys, time\n"
        f"state, done = pathlib.Path({str(state)!r}), pathlib.Path({str(done)!r})\n"
        "if state.exists() and state.read_text() == 'saved': done.touch(); sys.exit()\n"
        "signal.signal(signal.SIGTERM, lambda *_: (state.write_text('saved'), sys.exit(130)))\n"
        "state.with_suffix('.new').write_text(str(os.getppid()))\n"
        "state.with_suffix('.new').rename(state)\n"
        "time.sleep(60)\n"
    )
    executor = submitit.LocalExecutor(folder=tmp_path / "logs")
    executor.update_parameters(timeout_min=5)
    job = executor.submit(slurm.Job([sys.executable, "-c", code]))
    while not state.exists():
        assert job.state != "FINISHED", job.stderr()
        time.sleep(0.05)
    os.kill(int(state.read_text()), signal.SIGUSR2)  # as Slurm does to submitit
    assert job.result() is None
    assert done.exists()


def test_job_that_fails_says_so() -> None:
    """With its command and exit code, in the log of the job."""
    with pytest.raises(RuntimeError, match=r"exit code 3 of .* -c 'raise SystemExit"):
        slurm.Job([sys.executable, "-c", "raise SystemExit(3)"])()

"""`mct` under torchrun: what two real processes write and say, and what is left if they end early."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("click")

from click.testing import CliRunner, Result

from tests.helpers.folders import contents
from tests.helpers.nodes import can_make_networks, code_of, forked, ranks_here, two_networks

EXPERTS = ["experts", "--dataset", "digits", "--model", "ConvNetD1W4", "--experts", "1", "--epochs", "6"]
SMALL = ["--steps", "2", "--expert-steps", "2", "--max-start", "3", "--lr-img", "10", "--engine", "eager"]
LONG = [*SMALL, "--outer-steps", "100000", "--save-every", "100000"]
(ENTRY,) = entry_points(group="console_scripts", name="mct")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            "-m", ENTRY.module]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Compute in this process as in those that torchrun starts."""
    import torch

    torch.set_num_threads(1)


def run(*arguments: str | Path) -> Result:
    """Run `mct` in this process, and require success."""
    result = CliRunner().invoke(ENTRY.load(), [str(word) for word in arguments])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small convex bundle."""
    path = tmp_path_factory.mktemp("experts") / "small.mct"
    run(*EXPERTS, "--out", path)
    return path


@pytest.fixture
def torchrun() -> Iterator[object]:
    """Return a function that starts two processes in a process group of their own."""
    started = []

    def start(*arguments: str | Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*TORCHRUN, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def lines_of(folder: Path) -> list[dict[str, object]]:
    """Return the metrics, without what a step took of the machine."""
    taken = dict.fromkeys(("seconds", "parts", "memory_mb", "utilisation"))
    return [json.loads(line) | taken for line in (folder / "metrics.jsonl").read_text().splitlines()]


def wait_for_steps(process: subprocess.Popen[str], folder: Path, steps: int) -> None:
    """Wait until a run has done some steps."""
    metrics = folder / "metrics.jsonl"
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < steps:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)


def member(process: subprocess.Popen[str], rank: int) -> int:
    """Return the process of a rank."""
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "environ").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        if parent == process.pid and b"RANK=%d" % rank in words:
            return int(entry.name)
    raise AssertionError(f"no rank {rank}")


def said(stderr: str) -> list[str]:
    """Return what our processes say, without the device and the report that torchrun always gives."""
    own = [line for line in stderr.splitlines() if line.startswith(("error:", "note:", "Aborted"))]
    return [line for line in own if not line.startswith("note: computing on ")]


def test_two_processes_write_what_one_does(bundle: Path, tmp_path: Path, torchrun) -> None:
    """By default each has a sample of its own, which is one process with two samples, to the bit."""
    process = torchrun("distill", "--traj", bundle, "--out", tmp_path / "two", *SMALL, "--outer-steps", "4")
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert stdout == f"{tmp_path / 'two' / 'synthetic.safetensors'}\n"
    assert said(stderr) == []
    run(
        "distill", "--traj", bundle, "--out", tmp_path / "one", *SMALL, "--outer-steps", "4", "--samples", "2"
    )
    for name in ("synthetic.safetensors", "state.safetensors", "images.png"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert lines_of(tmp_path / "two") == lines_of(tmp_path / "one")


def test_experts_of_two_processes_are_those_of_one(tmp_path: Path) -> None:
    """The bundle has the same bytes, and one process says that it is there."""
    recipe, target = [*EXPERTS[:-3], "3", "--epochs", "2"], str(tmp_path / "two.mct")
    logs = [tmp_path / "log-0", tmp_path / "log-1"]
    started = [
        forked([*recipe, "--out", target], log, **place)
        for log, place in zip(logs, ranks_here(2), strict=True)
    ]
    codes = [code_of(process) for process in started]
    assert codes == [0, 0], [log.read_text() for log in logs]
    assert [log.read_text().splitlines().count(target) for log in logs] == [1, 0]
    run(*recipe, "--out", tmp_path / "one.mct")
    one, two = (
        {file.name: file.read_bytes() for file in path.rglob("*") if file.is_file()}
        for path in (tmp_path / "one.mct", tmp_path / "two.mct")
    )
    assert one == two


@pytest.mark.skipif(not can_make_networks(), reason="needs root and network namespaces")
def test_two_nodes_write_what_one_process_does(bundle: Path, tmp_path: Path) -> None:
    """Each in a network of its own, where the name of the machine leads nowhere: as torchrun --nnodes 2."""
    distill = ["distill", "--traj", str(bundle), *SMALL, "--outer-steps", "2", "--device", "cpu"]
    experts = [*EXPERTS[:-3], "3", "--epochs", "2", "--device", "cpu"]
    with two_networks() as (*nodes, address):
        for number, (words, name) in enumerate([(experts, "two.mct"), (distill, "two")]):
            started = [
                forked(
                    [*words, "--out", str(tmp_path / name)], tmp_path / f"{name}-{rank}", network=node,
                    RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK="0", MASTER_ADDR=address,
                    MASTER_PORT=str(29517 + number), MCT_WAIT="60",
                )
                for rank, node in enumerate(nodes)
            ]  # fmt: skip
            codes = [code_of(process) for process in started]
            assert codes == [0, 0], [(tmp_path / f"{name}-{rank}").read_text() for rank in (0, 1)]
    run(*experts, "--out", tmp_path / "one.mct")
    run(*distill, "--out", tmp_path / "one", "--samples", "2")
    assert contents(tmp_path / "two.mct") == contents(tmp_path / "one.mct")
    for name in ("synthetic.safetensors", "state.safetensors"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def check_rest(bundle: Path, out: Path) -> None:
    """Require that no finished step is lost, and that one process continues."""
    from mct.distillation import state

    found = state.load(out / "state.safetensors")
    assert found.synthetic.origin.config.samples == 2
    assert lines_of(out)[-1]["step"] - found.step in (0, 1)  # a signal may come between line and step
    run("distill", "--traj", bundle, "--out", out, "--resume", "--outer-steps", str(found.step + 2))
    assert [line["step"] for line in lines_of(out)] == list(range(1, found.step + 3))


def test_process_that_is_killed_ends_the_run(bundle: Path, tmp_path: Path, torchrun) -> None:
    """The other one says so in one line and keeps the last whole state, from which the run continues."""
    out = tmp_path / "run"
    process = torchrun("distill", "--traj", bundle, "--out", out, *LONG)
    wait_for_steps(process, out, 3)
    os.kill(member(process, 1), signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode != 0
    assert stdout == ""
    (line,) = said(stderr)
    assert "another process" in line
    assert f"{out / 'state.safetensors'} holds the state" in line
    assert "--resume" in line
    check_rest(bundle, out)


def test_interrupt_of_all_processes(bundle: Path, tmp_path: Path, torchrun) -> None:
    """Ctrl-C, which each gets from the terminal and once more from torchrun: one line, nothing lost."""
    out = tmp_path / "run"
    process = torchrun("distill", "--traj", bundle, "--out", out, *LONG)
    wait_for_steps(process, out, 3)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode != 0
    (line,) = said(stderr)
    assert line.startswith("error: interrupted; ")
    assert "continue with: torchrun --nproc-per-node 2 -m traj_cli.mct distill" in line
    check_rest(bundle, out)


@pytest.mark.parametrize(("rank", "size", "expected"), [
    ("0", "2", ["torchrun", "--nproc-per-node", "2", "-m", "traj_cli.mct"]),
    ("0", "1", ["mct"]), (None, "2", ["mct"]),
])  # fmt: skip
def test_how_the_program_was_started(monkeypatch, rank: str | None, size: str, expected: list[str]) -> None:
    """The hint after an interruption is the command that was typed."""
    started = import_module(f"{ENTRY.module.rpartition('.')[0]}.torchrun")
    monkeypatch.setenv("WORLD_SIZE", size)
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    assert started.program() == expected


@pytest.mark.parametrize(("arguments", "code", "start"), [
    (["presets", "--dataset", "absent"], 2, "error: rank 1: no presets for absent;"),  # its own
    (["distill", "--steeps", "3"], 2, None),  # said by process 0
    (["evaluate", "absent"], 2, "error: rank 1: MASTER_ADDR is not set: "),  # its own
])  # fmt: skip
def test_other_processes_say_only_what_they_alone_met(monkeypatch, arguments, code: int, start) -> None:
    """Wrong usage is said by process 0, a failure by the process that failed; an error names its process."""
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    result = CliRunner().invoke(ENTRY.load(), arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(start) if start else result.stderr == ""

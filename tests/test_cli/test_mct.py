"""The commands `mct`: what they print, refuse, write and leave alone."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("click")

from click.testing import CliRunner, Result

from tests.helpers.pages import assert_sound

EXPERTS = ["experts", "--dataset", "digits", "--model", "ConvNetD2W4", "--experts", "2", "--epochs", "8"]
SMALL = ["--steps", "2", "--expert-steps", "2", "--max-start", "3", "--lr-img", "10", "--outer-steps", "3"]


def run(*arguments: str | Path) -> Result:
    """Run `mct` in this process."""
    (entry,) = [point for point in entry_points(group="console_scripts") if point.name == "mct"]
    return CliRunner().invoke(entry.load(), [str(word) for word in arguments])


def fails(code: int, message: str, *arguments: str | Path) -> None:
    """Check that a command fails with one clear line, nothing on stdout, and a given exit code."""
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert isinstance(result.exception, SystemExit)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small convex bundle of digits experts."""
    path = tmp_path_factory.mktemp("experts") / "small.mct"
    result = run(*EXPERTS, "--out", path)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{path}\n"
    return path


@pytest.fixture(scope="module")
def finished(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small finished run."""
    out = tmp_path_factory.mktemp("runs") / "run"
    result = run("distill", "--traj", bundle, "--out", out, *SMALL)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out / 'synthetic.safetensors'}\n"
    return out


def test_help_does_not_import_torch() -> None:
    """Help of the group and of every command answers without torch."""
    code = (
        "import sys; from importlib.metadata import entry_points\n"
        "(entry,) = [p for p in entry_points(group='console_scripts') if p.name == 'mct']\n"
        "main = entry.load()\n"
        "for name in ['', *main.commands]:\n"
        "    try: main([name, '--help'] if name else ['--help'])\n"
        "    except SystemExit as stop: assert stop.code == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage:") == 12


def test_run_writes_its_files(finished: Path) -> None:
    """Result, state, settings, options, metrics and picture, and nothing temporary."""
    names = {entry.name for entry in finished.iterdir()}
    files = {"synthetic.safetensors", "state.safetensors", "settings.json", "metrics.jsonl", "images.png"}
    assert names == {*files, "config.toml"}
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    expected = {"step", "loss", "trajectory", "start", "target", "learning_rate", "seconds",
                "parts", "memory_mb", "utilisation"}  # fmt: skip
    assert all(set(line) == expected for line in lines)
    assert all(line["target"] == line["start"] + 2 for line in lines)


def test_report_of_a_real_run(finished: Path, tmp_path: Path) -> None:
    """What a run writes can be read: its settings, with the hardware, its three steps, and ten images."""
    result = run("report", finished, "-o", tmp_path / "r.html", "-o", tmp_path / "r.json")
    assert result.exit_code == 0, result.output
    (facts,) = json.loads((tmp_path / "r.json").read_text())["runs"]
    assert facts["loss"]["steps"] == [1, 2, 3]
    assert facts["hardware"].startswith("the CPU")
    assert facts["settings"]["lr_img"] == {"value": 10, "known": "given"}
    assert len(assert_sound((tmp_path / "r.html").read_bytes()).all("img")) == 10


def test_default_folder_is_named_after_the_bundle(bundle: Path, tmp_path: Path, monkeypatch) -> None:
    """`mct distill --traj small.mct` writes to small-distilled in the current folder."""
    monkeypatch.chdir(tmp_path)
    assert run("distill", "--traj", bundle, *SMALL).exit_code == 0
    assert (tmp_path / "small-distilled" / "images.png").is_file()


def test_distilling_from_an_address(
    bundle: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same result as from the path, in a folder named after the address's last part."""
    memory = pytest.importorskip("fsspec").filesystem("memory")
    memory.put(str(bundle), "/experts/small.mct", recursive=True)
    monkeypatch.chdir(tmp_path)
    result = run("distill", "--traj", "memory://experts/small.mct", *SMALL)
    memory.rm("/experts", recursive=True)
    assert result.exit_code == 0, result.output
    assert result.stdout == "small-distilled/synthetic.safetensors\n"
    written = (tmp_path / "small-distilled/synthetic.safetensors").read_bytes()
    assert written == (finished / "synthetic.safetensors").read_bytes()


def test_evaluate_prints_a_table_or_one_json_object(finished: Path) -> None:
    """The same figures both ways; the JSON is one object on one line."""
    options = ["--networks", "2", "--epochs", "2"]
    table = run("evaluate", finished, *options)
    assert table.exit_code == 0, table.output
    assert "distilled" in table.stdout
    assert "random real" in table.stdout
    as_json = run("evaluate", finished / "synthetic.safetensors", *options, "--json")
    (line,) = as_json.stdout.splitlines()
    facts = json.loads(line)
    assert len(facts["distilled"]["networks"]) == 2
    assert f"{100 * facts['distilled']['mean']:.1f}%" in table.stdout
    alone = json.loads(run("evaluate", finished, *options, "--no-baseline", "--json").stdout)
    assert alone["random_real"] is None
    assert alone["distilled"] == facts["distilled"]


def test_full_bundle_and_buffer(tmp_path: Path) -> None:
    """A full bundle is distilled by the same command; a folder gets MTT's layout."""
    short = [*EXPERTS[:-1], "5"]
    assert run(*short, "--out", tmp_path / "all.mtt").exit_code == 0
    result = run("distill", "--traj", tmp_path / "all.mtt", "--out", tmp_path / "run", *SMALL)
    assert result.exit_code == 0, result.output
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert all(json.loads(line)["start"] % 1 == 0 for line in lines)
    result = run(*short, "--out", tmp_path / "buffers")
    assert (tmp_path / "buffers" / "digits_NO_ZCA" / "ConvNetD2W4" / "replay_buffer_0.pt").is_file()


def test_resume_continues_with_the_settings_of_the_run(bundle: Path, finished: Path, tmp_path: Path) -> None:
    """Two steps and then one more give the bits of three; settings need not be repeated."""
    out = tmp_path / "run"
    assert run("distill", "--traj", bundle, "--out", out, *SMALL[:-1], "2").exit_code == 0
    result = run("distill", "--traj", bundle, "--out", out, "--resume", "--outer-steps", "3")
    assert result.exit_code == 0, result.output
    for name in ("synthetic.safetensors", "state.safetensors", "images.png"):
        assert (out / name).read_bytes() == (finished / name).read_bytes()


def test_interrupt_writes_the_state(bundle: Path, tmp_path: Path) -> None:
    """Ctrl-C ends with 130 and the command that continues; the run can be continued."""
    out = tmp_path / "run"
    code = (
        "import sys; from importlib.metadata import entry_points\n"
        "(entry,) = [p for p in entry_points(group='console_scripts') if p.name == 'mct']\n"
        "sys.argv[0] = 'mct'; entry.load()()\n"
    )
    arguments = [
        "distill",
        "--traj",
        str(bundle),
        "--out",
        str(out),
        *SMALL[:-1],
        "100000",
        "--engine",
        "eager",
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    metrics = out / "metrics.jsonl"
    for _ in range(600):
        if metrics.exists() and metrics.read_bytes().count(b"\n") >= 3:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert stdout == ""
    assert "Traceback" not in stderr
    assert f"--out {out}" in stderr
    assert "--resume" in stderr
    done = metrics.read_bytes().count(b"\n")
    result = run("distill", "--traj", bundle, "--out", out, "--resume", "--outer-steps", str(done + 2))
    assert result.exit_code == 0, result.output
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert steps == list(range(1, done + 3))


def test_existing_outputs_are_refused(bundle: Path, finished: Path) -> None:
    """Neither a run nor a bundle is overwritten."""
    before = (finished / "state.safetensors").read_bytes()
    fails(2, "--resume", "distill", "--traj", bundle, "--out", finished, *SMALL)
    assert (finished / "state.safetensors").read_bytes() == before
    fails(2, "exists", *EXPERTS, "--out", bundle)


BAD_USE = {
    "address": (
        2,
        "must be a path of this machine",
        ["experts", "--dataset", "digits", "--out", "s3://bucket/x.mct"],
    ),
    "nothing at it": (2, "nothing is there", ["distill", "--traj", "memory://gone/absent.mct"]),
    "no bundle": (2, "no such file", ["distill", "--traj", "absent.mct"]),
    "not a result": (2, "no such file", ["evaluate", "absent.safetensors"]),
    "no run": (2, "no run to resume", ["distill", "--traj", "absent.mct", "--out", "absent", "--resume"]),
    "dataset": (2, "known datasets: digits", ["experts", "--dataset", "imagenet", "--out", "x"]),
    "model": (2, "VGG11", ["experts", "--dataset", "digits", "--out", "x", "--model", "VGG11"]),
    "setting": (
        2,
        "--epochs must be >= 1",
        ["experts", "--dataset", "digits", "--out", "x", "--epochs", "0"],
    ),
    "depth": (2, "smaller depth", ["experts", "--dataset", "digits", "--out", "x", "--model", "ConvNetD4"]),
    "device": (
        2,
        "--device 'abacus' cannot be used: torch knows no such device; use cpu, cuda",
        ["experts", "--dataset", "digits", "--out", "x", "--device", "abacus"],
    ),
    "option": (2, "No such option", ["distill", "--steeps", "3"]),
    "type": (2, "not a valid integer", ["evaluate", "x", "--networks", "many"]),
    "required": (2, "give at least one bundle: --traj, or a --method that needs none", ["distill"]),
}


@pytest.mark.parametrize("case", BAD_USE)
def test_bad_use_is_one_line_with_its_code(tmp_path: Path, monkeypatch, case: str) -> None:
    """Every mistake has its message and its exit code, and leaves no file behind."""
    monkeypatch.chdir(tmp_path)
    code, message, arguments = BAD_USE[case]
    fails(code, message, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_bad_settings_for_a_bundle(bundle: Path, tmp_path: Path) -> None:
    """What does not fit the bundle is refused before a folder is made."""
    out = tmp_path / "run"
    start = ["distill", "--traj", bundle, "--out", out]
    fails(2, "trajectory 0 ends at timestep 8", *start, "--max-start", "7", "--expert-steps", "3")
    fails(1, "not 'zca'", *start, "--preprocessing", "zca")
    fails(1, "--model says 'ConvNetD2W8'", *start, "--model", "ConvNetD2W8")
    fails(2, "--ipc is 1000", *start, *SMALL, "--ipc", "1000")
    assert not out.exists()


def test_divergence_keeps_the_last_state(bundle: Path, tmp_path: Path) -> None:
    """An impossible step size is one line, exit code 1, and another one continues from the last state."""
    out = tmp_path / "run"
    fails(1, "outer step", "distill", "--traj", bundle, "--out", out, *SMALL, "--lr-lr", "1e9")
    again = run("distill", "--traj", bundle, "--out", out, *SMALL, "--resume", "--lr-lr", "1e-7")
    assert again.exit_code == 0, again.output
    assert (out / "synthetic.safetensors").is_file()


def test_damaged_result(finished: Path, tmp_path: Path) -> None:
    """A truncated result is corrupt (4), a foreign file is none of ours (3)."""
    path = tmp_path / "cut.safetensors"
    path.write_bytes((finished / "synthetic.safetensors").read_bytes()[:-100])
    fails(4, "damaged", "evaluate", path)
    fails(3, "expected a synthetic dataset", "evaluate", finished / "state.safetensors")


def test_dataset_from_a_file(tmp_path: Path) -> None:
    """An `.npz` dataset goes through all commands; where its path is needed, the error says so."""
    rng = np.random.default_rng(0)
    images, labels = rng.random((30, 8, 8, 3)), np.arange(30) % 3
    data = tmp_path / "mine.npz"
    np.savez(data, train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    path, out = tmp_path / "mine.mct", tmp_path / "run"
    result = run("experts", "--dataset", data, "--out", path, "--model", "ConvNetD1W4", "--experts", "1",
                 "--epochs", "6", "--lr", "0.05")  # fmt: skip
    assert result.exit_code == 0, result.output
    start = ["distill", "--traj", path, "--out", out, *SMALL]
    fails(2, ".npz", *start)
    assert run(*start, "--dataset", data).exit_code == 0
    short = ["evaluate", out, "--networks", "1", "--epochs", "1", "--no-baseline"]
    fails(2, "unknown dataset 'mine'", *short)
    assert run(*short, "--dataset", data).exit_code == 0


def test_demo_runs_the_users_own_commands(tmp_path: Path, monkeypatch) -> None:
    """The three commands of the README, between experts and evaluation, in the demo's folder."""
    (entry,) = [point for point in entry_points(group="console_scripts") if point.name == "mct"]
    demo = importlib.import_module(f"{entry.module.rpartition('.')[0]}.demo")
    seen: list[tuple[object, ...]] = []
    monkeypatch.setattr(demo, "_command", lambda *words: seen.append(words))
    assert run("demo", "--out", tmp_path / "demo").exit_code == 0
    assert {words[0] for words in seen} == {tmp_path / "demo"}
    assert [words[1:] for words in seen[1:4]] == [
        ("traj", "convert", str(Path("buffer", "digits_NO_ZCA", "ConvNetD2W32")), "out.mct"),
        ("traj", "inspect", "out.mct"),
        ("mct", "distill", "--traj", "out.mct"),
    ]


def test_demo_stops_at_the_first_failure(tmp_path: Path) -> None:
    """A command that fails ends the demo with its exit code."""
    (entry,) = [point for point in entry_points(group="console_scripts") if point.name == "mct"]
    demo = importlib.import_module(f"{entry.module.rpartition('.')[0]}.demo")
    with pytest.raises(SystemExit) as stop:
        demo._command(tmp_path, "mct", "evaluate", "absent")
    assert stop.value.code == 2


def test_demo_replaces_only_what_a_demo_made(tmp_path: Path) -> None:
    """A folder with other files is never touched, with --force neither."""
    (tmp_path / "precious").write_text("mine")
    fails(2, "not made by a demo", "demo", "--out", tmp_path, "--force")
    fails(2, "not made by a demo", "demo", "--out", tmp_path / "precious")
    assert (tmp_path / "precious").read_text() == "mine"
    earlier = tmp_path / "demo"
    earlier.mkdir()
    (earlier / ".mct-demo").touch()
    fails(2, "--force", "demo", "--out", earlier)


def test_keep_mb_is_a_number_or_auto(bundle: Path, tmp_path: Path) -> None:
    """The default is auto; another word is refused."""
    for number, given in enumerate(([], ["--keep-mb", "auto"], ["--keep-mb", "3"])):
        result = run("distill", "--traj", bundle, "--out", tmp_path / str(number), *SMALL, *given)
        assert result.exit_code == 0, result.output
    result = run("distill", "--traj", bundle, "--out", tmp_path / "x", *SMALL, "--keep-mb", "much")
    assert result.exit_code == 2
    assert "expected a whole number of MiB, or auto, got 'much'" in result.stderr


def test_the_chosen_device_is_said_and_a_named_one_is_not(bundle: Path, tmp_path: Path) -> None:
    """Once, when the work has begun."""
    said = "note: computing on the CPU, "
    result = run("distill", "--traj", bundle, "--out", tmp_path / "auto", *SMALL)
    assert sum(line.startswith(said) for line in result.stderr.splitlines()) == 1
    result = run("distill", "--traj", bundle, "--out", tmp_path / "cpu", *SMALL, "--device", "cpu")
    assert said not in result.stderr
    result = run(
        "experts", "--dataset", "digits", "--out", tmp_path / "e.mct", "--experts", "1", "--epochs", "1"
    )
    assert sum(line.startswith(said) for line in result.stderr.splitlines()) == 1


def test_deterministic_is_accepted_and_what_it_refuses_is_one_line(
    bundle: Path, tmp_path: Path, python, monkeypatch
) -> None:
    """On a CPU it changes nothing; an operator without such an algorithm is named, with what to do."""
    words = [
        *("distill", "--traj", str(bundle), *SMALL, "--device", "cpu", "--deterministic"),
        *("--out", str(tmp_path / "one")),
    ]
    code = f"""
import warnings
warnings.simplefilter("ignore")
import torch
from click.testing import CliRunner
from traj_cli.mct import main
done = CliRunner().invoke(main, {words!r})
print(done.exit_code, torch.are_deterministic_algorithms_enabled())
"""
    assert python(code).split() == ["0", "True"]
    assert (
        run("distill", "--traj", bundle, *SMALL, "--device", "cpu", "--out", tmp_path / "two").exit_code == 0
    )
    one, two = (tmp_path / name / "synthetic.safetensors" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()

    def refuse(*_, **__):
        raise RuntimeError(
            "grid_sampler_2d_backward_cuda does not have a deterministic implementation, but you"
        )

    monkeypatch.setattr("mct.distillation.distiller.Distiller.step", refuse)
    result = run("distill", "--traj", bundle, *SMALL, "--device", "cpu", "--out", tmp_path / "three")
    assert (result.exit_code, result.stderr) == (
        1,
        "error: grid_sampler_2d_backward_cuda does not have a deterministic implementation in this version "
        "of torch; omit --deterministic\n",
    )


def test_want_of_memory_before_the_first_step_is_one_line(bundle: Path, tmp_path: Path, monkeypatch) -> None:
    """Wherever torch runs out of it."""
    import torch

    def fail(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee documentation")

    monkeypatch.setattr("mct.data.datasets.Dataset.to", fail)
    for words in (
        ["distill", "--traj", bundle, *SMALL, "--out", tmp_path / "run"],
        ["experts", "--dataset", "digits", "--out", tmp_path / "e.mct", "--experts", "1", "--epochs", "1"],
    ):
        result = run(*words)
        assert (result.exit_code, result.stderr) == (
            1,
            "error: not enough memory: CUDA out of memory. Tried to allocate 2.00 GiB.\n",
        )

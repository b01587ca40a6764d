"""Runs through the command: logs, the file that repeats a run, and both after a resumption."""

from __future__ import annotations

import csv
import json
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from click.testing import CliRunner, Result

EXPERTS = ["--dataset", "digits", "--model", "ConvNetD1W2", "--experts", "1", "--epochs", "4"]
SMALL = ["--steps", "1", "--expert-steps", "1", "--max-start", "2", "--lr-img", "10", "--save-every", "2"]
EVALUATE = ["--eval-every", "2", "--eval-networks", "1", "--eval-epochs", "1", "--select", "test"]


def run(*arguments: str | Path) -> Result:
    """Run `mct` in this process."""
    (entry,) = entry_points(group="console_scripts", name="mct")
    return CliRunner().invoke(entry.load(), [str(word) for word in arguments])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle of one small expert, and beside it the file of its run."""
    path = tmp_path_factory.mktemp("experts") / "small.mct"
    result = run("experts", *EXPERTS, "--out", path)
    assert result.exit_code == 0, result.output
    return path


@pytest.fixture(scope="module")
def finished(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of 4 steps with evaluations and logs."""
    out = tmp_path_factory.mktemp("runs") / "run"
    words = [*SMALL, *EVALUATE, "--outer-steps", "4", "--log", "csv", "--log", "tensorboard"]
    result = run("distill", "--traj", bundle, "--out", out, *words)
    assert result.exit_code == 0, result.output
    return out


def rows(out: Path) -> list[dict[str, str]]:
    """Return the rows of `log.csv`."""
    with (out / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_log_has_the_values_of_the_metrics(finished: Path) -> None:
    """Every step once, with the same numbers as `metrics.jsonl`."""
    metrics = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    logged = rows(finished)
    assert [int(row["step"]) for row in logged] == [0, 1, 2, 3, 4]
    for row, facts in zip(logged, metrics, strict=True):
        expected = facts.get("loss"), facts.get("learning_rate"), facts.get("accuracy", {}).get("mean")
        found = tuple(float(row[name] or "nan") for name in ("loss", "learning_rate", "accuracy_mean"))
        assert all(b != b if a is None else a == b for a, b in zip(expected, found, strict=True))


def test_a_run_is_repeated_by_its_own_file(finished: Path, tmp_path: Path) -> None:
    """The same bits in another folder, and a file that differs in the folder alone."""
    words = ["distill", "--config", finished / "config.toml"]
    refused = run(*words)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "is not empty" in refused.stderr
    result = run(*words, "--out", tmp_path / "again")
    assert result.exit_code == 0, result.output
    for name in ("synthetic.safetensors", "best.safetensors", "state.safetensors", "images.png"):
        assert (tmp_path / "again" / name).read_bytes() == (finished / name).read_bytes()
    ours, theirs = ((out / "config.toml").read_text() for out in (finished, tmp_path / "again"))
    assert theirs.replace(str(tmp_path / "again"), str(finished)) == ours
    assert "resume" not in ours


def test_a_resumed_run_continues_its_logs_and_its_file(bundle: Path, finished: Path, tmp_path: Path) -> None:
    """Two steps and two more log what four steps do, and the file has the settings of both."""
    out = tmp_path / "run"
    start = ["distill", "--traj", bundle, "--out", out, "--log", "csv", "--log", "tensorboard"]
    assert run(*start, *SMALL, *EVALUATE, "--outer-steps", "2").exit_code == 0
    again = run(*start, "--resume", "--outer-steps", "4")
    assert again.exit_code == 0, again.output
    timed = {"seconds", "memory_mb"}
    without = [
        [{k: v for k, v in row.items() if k not in timed} for row in rows(each)] for each in (out, finished)
    ]
    assert without[0] == without[1]
    ours, theirs = ((each / "config.toml").read_text() for each in (finished, out))
    assert theirs.replace(str(out), str(finished)) == ours


def test_tensorboard_reads_a_run(finished: Path) -> None:
    """All series and the pictures, by its own reader."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(finished / "tensorboard"), size_guidance={"images": 0, "scalars": 0})
    found.Reload()
    assert [event.step for event in found.Scalars("loss")] == [1, 2, 3, 4]
    assert [event.step for event in found.Scalars("accuracy_mean")] == [0, 2, 4]
    assert [event.step for event in found.Images("images")] == [2, 4]
    assert found.Images("images")[-1].encoded_image_string.startswith(b"\x89PNG")


def test_a_changed_rate_is_a_comment_of_the_file(bundle: Path, tmp_path: Path) -> None:
    """The file cannot repeat what two rates did, and says so."""
    start = ["distill", "--traj", bundle, "--out", tmp_path / "run"]
    assert run(*start, *SMALL, "--outer-steps", "1").exit_code == 0
    assert run(*start, "--resume", "--outer-steps", "2", "--lr-img", "20").exit_code == 0
    lines = (tmp_path / "run" / "config.toml").read_text().splitlines()
    assert lines[1] == "# lr_img was 10.0 until step 1; this is not repeated"
    assert "lr-img = 20.0" in lines


def test_experts_are_repeated_by_the_file_beside_them(bundle: Path, tmp_path: Path) -> None:
    """The same manifest, hence the same files; and a file of the user there is kept."""
    mine = tmp_path / "again.mct.toml"
    mine.write_text("[experts]\n")
    result = run("experts", "--config", f"{bundle}.toml", "--out", tmp_path / "again.mct")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "again.mct/manifest.json").read_bytes() == (bundle / "manifest.json").read_bytes()
    assert mine.read_text() == "[experts]\n"
    assert f"note: {mine} is not a file of mct" in result.stderr


def test_a_missing_package_of_a_log_is_said_first(tmp_path: Path, monkeypatch: Any) -> None:
    """Before anything is read or written."""
    monkeypatch.setattr("mct.logs.log.find_spec", lambda _name: None)
    result = run("distill", "--traj", "absent.mct", "--out", tmp_path / "run", "--log", "wandb")
    assert (result.exit_code, result.stderr) == (
        1,
        "error: the log wandb needs the package wandb: pip install 'trajfmt[wandb]'\n",
    )


def test_experts_of_a_part_say_so_and_are_distilled_with_the_whole(tmp_path: Path) -> None:
    """The recipe records the number of images; the preprocessing is that of the whole data set."""
    import trajfmt

    path = tmp_path / "part.mct"
    result = run("experts", *EXPERTS, "--limit", "3", "--out", path)
    assert result.exit_code == 0, result.output
    with trajfmt.open(path) as opened:
        assert opened.manifest.provenance.recipe is not None
        assert opened.manifest.provenance.recipe["images_per_class"] == 3
    result = run("distill", "--traj", path, "--out", tmp_path / "run", *SMALL, "--outer-steps", "1")
    assert result.exit_code == 0, result.output
    refused = run("experts", *EXPERTS, "--limit", "0", "--out", tmp_path / "none.mct")
    assert (refused.exit_code, refused.stderr) == (2, "error: --limit must be >= 1, got 0\n")


def test_the_test_of_the_best_images_is_kept(bundle: Path, tmp_path: Path) -> None:
    """What is printed once at the end is also in the folder and in the report."""
    out = tmp_path / "run"
    words = [*SMALL, "--eval-every", "1", "--eval-networks", "1", "--eval-epochs", "1", "--outer-steps", "1"]
    result = run("distill", "--traj", bundle, "--out", out, *words)
    assert result.exit_code == 0, result.output
    found = json.loads((out / "test.json").read_text())
    mean = found["accuracy"]["mean"]
    assert f"best images: step {found['outer_step']}; test accuracy, once: {mean:.1%}\n" in result.stderr
    assert run("report", out, "-o", tmp_path / "r.json", "-o", tmp_path / "r.html").exit_code == 0
    (facts,) = json.loads((tmp_path / "r.json").read_text())["runs"]
    assert (facts["tested"]["mean"], facts["tested"]["on"], facts["tested"]["std"]) == (mean, "test", None)
    assert "of the best images, measured once" in (tmp_path / "r.html").read_text()

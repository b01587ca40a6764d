"""Methods on the command line: published ones, and those of a module of the user's."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("click")

from click.testing import CliRunner, Result  # noqa: E402

MODULE = """
from mct import api

def loss(way):
    return (way.final - way.target).abs().sum() / (way.start - way.target).abs().sum()

recipe = api.Recipe(name="absolute", objective=api.by_autograd(loss), settings={"labels": "learned"})

class Half(api.TrajectoryMatching):
    def begin(self, place, /, *, out=None):
        sample = super().begin(place, out=out)
        inner = sample.loss_and_adjoint

        class Halved:
            weights = sample.weights
            def loss_and_adjoint(self, path, /, *, out=None):
                end = inner(path, out=out)
                return api.LossAndAdjoint(end.loss, end.adjoint / 2)

        return Halved()

half = api.Recipe(name="half", objective=Half)
"""
SMALL = ["--steps", "2", "--expert-steps", "2", "--max-start", "3", "--lr-img", "1", "--outer-steps", "3"]


def run(*arguments: str | Path) -> Result:
    """Run `mct` in this process."""
    (entry,) = entry_points(group="console_scripts", name="mct")
    return CliRunner().invoke(entry.load(), [str(word) for word in arguments])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small convex bundle of a digits expert."""
    out = tmp_path_factory.mktemp("experts") / "one.mct"
    made = run(
        "experts",
        "--dataset",
        "digits",
        "--model",
        "ConvNetD2W4",
        "--experts",
        "1",
        "--epochs",
        "8",
        "--out",
        out,
    )
    assert made.exit_code == 0, made.output
    return out


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a module with methods in the working folder."""
    name = f"own_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return name


def test_check_method_says_whether_gradients_are_exact(module: str) -> None:
    """A row for each engine and number of updates; a wrong adjoint ends with exit code 1 and one line."""
    found = [
        json.loads(line) for line in run("check-method", f"{module}:recipe", "--json").stdout.splitlines()
    ]
    assert [(each["engine"], each["updates"]) for each in found] == [
        (engine, updates) for engine in ("eager", "compiled") for updates in (1, 5, 30)
    ]
    assert all(each["exact"] for each in found)
    wrong = run("check-method", f"{module}:half")
    assert wrong.exit_code == 1
    assert "labels" in wrong.stdout.splitlines()[0]
    assert wrong.stderr.splitlines()[-1].startswith(f"error: the gradients of {module}:half are not exact")
    assert run("check-method", "no-such").exit_code == 2
    refused = run("check-method", "mtt", "--inner-optimizer", "adam", "--inner-momentum", "0.9")
    assert refused.exit_code == 2
    assert "--inner-momentum has no effect with --inner-optimizer adam" in refused.stderr


def test_own_method_is_run_and_resumed_only_if_it_is_named(module: str, bundle: Path, tmp_path: Path) -> None:
    """What it sets is in the settings, an option overrides it, and another file is not the same method."""
    out = tmp_path / "run"
    start = ["distill", "--traj", bundle, "--out", out]
    done = run(*start, *SMALL, "--method", f"{module}:recipe", "--lr-label", "7")
    assert done.exit_code == 0, done.output
    settings = json.loads((out / "settings.json").read_text())["settings"]
    assert (settings["config"]["method"], settings["config"]["labels"]) == (f"{module}:recipe", "learned")
    assert settings["config"]["lr_label"] == 7
    assert len(settings["method_source_sha256"]) == 64
    refused = run(*start, "--resume", "--outer-steps", "4")
    assert refused.exit_code == 2
    assert f"give --method {module}:recipe if you trust it" in refused.stderr
    assert run(*start, "--resume", "--outer-steps", "4", "--method", f"{module}:recipe").exit_code == 0
    again = run("distill", "--config", out / "config.toml", "--out", tmp_path / "again")
    assert again.exit_code == 0, again.output
    (tmp_path / f"{module}.py").write_text(MODULE + "# changed\n")
    changed = run(*start, "--resume", "--outer-steps", "5", "--method", f"{module}:recipe")
    assert changed.exit_code == 1
    assert "the file of the method has changed since the run began" in changed.stderr


def test_published_method_and_its_labels(bundle: Path, tmp_path: Path) -> None:
    """DATM's parts are the settings, its labels are drawn, and `presets --method` lists where they come
    from."""
    out = tmp_path / "run"
    done = run("distill", "--traj", bundle, "--out", out, *SMALL, "--method", "datm")
    assert done.exit_code == 0, done.output
    config = json.loads((out / "settings.json").read_text())["settings"]["config"]
    assert (config["labels"], config["initial"], config["loss_threshold"]) == ("learned", "correct", 1.0)
    assert run("plot", "labels", out, "-o", tmp_path / "labels.png").exit_code == 0
    assert (tmp_path / "labels.png").read_bytes().startswith(b"\x89PNG")
    refused = run("distill", "--traj", bundle, "--out", tmp_path / "no", *SMALL, "--lr-label", "3")
    assert refused.exit_code == 2
    assert "--lr-label has no effect without --labels learned" in refused.stderr
    again = run("distill", "--config", out / "config.toml", "--out", tmp_path / "again")
    assert again.exit_code == 0, again.output
    assert (out / "synthetic.safetensors").read_bytes() == (
        tmp_path / "again/synthetic.safetensors"
    ).read_bytes()
    rows = [json.loads(line) for line in run("presets", "--method", "DATM", "--json").stdout.splitlines()]
    assert {row["method"] for row in rows} == {"datm"}
    assert run("presets", "--method", "none").exit_code == 2

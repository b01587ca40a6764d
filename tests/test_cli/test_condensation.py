"""The command `mct distill` for methods that need no trajectories."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from click.testing import CliRunner
from traj_cli.mct import main

WORDS = (
    "distill --dataset digits --model ConvNetD1W4 --method cafe --matches 2 --passes 1 --halve-at 1 "
    "--outer-steps 2 --class-batch 6 --device cpu"
)


def test_run_is_named_after_dataset_and_method_and_repeats_from_its_options(
    tmp_path: Path, monkeypatch
) -> None:
    """The file of options has what the method reads and nothing else, and gives the same images."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, WORDS.split(), catch_exceptions=False)
    assert (done.exit_code, done.stdout) == (0, "digits-cafe-distilled/synthetic.safetensors\n")
    options = tomllib.loads(Path("digits-cafe-distilled/config.toml").read_text())["distill"]
    assert options["halve-at"] == [1]
    assert not {"steps", "expert-steps", "lr-lr", "gradient", "samples"} & options.keys()
    again = ["distill", "--config", "digits-cafe-distilled/config.toml", "--out", "again"]
    assert CliRunner().invoke(main, again, catch_exceptions=False).exit_code == 0
    one, two = (
        Path(name, "synthetic.safetensors").read_bytes() for name in ("digits-cafe-distilled", "again")
    )
    assert one == two


def test_a_run_that_was_resumed_with_less_repeats_from_its_options(tmp_path: Path, monkeypatch) -> None:
    """What the resumed command took from the run is in the file of options, too."""
    monkeypatch.chdir(tmp_path)
    usual = ["distill", "--device", "cpu"]
    words = [*WORDS.split(), "--preprocessing", "none", "--out", "run"]
    resumed = [*usual, "--resume", "--out", "run", "--outer-steps", "3"]
    for each in (words, resumed, [*usual, "--config", "run/config.toml", "--out", "again"]):
        assert CliRunner().invoke(main, each, catch_exceptions=False).exit_code == 0
    options = tomllib.loads(Path("run/config.toml").read_text())["distill"]
    facts = {"dataset": "digits", "model": "ConvNetD1W4", "preprocessing": "none", "method": "cafe"}
    assert facts.items() <= options.items()
    one, two = (Path(name, "synthetic.safetensors").read_bytes() for name in ("run", "again"))
    assert one == two
    told = CliRunner().invoke(main, ["evaluate", "run", "--networks", "1", "--epochs", "1", "--no-baseline"])
    assert "(learning rate 0.01, not learned)" in told.stdout

"""Questions about the places of runs: models and parts in folders that may be one run or several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.runs import opened, refused  # noqa: E402


def test_several_models_of_one_step_are_no_steps(tmp_path: Path, trained: Any) -> None:
    """`model_1` beside `model` is the second model."""
    folder = foreign.tensors(tmp_path / "run", dict(enumerate(trained[0][:3])), "model_{}.safetensors")
    foreign.tensors(folder, {0: trained[0][3]}, "model.safetensors")
    assert "several models of one step" in refused(folder, "nothing_to_convert")


def test_epochs_with_steps_inside_are_not_split(tmp_path: Path, trained: Any) -> None:
    """The folders are parts of one run, which would otherwise become several trajectories."""
    for epoch in range(2):
        for step in range(2):
            place = tmp_path / f"run/epoch_{epoch}/step_{2 * epoch + step}"
            foreign.tensors(place, {0: trained[0][step]}, "model.safetensors")
    assert "are called parts of one run" in refused(tmp_path / "run", "nothing_to_convert")


@pytest.mark.parametrize(
    "name",
    ["update_{}", "itr_{}", "epochs_{}", "{}epoch", "epoch.{}", "ep{}", "global_step{}", "iteration-{}"],
)
def test_parts_of_one_run_in_folders_are_a_question(tmp_path: Path, trained: Any, name: str) -> None:
    """Every word for a step or an epoch counts, before the number or behind it."""
    for part in (1, 2):
        states = dict(enumerate(trained[0][2 * part - 2 : 2 * part], 10 * part))
        foreign.plain(tmp_path / "run" / name.format(part), states, "step_{}.pt")
    line = refused(tmp_path / "run", "nothing_to_convert")
    assert "holds several checkpoints of a run, and is itself called a part of one" in line
    assert "--select '{any}/step_{step}.pt'" in line
    _, (trajectory,) = opened(tmp_path / "run", select="{any}/step_{step}.pt")
    assert trajectory.numbers == (10, 11, 20, 21)


def test_a_pretrained_network_does_not_hide_the_run_below(tmp_path: Path, trained: Any) -> None:
    """`resnet50.pth` is no step, and it is named."""
    foreign.plain(tmp_path / "runs/ckpts", dict(enumerate(trained[0])), "epoch_{}.pth")
    foreign.plain(tmp_path / "runs", {50: trained[0][0]}, "resnet{}.pth")
    collection, (trajectory,) = opened(tmp_path / "runs")
    assert trajectory.timesteps == 4
    assert "left out: resnet50.pth: not among the checkpoints of a run" in collection.notices
    foreign.plain(tmp_path / "runs", {101: trained[0][0]}, "resnet{}.pth")
    line = refused(tmp_path / "runs", "nothing_to_convert")
    assert "resnet50.pth and resnet101.pth differ in" in line
    assert line.startswith(str(tmp_path / "runs"))
    assert "a run is in ckpts: give that folder, if it is meant" in line


@pytest.mark.parametrize("name", ["ema", "model_ema", "exp_avg", "exp_avg_sq", "swa"])
def test_averages_and_moments_beside_a_model_are_a_question(tmp_path: Path, trained: Any, name: str) -> None:
    """They are no further runs, and the pattern in the line chooses the model."""
    states = dict(enumerate(trained[0]))
    for place in ("model", name):
        foreign.plain(tmp_path / "runs" / place, states, "epoch_{}.pt")
    line = refused(tmp_path / "runs", "nothing_to_convert")
    assert f"{name} and model may be several sets of weights of one run" in line
    pattern = line.partition("--select ")[2].split()[0].strip("'")
    assert pattern == "model/*"
    assert len(opened(tmp_path / "runs", select=pattern)[1]) == 1
    collection, found = opened(tmp_path / "runs", select="*/epoch_*.pt")
    assert len(found) == 2
    assert len(opened(tmp_path / "runs", select="*/epoch_{epoch}.pt")[1]) == 2
    some = sorted([f"{name}/epoch_0.pt", "model/epoch_0.pt"])
    assert f"2 runs, which begin with {some[0]}, {some[1]}" in collection.notices


@pytest.mark.parametrize("name", ["rank_{}", "tp_{}", "mp_rank_0{}"])
def test_folders_of_ranks_are_no_runs(tmp_path: Path, trained: Any, name: str) -> None:
    """Each may hold a part of the weights. One of them, given by itself, is converted with a remark."""
    for rank in range(2):
        foreign.plain(tmp_path / "run" / name.format(rank), dict(enumerate(trained[rank])), "step_{}.pt")
    line = refused(tmp_path / "run", "nothing_to_convert")
    assert f"{name.format(0)} and {name.format(1)} are folders of several ranks" in line
    collection, found = opened(tmp_path / "run" / name.format(0))
    assert len(found) == 1
    assert any("this is no whole network" in notice for notice in collection.notices)

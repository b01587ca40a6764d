"""The training step in a file's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.runs import refused  # noqa: E402
from trajfmt.sources.checkpoints.numbering import bare, numbers_of  # noqa: E402


@pytest.mark.parametrize("name", ["step=7.5.pt", "epoch_1.25.pth"])
def test_a_part_of_a_step_is_refused(tmp_path: Path, trained: Any, name: str) -> None:
    """7.5 is neither 7 nor 5."""
    form = "step={}.pt" if "step" in name else "epoch_{}.pth"
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0][:3])), form)
    foreign.plain(folder, {0: trained[0][3]}, name)
    assert "is no whole number" in refused(folder, "nothing_to_convert")


def test_duplicate_steps(tmp_path: Path, trained: Any) -> None:
    """Both files are named."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])))
    foreign.plain(folder, {1: trained[0][1]}, "step={}.pth")
    line = refused(folder, "duplicate_trajectory")
    assert "step=1.pt and step=1.pth are both number 1" in line


def test_a_name_without_a_number(tmp_path: Path, trained: Any) -> None:
    """The line names the file and asks for the number."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])), "net_{}.pt")
    foreign.plain(folder, {0: trained[0][0]}, "other.pt")
    line = refused(folder, "nothing_to_convert")
    assert "other.pt has no number in its name" in line
    assert "step=1000" in line


def test_several_numbers(tmp_path: Path, trained: Any) -> None:
    """Where two numbers vary and neither is called a step, nothing is guessed."""
    folder = foreign.plain(tmp_path / "run", {0: trained[0][0]}, "a_{}_b_7.pt")
    foreign.plain(folder, {1: trained[0][1]}, "a_{}_b_8.pt")
    assert "differ in several numbers" in refused(folder, "nothing_to_convert")


@pytest.mark.parametrize(
    ("names", "numbers", "unit"),
    [
        (["step=9.pt", "step=10.pt"], (9, 10), "step"),
        (["epoch=3-step=1200.ckpt", "epoch=4-step=900-v1.ckpt"], (1200, 900), "step"),
        (["resnet18-epoch=02-val_loss=0.32.ckpt", "resnet18-epoch=12-val_loss=0.12.ckpt"], (2, 12), "epoch"),
        (["checkpoint-500", "checkpoint-10000"], (500, 10000), "step"),
        (["model_12.pth", "model_3.pth"], (12, 3), None),
        (["ckpt_00500.pt", "ckpt_01000.pt"], (500, 1000), None),
        (["iter_0001000.pth", "iter_0000200.pth"], (1000, 200), "step"),
        (["resnet50_7.pt", "resnet50_8.pt"], (7, 8), None),
        (["7-resnet50.pt", "8-resnet50.pt"], (7, 8), None),
        (["global_step1000.pt", "global_step20.pt"], (1000, 20), "step"),
        (["deep3.pt", "deep4.pt"], (3, 4), None),
        (["net.12.pth.tar", "net.100.pth.tar"], (12, 100), None),
        (["init_0.pt", "net_1.pt", "net_2.pt"], (0, 1, 2), None),
    ],
)
def test_numbers_of_names(names: list[str], numbers: tuple[int, ...], unit: str | None) -> None:
    """The step before the epoch, else the one number that varies."""
    found = numbers_of(names, "here")
    assert (found.numbers, found.unit) == (numbers, unit)


def test_versions_of_lightning_are_no_steps() -> None:
    """`-v1` is what Lightning appends where a name is taken."""
    assert bare("epoch=1-step=5-v2.ckpt") == "epoch=1-step=5"

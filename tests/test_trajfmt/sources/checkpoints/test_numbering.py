"""The training step in a file's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.runs import opened, refused  # noqa: E402
from trajfmt.errors import SourceError  # noqa: E402
from trajfmt.sources.checkpoints.numbering import numbers_of  # noqa: E402


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
    """Beside a run it is left out and named; where no run is left, the line asks for the number."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])), "net_{}.pt")
    foreign.plain(folder, {0: trained[0][0]}, "other.pt")
    collection, (trajectory,) = opened(folder)
    assert trajectory.numbers == (0, 1, 2, 3)
    assert "left out: other.pt: no step in its name" in collection.notices
    few = foreign.plain(tmp_path / "few", {0: trained[0][0]}, "net_{}.pt")
    foreign.plain(few, {0: trained[0][0]}, "other.pt")
    line = refused(few, "nothing_to_convert")
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
        (["epoch=3-step=1200.ckpt", "epoch=4-step=1900.ckpt"], (1200, 1900), "step"),
        (["resnet18-epoch=02-val_loss=0.32.ckpt", "resnet18-epoch=12-val_loss=0.12.ckpt"], (2, 12), "epoch"),
        (["checkpoint-500", "checkpoint-10000"], (500, 10000), "step"),
        (["model_12.pth", "model_3.pth"], (12, 3), None),
        (["ckpt_00500.pt", "ckpt_01000.pt"], (500, 1000), None),
        (["iter_0001000.pth", "iter_0000200.pth"], (1000, 200), "step"),
        (["global_step1000.pt", "global_step20.pt"], (1000, 20), "step"),
        (["net.12.pth.tar", "net.100.pth.tar"], (12, 100), None),
        (["checkpoint-5.pth.tar", "checkpoint-10.pth.tar"], (5, 10), None),
        (["step_1k.pt", "step_2k.pt"], (1000, 2000), "step"),
        (["checkpoint_1_500.pt", "checkpoint_2_1000.pt", "checkpoint_2_1500.pt"], (500, 1000, 1500), "step"),
        (["epoch=1-loss=1e-05.ckpt", "epoch=2-loss=0.1.ckpt"], (1, 2), "epoch"),
        (["epoch=1-acc=91.5.ckpt", "epoch=2-acc=85.0.ckpt"], (1, 2), "epoch"),
        (["ep0-ba100-rank0.pt", "ep0-ba200-rank0.pt", "ep1-ba300-rank0.pt"], (100, 200, 300), "step"),
        (["net_steps1000_epoch1.pt", "net_steps1000_epoch2.pt"], (1, 2), "epoch"),
        (["seed_3_step_10.pt", "seed_3_step_9.pt"], (10, 9), "step"),
        (["step_1_of_320.pt", "step_2_of_320.pt"], (1, 2), "step"),
        (
            ["1epoch_100iter.pt", "1epoch_200iter.pt", "2epoch_300iter.pt"],
            (100, 200, 300),
            "step",
        ),
        (["3.pt"], (3,), None),
        (["resnet50-3.pt"], (3,), None),
    ],
)
def test_numbers_of_names(names: list[str], numbers: tuple[int, ...], unit: str | None) -> None:
    """The step before the epoch, else the one number that varies."""
    found = numbers_of(names, "here")
    assert (found.numbers, found.unit) == (numbers, unit)


@pytest.mark.parametrize(
    "names",
    [
        ["checkpoint1.pt", "checkpoint2.pt", "checkpoint_1_500.pt"],
        ["epoch_1.pth", "epoch_2.pth", "iter_500.pth", "iter_1000.pth"],
        ["step_500.pt", "step_1k.pt", "step_2k.pt"],
        ["step_500k.pt", "step_1M.pt"],
        ["net-1-ab34.pth", "net-2-cd12.pth"],
        ["init_0.pt", "net_1.pt", "net_2.pt"],
        ["epoch=1-gen.ckpt", "epoch=2-disc.ckpt"],
        ["epoch=1-3fa4.ckpt", "epoch=2-ab34.ckpt"],
        ["epoch=1.ckpt", "epoch=2-v1.ckpt"],
        ["step_1.pt", "step_2.pt", "step_3_ema2.pt"],
        ["step_900.pt", "step_1_000.pt", "step_2_000.pt"],
        ["step_500.pt", "step_1,000.pt"],
        ["encoder1_epoch_1.pt", "decoder1_epoch_3.pt"],
        ["step=1-epoch=1.ckpt", "epoch=2.ckpt"],
    ],
)
def test_names_of_different_forms_are_never_sorted_together(names: list[str]) -> None:
    """Their order is not certain: two of them are named, and the way to choose or rename."""
    for order in (names, names[::-1]):
        with pytest.raises(SourceError, match="named in different ways") as caught:
            numbers_of(order, "here")
        assert "rename them" in str(caught.value)


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["model-0.9.pth", "model-0.75.pth", "model-0.5.pth"], "0.9 is no whole number"),
        (["net_1e-3.pt", "net_1e-4.pt"], "1e-3 is no whole number"),
        (["step_1_000.pt", "step_2_000.pt"], "may be a part of a longer one"),
        (["step_1,000.pt", "step_10,000.pt"], "may be a part of a longer one"),
        (["step_1_000.pt", "step_1_500.pt"], "a number that may be a part of a longer one"),
        (["step_1_000.pt", "step_1_500.pt", "step_2_000.pt"], "differ in several numbers"),
        (["fold0_epoch12.pt", "fold1_epoch7.pt"], "differ in several numbers"),
        (["resnet18_epoch1.pt", "resnet34_epoch3.pt"], "differ in several numbers"),
        (["stage1_step_100.pt", "stage2_step_50.pt"], "differ in several numbers"),
        (["lr1e-3_step_1.pt", "lr5e-4_step_2.pt"], "differ in several numbers"),
        (["lr=0.1-step=1.pt", "lr=0.2-step=2.pt"], "differ in several numbers"),
        (["20240101_step_1.pt", "20240102_step_3.pt"], "differ in several numbers"),
        (["seed_0/epoch=9-step=100.ckpt", "seed_1/epoch=7-step=80.ckpt"], "differ in several numbers"),
        (["epoch0_step900.pt", "epoch1_step100.pt"], "begin again in each epoch"),
        (["resnet_batch32_epoch5.pth", "resnet_batch64_epoch10.pth"], "differ in several numbers"),
        (["width=0.25-step=1.pt", "width=0.5-step=2.pt"], "differ in several numbers"),
        (["checkpoint_1_71.pt", "checkpoint_2_80.pt"], "differ in several numbers"),
        (["checkpoint_1_000.pt", "checkpoint_1_500.pt"], "a number that may be a part of a longer one"),
        (["loss_0.12.pt", "loss_0.08.pt"], "not known to be steps, and not whole"),
        (["run_2024-01-31.pt", "run_2024-02-01.pt"], "differ in several numbers"),
        (["step=99999999999999999999.pt", "step=1.pt"], "no step is that large"),
    ],
)
def test_numbers_that_are_no_steps(names: list[str], match: str) -> None:
    """Scores, dates and grouped digits are not taken for steps."""
    with pytest.raises(SourceError, match=match):
        numbers_of(names, "here")


def test_the_pattern_in_the_message_separates_the_kinds(tmp_path: Path, trained: Any) -> None:
    """What the message proposes converts one of the two kinds."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])), "epoch_{}.pth")
    foreign.plain(folder, {500: trained[0][0]}, "iter_{}.pth")
    line = refused(folder, "nothing_to_convert")
    pattern = line.partition("--select '")[2].partition("'")[0]
    _, (trajectory,) = opened(folder, select=pattern)
    assert trajectory.numbers == (0, 1, 2, 3)

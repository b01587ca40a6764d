"""Epochs and steps that checkpoints store, against those in their names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.runs import assert_same, opened, refused  # noqa: E402


def _run(folder: Path, states: Any, stored: Sequence[Any], name: str = "epoch_{}.pth") -> Path:
    folder.mkdir()
    for t, (state, more) in enumerate(zip(states, stored, strict=True), 1):
        torch.save({"model": state, **more}, folder / name.format(t))
    return folder


def test_another_order_than_that_of_the_names(tmp_path: Path, trained: Any) -> None:
    """Both files are named. The user's choice by names is followed, with a remark."""
    stored = [{"epoch": epoch} for epoch in (1, 50, 3, 4)]
    folder = _run(tmp_path / "run", trained[0], stored)
    line = refused(folder, "nothing_to_convert")
    assert "epoch_2.pth stores epoch 50, and epoch_3.pth stores epoch 3" in line
    assert "--select 'epoch_[0-9]*.pth'" in line
    collection, (trajectory,) = opened(folder, select="epoch_[0-9]*.pth")
    assert_same(collection, trajectory, trained[0])
    assert any("the names are followed" in text for text in collection.notices)


@pytest.mark.parametrize(
    "stored",
    [
        [{"epoch": epoch} for epoch in (2, 3, 4, 5)],
        [{"epoch": epoch, "iter": step} for epoch, step in ((1, 40), (1, 90), (2, 10), (2, 60))],
        [{"global_step": step} for step in (100, 200, 300, 400)],
        [{"iter": step} for step in (90, 90, 40, 90)],
        [{"epoch": 9}, {"epoch": 3}, {}, {"epoch": 1}],
        [{"epoch": "last"}, {"epoch": 3}, {"epoch": 2}, {"epoch": 1}],
    ],
)
def test_numbers_that_agree_or_tell_nothing(tmp_path: Path, trained: Any, stored: Any) -> None:
    """The next epoch, steps within epochs, and numbers that some files lack."""
    collection, _ = opened(_run(tmp_path / "run", trained[0], stored))
    assert not [text for text in collection.notices if "both store" in text]


def test_steps_that_fall_within_an_epoch(tmp_path: Path, trained: Any) -> None:
    """They begin again with the next epoch only."""
    stored = [{"epoch": epoch, "iter": step} for epoch, step in ((1, 40), (1, 30), (2, 10), (2, 60))]
    assert "iter 40" in refused(_run(tmp_path / "run", trained[0], stored), "nothing_to_convert")


def test_steps_that_fall_under_names_of_steps(tmp_path: Path, trained: Any) -> None:
    """No epoch lets them begin again."""
    stored = [{"step": step} for step in (100, 400, 300, 500)]
    assert "step 400" in refused(
        _run(tmp_path / "run", trained[0], stored, "step_{}.pt"), "nothing_to_convert"
    )


def test_the_same_epoch_under_all_names_is_remarked_on(tmp_path: Path, trained: Any) -> None:
    """They may be copies. Steps of one epoch are not."""
    collection, _ = opened(_run(tmp_path / "run", trained[0], [{"epoch": 10}] * 4))
    assert any("both store epoch 10" in text for text in collection.notices)
    collection, _ = opened(_run(tmp_path / "steps", trained[0], [{"epoch": 0}] * 4, "step_{}.pth"))
    assert not any("both store" in text for text in collection.notices)


def test_the_state_of_a_trainer_counts(tmp_path: Path, trained: Any) -> None:
    """`trainer_state.json` beside the weights says which step they are from."""
    folder = foreign.huggingface(tmp_path / "run", dict(zip((500, 1000, 1500), trained[0][:3], strict=True)))
    (folder / "checkpoint-500/trainer_state.json").write_text(json.dumps({"global_step": 1200}))
    line = refused(folder, "nothing_to_convert")
    assert "checkpoint-500 stores global_step 1200" in line
    (folder / "checkpoint-500/trainer_state.json").write_text("{")
    assert opened(folder)[1][0].timesteps == 3


def test_the_updates_of_fairseq_count(tmp_path: Path, trained: Any) -> None:
    """They are in the last item of a list, and the epoch in the state of the data."""

    def stored(updates: Sequence[int], epochs: Sequence[int]) -> list[Any]:
        return [
            {
                "optimizer_history": [{"num_updates": 1}, {"num_updates": update}],
                "extra_state": {"train_iterator": {"epoch": epoch}},
            }
            for update, epoch in zip(updates, epochs, strict=True)
        ]

    folder = _run(tmp_path / "a", trained[0], stored((100, 300, 200, 400), (2, 3, 4, 5)), "checkpoint{}.pt")
    assert "checkpoint2.pt stores num_updates 300" in refused(folder, "nothing_to_convert")
    folder = _run(tmp_path / "b", trained[0], stored((1, 2, 3, 4), (2, 5, 4, 6)), "checkpoint{}.pt")
    assert "stores epoch 5" in refused(folder, "nothing_to_convert")
    folder = _run(tmp_path / "c", trained[0], stored((1, 2, 3, 4), (1, 1, 2, 2)), "checkpoint{}.pt")
    assert opened(folder)[1][0].timesteps == 4


@pytest.mark.parametrize(
    ("name", "stored", "unit"),
    [
        ("resnet18_{0}00.pth", [{"global_step": step} for step in (100, 200, 300, 400)], "step"),
        ("net18_e{0}.pth", [{"epoch": epoch, "iter": 7} for epoch in (1, 2, 3, 4)], "epoch"),
        (
            "checkpoint_{0}_{0}7.pt",
            [{"optimizer_history": [{"num_updates": n}]} for n in (17, 27, 37, 47)],
            "step",
        ),
        ("vit_{0}00-acc_0.{0}.pth", [{"meta": {"iter": step}} for step in (100, 200, 300, 400)], "step"),
    ],
)
def test_numbers_that_the_checkpoints_store_are_certain(
    tmp_path: Path, trained: Any, name: str, stored: Any, unit: str
) -> None:
    """The names alone say nothing, and are refused if the stored numbers are others."""
    folder = _run(tmp_path / "run", trained[0], stored, name)
    collection, (trajectory,) = opened(folder)
    assert_same(collection, trajectory, trained[0])
    assert collection.provenance.timestep.kind == unit
    assert any("are those that the checkpoints store" in text for text in collection.notices)
    folder = _run(tmp_path / "other", trained[0], [*stored[1:], stored[0]], name)
    assert "--select" in refused(folder, "nothing_to_convert")
    folder = _run(tmp_path / "some", trained[0], [*stored[:3], {}], name)
    assert "--select" in refused(folder, "nothing_to_convert")


def test_stored_numbers_do_not_join_two_runs(tmp_path: Path, trained: Any) -> None:
    """Another number of the names varies, too."""
    folder = tmp_path / "run"
    folder.mkdir()
    for t, name in enumerate(("resnet18_1", "resnet34_2", "resnet50_3"), 1):
        torch.save({"model": trained[0][t], "epoch": t}, folder / f"{name}.pt")
    assert "differ in several numbers" in refused(folder, "nothing_to_convert")


@pytest.mark.parametrize(
    ("name", "stored", "said"),
    [
        (
            "step_{}.pt",
            [{"global_step": step} for step in (1, 2, 4, 9)],
            "run/step_3.pt stores global_step 4",
        ),
        ("step_{}.pt", [{"step": step} for step in (10, 20, 30, 40)], "run/step_2.pt stores step 20"),
        ("epoch_{}.pth", [{"epoch": epoch} for epoch in (0, 7, 70, 71)], "run/epoch_2.pth stores epoch 7"),
        ("model_{}.pt", [{"epoch": epoch} for epoch in (0, 7, 70, 71)], "run/model_3.pt stores epoch 70"),
    ],
)
def test_other_distances_than_those_of_the_names(
    tmp_path: Path, trained: Any, name: str, stored: Any, said: str
) -> None:
    """They rise as the names do, and are remarked on all the same."""
    _, (trajectory,) = opened(_run(tmp_path / "run", trained[0], stored, name))
    (remark,) = trajectory.remarks
    assert remark.startswith(said)
    assert remark.endswith("these are further apart than the names say, or closer")


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("step_{}.pt", [{"global_step": step, "epoch": step // 2} for step in (1, 2, 3, 4)]),
        ("step_{}.pt", [{"global_step": step} for step in (2, 3, 4, 5)]),
        ("epoch_{}.pth", [{"epoch": step, "global_step": 391 * step + step % 2} for step in (0, 1, 2, 3)]),
        ("model_{}.pt", [{"epoch": step, "global_step": 391 * step} for step in (0, 1, 2, 3)]),
        ("model_{}.pt", [{"epoch": epoch} for epoch in (0, 0, 1, 1)]),
        ("epoch_{}.pth", [{"epoch": 1}, {"epoch": 9}, {}, {"epoch": 10}]),
    ],
)
def test_the_distances_of_the_names(tmp_path: Path, trained: Any, name: str, stored: Any) -> None:
    """A constant difference, epochs beside steps, and what some lack are no matter."""
    _, (trajectory,) = opened(_run(tmp_path / "run", trained[0], stored, name))
    assert trajectory.remarks == ()

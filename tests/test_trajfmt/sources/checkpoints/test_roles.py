"""What a name says about a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.runs import opened, refused  # noqa: E402
from trajfmt.sources.checkpoints.roles import is_alias, is_unfinished  # noqa: E402


def test_the_mark_of_a_name_that_was_taken_is_no_step() -> None:
    """`-v1` is what Lightning appends, also to `last`."""
    assert is_alias("last-v1.ckpt")
    assert not is_alias("epoch=1-v1.ckpt")


@pytest.mark.parametrize(
    "name",
    ["step_3.tmp.pt", "tmp_step_3.pt", "step_3.pt.tmp.pt", "step_3_incomplete.pt", "step_3.part.pt",
     "step_3.bak.pt", "backup-step_3.pt", "step_3.old.pth"],
)  # fmt: skip
def test_unfinished_files_are_left_out(tmp_path: Path, trained: Any, name: str) -> None:
    """They are named and no timestep; `--select` uses them all the same."""
    folder = foreign.plain(tmp_path / "run", {1: trained[0][0], 2: trained[0][1]}, "step_{}.pt")
    foreign.plain(folder, {0: trained[0][2]}, name)
    collection, (trajectory,) = opened(folder)
    assert trajectory.numbers == (1, 2)
    assert [text for text in collection.notices if text.startswith(f"left out: {name}: unfinished")]


@pytest.mark.parametrize("name", ["template_3.pt", "attempt-3.pt", "gold_3.pt", "partner_3.pt", "tempo_3.pt"])
def test_words_that_only_look_unfinished(name: str) -> None:
    """Only whole words count."""
    assert not is_unfinished(name)


def test_runs_of_unfinished_files_alone_are_named(tmp_path: Path, trained: Any) -> None:
    """Nothing is left, and the line says why; selected, they are used."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])), "tmp_step_{}.pt")
    assert "tmp_step_0.pt: unfinished" in refused(folder, "too_few_timesteps")
    _, (trajectory,) = opened(folder, select="tmp_step_*.pt")
    assert trajectory.numbers == (0, 1, 2, 3)


def test_the_best_of_others_is_left_out(tmp_path: Path, trained: Any) -> None:
    """A copy is named; a run of nothing but the best ones is a run."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])), "epoch_{}.pth")
    foreign.plain(folder, {2: trained[0][2]}, "best_acc_epoch_{}.pth")
    collection, (trajectory,) = opened(folder)
    assert trajectory.numbers == (0, 1, 2, 3)
    assert any(
        text.startswith("left out: best_acc_epoch_2.pth: the best or the last of others")
        for text in collection.notices
    )
    alone = foreign.plain(tmp_path / "best", dict(enumerate(trained[0])), "best_epoch_{}.pth")
    assert opened(alone)[1][0].numbers == (0, 1, 2, 3)


def test_a_series_of_averages_is_a_question(tmp_path: Path, trained: Any) -> None:
    """Averages of every step are another trajectory, which is neither mixed in nor dropped."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])), "epoch_{}.pth")
    foreign.plain(folder, dict(enumerate(foreign.training(4, seed=3)[0])), "ema_epoch_{}.pth")
    assert "named in different ways" in refused(folder, "nothing_to_convert")
    for pattern in ("epoch_*", "ema_*"):
        assert opened(folder, select=pattern)[1][0].numbers == (0, 1, 2, 3)

"""Settings and times of files that differ within a run."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from trajfmt.sources.checkpoints.mixture import older_files, other_settings, settings_of

NAMES = ["run/epoch_9.pt", "run/epoch_10.pt", "run/epoch_11.pt", "run/epoch_12.pt"]


def _remark(*contents: Any) -> str | None:
    return other_settings(NAMES, [settings_of(content) for content in contents])


def test_a_run_over_another_one_is_remarked_on(tmp_path: Path, trained: Any) -> None:
    """The conversion says which settings differ, from which file on, and that the files are older."""
    torch = pytest.importorskip("torch")
    from tests.helpers.runs import opened

    for t, state in enumerate(trained[0]):
        args = {"seed": int(t < 2), "lr": 0.1, "dataset": "CIFAR100" if t < 2 else "CIFAR10"}
        path = tmp_path / f"run/epoch_{t}.pt"
        path.parent.mkdir(exist_ok=True)
        torch.save({"model": state, "args": args}, path)
        os.utime(path, (10**9, 10**9 + t - 1000 * (t > 1)))
    _, (trajectory,) = opened(tmp_path / "run")
    assert trajectory.remarks == (
        "settings that the checkpoints store differ from run/epoch_2.pt on: `args.dataset` (CIFAR100, then"
        " CIFAR10), `args.seed` (1, then 0); some may be of another run",
        "run/epoch_2.pt and what follows were written before run/epoch_1.pt and what precedes: they may be of"
        " another, older run",
    )


@pytest.mark.parametrize(
    ("contents", "named"),
    [
        (
            [{"hyper_parameters": {"opt": {"lr": lr}}} for lr in (0.1, 0.1, 0.2, 0.1)],
            "epoch_11.pt on: `hyper_",
        ),
        ([{"args": Namespace(amp=amp)} for amp in (True, True, True, False)], "epoch_12.pt on: `args.amp`"),
        ([{"seed": seed} for seed in (0, 1, 1, 1)], "epoch_10.pt on: `seed` (0, then 1)"),
        ([{"arch": "a"}, {}, {}, {"arch": "b"}], "epoch_12.pt on: `arch`"),
    ],
)
def test_other_settings_are_named(contents: list[Any], named: str) -> None:
    """Wherever they are stored, with the first file that has another value."""
    assert named in (_remark(*contents) or "")


@pytest.mark.parametrize(
    "contents",
    [
        [{"args": {"lr": 0.1, "seed": 0}}] * 4,
        [{"args": {"resume": name, "start_epoch": t, "gpu": t % 2}} for t, name in enumerate("aabb")],
        [{"args": {"samples": t * 100}} for t in range(4)],
        [{"lr": lr} for lr in (0.1, 0.1, 0.01, 0.01)],
        [{"args": {"lr": 0.1}}, {}, None, [1]],
    ],
)
def test_what_counts_or_is_resumed_is_no_other_setting(contents: list[Any]) -> None:
    """Places in the run, numbers that rise all the time, and rates that follow a schedule."""
    assert _remark(*contents) is None


@pytest.mark.parametrize(
    "times",
    [
        [0.0, 100.0, 200.0, 300.0],
        [5.0, 5.0, 5.0, 5.0],
        [300.0, 200.0, 100.0, 0.0],
        [300.0, 0.0, 100.0, 200.0],
        [30.0, 40.0, 10.0, 20.0],
        [200.0, 0.0, 300.0, 100.0],
    ],
)
def test_times_that_say_nothing(times: list[float]) -> None:
    """Files in order, copied at once, backwards, in the order of their names, or in none."""
    assert older_files(NAMES, times) is None
    assert older_files(["epoch_8", "epoch_9", "epoch_10", "epoch_11"], [200.0, 300.0, 0.0, 100.0]) is None

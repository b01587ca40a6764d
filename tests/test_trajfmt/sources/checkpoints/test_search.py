"""Finding the runs below a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.runs import assert_same, opened, refused  # noqa: E402
from trajfmt.convert.options import ConvertOptions  # noqa: E402
from trajfmt.convert.run import convert  # noqa: E402


def test_subfolders_are_trajectories(tmp_path: Path, trained: Any) -> None:
    """Folders of runs are one trajectory each, in natural order, wherever they lie below."""
    others = foreign.training(4, seed=1)[0]
    for name, states in (("run10/checkpoints", trained[0]), ("run9/checkpoints", others)):
        foreign.plain(tmp_path / "runs" / name, dict(enumerate(states)))
    collection, found = opened(tmp_path / "runs")
    assert_same(collection, found[0], others)
    assert_same(collection, found[1], trained[0])
    convert(tmp_path / "runs", tmp_path / "out.mct")
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert len(bundle) == 2


def test_what_only_looks_like_a_checkpoint_is_named(tmp_path: Path, trained: Any) -> None:
    """Links to nothing, folders, pipes, and runs inside the folder of another; a bundle is none of them."""
    states = dict(enumerate(trained[0]))
    folder = foreign.plain(tmp_path / "run", states)
    (folder / "step=4.pt").symlink_to("nowhere")
    (folder / "step=5.pt").mkdir()
    os.mkfifo(folder / "step=6.pt")
    foreign.plain(folder / "other" / "run", states)
    convert(folder, folder / "out.mct", ConvertOptions())
    collection, (trajectory,) = opened(folder)
    assert trajectory.timesteps == 4
    assert [text for text in collection.notices if text.startswith("left out")] == [
        "left out: other: a run inside the folder of another run; convert it separately",
        "left out: step=4.pt: a broken link",
        "left out: step=5.pt: a folder, not a checkpoint file",
        "left out: step=6.pt: no file",
    ]


def test_two_models_in_two_runs(tmp_path: Path, trained: Any) -> None:
    """Runs of one source are of one network."""
    foreign.plain(tmp_path / "runs/a", dict(enumerate(trained[0])))
    foreign.plain(tmp_path / "runs/b", {t: {"w": torch.randn(2)} for t in range(2)})
    assert "two models" in refused(tmp_path / "runs", "mixed_architectures")
    assert convert(tmp_path / "runs", tmp_path / "some.mct", ConvertOptions(keep_going=True)) == 1


@pytest.mark.parametrize(
    "names", [["step=1.pt"], ["last.pt"], ["step=1.pt", "best.pt"], ["model.safetensors"]]
)
def test_fewer_than_two(tmp_path: Path, trained: Any, names: list[str]) -> None:
    """One checkpoint is no trajectory, and aliases are none."""
    for name in names:
        write = foreign.tensors if name.endswith("safetensors") else foreign.plain
        write(tmp_path / "run", {0: trained[0][0]}, name)
    assert "two checkpoints or more" in refused(tmp_path / "run", "too_few_timesteps")

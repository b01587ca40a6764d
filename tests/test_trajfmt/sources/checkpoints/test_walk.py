"""The one walk over the folders of a source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.runs import assert_same, opened  # noqa: E402
from trajfmt.sources.checkpoints.walk import folders_below, listed  # noqa: E402

SYSTEM = (".ipynb_checkpoints", "__MACOSX", "lost+found")


def test_level_by_level_in_natural_order(tmp_path: Path) -> None:
    """Links are followed once, and neither bundles nor hidden folders are entered."""
    for name in ("b10/c", "b9", "x.mtt/inner", ".git/d", "__MACOSX/e"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "x.mtt/manifest.json").touch()
    (tmp_path / "b9/loop").symlink_to(tmp_path)
    places = [folder.relative_to(tmp_path).as_posix() for folder, _ in folders_below(tmp_path)]
    assert places == [".", "b9", "b10", "b10/c"]
    assert [folder for folder, _ in folders_below(tmp_path, depth=1)] == [tmp_path]
    assert not list(folders_below(tmp_path, without=[tmp_path]))
    assert not list(folders_below(tmp_path, most=2))
    assert [path.name for path in listed(tmp_path)] == ["b10", "b9", "x.mtt"]
    assert listed(tmp_path / "missing") == []


def leave(folder: Path, file: Path) -> None:
    """Leave copies and remains of a file in a folder, as notebooks, systems and programs do."""
    for system in SYSTEM:
        (folder / system).mkdir()
        for name in (file.name, f"._{file.name}", f"{file.stem}-checkpoint{file.suffix}"):
            (folder / system / name).write_bytes(file.read_bytes())
    for name in (".DS_Store", f"._{file.name}", ".nfs0000001"):
        (folder / name).write_bytes(file.read_bytes())
    for ending in (".tmp", ".part", ".gstmp", "_.gstmp", ".partial", ".crdownload"):
        (folder / (file.name + ending)).write_bytes(file.read_bytes())
    for name in (f"Copy of {file.name}", f"{file.stem} (1){file.suffix}", f"{file.stem} copy{file.suffix}"):
        (folder / name).write_bytes(file.read_bytes())


@pytest.mark.parametrize("where", ["", "run"])
def test_remains_beside_files_are_not_used(tmp_path: Path, trained: Any, where: str) -> None:
    """Neither as checkpoints nor as runs, in the folder of a run and above it. Each kind is named."""
    root = tmp_path / "runs"
    folder = foreign.plain(root / where, dict(enumerate(trained[0])), "epoch_{}.pt")
    leave(folder, folder / "epoch_1.pt")
    if where:
        for system in SYSTEM:
            foreign.plain(root / system / "run", dict(enumerate(trained[0])), "epoch_{}.pt")
    collection, (trajectory,) = opened(root)
    assert_same(collection, trajectory, trained[0])
    text = " ".join(collection.notices)
    for name in ("epoch_1.pt.crdownload and 5 more", "Copy of epoch_1.pt: a copy", "epoch_1 (1).pt: a copy"):
        assert name in text


def test_remains_in_the_folder_of_a_step_are_no_second_set(tmp_path: Path, trained: Any) -> None:
    """The weights are those of the plain name."""
    for step, state in enumerate(trained[0]):
        folder = foreign.tensors(tmp_path / f"run/checkpoint-{step}", {0: state}, "model.safetensors")
    leave(folder, folder / "model.safetensors")
    (trajectory,) = opened(tmp_path / "run")[1]
    assert trajectory.timesteps == 4

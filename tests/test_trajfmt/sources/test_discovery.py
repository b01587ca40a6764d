"""Which folder below a path is meant, and what is said where none is."""

from __future__ import annotations

from pathlib import Path

import pytest

import trajfmt
from trajfmt.convert.run import convert

torch = pytest.importorskip("torch")
from tests.foreign import family  # noqa: E402  # the generators need torch
from tests.helpers.replay import expert, refused, save  # noqa: E402
from trajfmt.errors import UsageError  # noqa: E402
from trajfmt.sources.discovery import open_source  # noqa: E402


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    """The message of an empty folder names both layouts."""
    (tmp_path / "src").mkdir()
    assert "replay_buffer" in str(refused(tmp_path / "src", "nothing_to_convert"))


def test_the_only_folder_with_trajectories_is_taken(tmp_path: Path) -> None:
    """What `--buffer_path` was called is enough: data set and network lie two folders below."""
    save(tmp_path / "buffers" / "CIFAR10_NO_ZCA" / "ConvNet", [expert(0), expert(1)])
    (tmp_path / "buffers" / "CIFAR10_NO_ZCA" / "logs" / "old").mkdir(parents=True)
    told = []
    convert(
        tmp_path / "buffers",
        tmp_path / "out.mct",
        on_event=lambda event: told.append(event.message),
    )
    assert any("in CIFAR10_NO_ZCA/ConvNet, the only such folder" in text for text in told)
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert (len(bundle), bundle.manifest.provenance.dataset) == (2, "CIFAR10")


def test_one_of_several_folders_is_asked_for(tmp_path: Path) -> None:
    """Nothing is chosen between two networks' trajectories; the message names both."""
    for model in ("ConvNet", "AlexNet"):
        save(tmp_path / "buffers" / "CIFAR10" / model, [expert(0)])
    message = str(refused(tmp_path / "buffers", "nothing_to_convert"))
    assert "CIFAR10/AlexNet, CIFAR10/ConvNet" in message


def test_too_many_folders_are_not_searched(tmp_path: Path) -> None:
    """Where not all folders were looked at, the one with trajectories may not be the only one."""
    save(tmp_path / "buffers" / "000" / "ConvNet", [expert(0)])
    for number in range(1, 70):
        (tmp_path / "buffers" / f"{number:03d}").mkdir()
    message = str(refused(tmp_path / "buffers", "nothing_to_convert"))
    assert "give one of the folders that have them: 000/ConvNet" in message
    save(tmp_path / "wide" / "999" / "ConvNet", [expert(0)])
    for number in range(69):
        (tmp_path / "wide" / f"{number:03d}").mkdir()
    assert "only 64 folders" in str(refused(tmp_path / "wide", "nothing_to_convert"))
    (tmp_path / "deep/1/2/3/4/5").mkdir(parents=True)
    message = str(refused(tmp_path / "deep", "nothing_to_convert"))
    assert "only 4 levels of folders were searched; " in message
    assert "64" not in message


@pytest.mark.parametrize("names", [["ckpts/model_0.pt", "ckpts/model_1.pt"], ["teacher.pt"]])
def test_buffers_and_checkpoints_below_one_folder(tmp_path: Path, names: list[str]) -> None:
    """Neither is taken for the other's sake: the message names both."""
    for name in names:
        (tmp_path / "both" / name).parent.mkdir(parents=True, exist_ok=True)
        torch.save({"weight": torch.randn(3)}, tmp_path / "both" / name)
    save(tmp_path / "both" / "CIFAR10" / "ConvNet", [expert(0)])
    message = str(refused(tmp_path / "both", "nothing_to_convert"))
    assert Path(names[0]).name in message
    assert "CIFAR10/ConvNet" in message


def test_missing_source_is_a_usage_error(tmp_path: Path) -> None:
    """A path that does not exist is exit 2, not corrupt."""
    with pytest.raises(trajfmt.MissingError):
        convert(tmp_path / "nowhere", tmp_path / "out.mct")


def test_an_unknown_layout_is_a_usage_error(tmp_path: Path) -> None:
    """The message says where the names are listed."""
    with pytest.raises(UsageError, match="`traj sources`"):
        open_source(family.mtt(tmp_path).folder, layout="nobody")

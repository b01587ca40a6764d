"""Checkpoints that a pattern selects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.runs import assert_same, opened, refused  # noqa: E402
from trajfmt.convert.options import ConvertOptions  # noqa: E402
from trajfmt.convert.run import convert  # noqa: E402
from trajfmt.errors import UsageError  # noqa: E402


def test_selected_files_of_several_runs(tmp_path: Path, trained: Any) -> None:
    """Each folder below which two files or more match is a run; other files of the runs are not used."""
    others = foreign.training(4, seed=1)[0]
    for name, states in (("a", trained[0]), ("b", others)):
        for step, state in enumerate(states):
            foreign.plain(tmp_path / "runs" / name / f"save_{step}", {0: state}, "net_{}_of_2.pt")
            foreign.plain(tmp_path / "runs" / name / f"save_{step}", {1: states[0]}, "net_{}_of_2.pt")
    collection, found = opened(tmp_path / "runs", select="*/net_0_of_2.pt")
    assert [trajectory.numbers for trajectory in found] == [(0, 1, 2, 3)] * 2
    assert_same(collection, found[0], trained[0])
    assert_same(collection, found[1], others)


@pytest.mark.parametrize("pattern", ["*.safetensors", "nowhere/*", "["])
def test_a_pattern_that_selects_nothing(tmp_path: Path, trained: Any, pattern: str) -> None:
    """The pattern is in the line."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])))
    line = refused(folder, "nothing_to_convert", select=pattern)
    assert f"no checkpoint matches --select '{pattern}'" in line


def test_what_matches_and_is_not_used_is_named(tmp_path: Path, trained: Any) -> None:
    """Broken links, and folders of steps without weights; texts beside the weights are no matter."""
    folder = tmp_path / "run"
    for step, state in enumerate(trained[0]):
        foreign.tensors(folder / f"checkpoint-{step}" / "unet", {0: state}, "model.safetensors")
        (folder / f"checkpoint-{step}" / "unet" / "config.json").write_text("{}")
    (folder / "checkpoint-9").mkdir()
    collection, (trajectory,) = opened(folder, select="checkpoint-*")
    assert trajectory.numbers == (0, 1, 2, 3)
    assert any(text.startswith("left out: checkpoint-9: holds no model") for text in collection.notices)
    assert opened(folder, select="*/unet/*")[1][0].numbers == (0, 1, 2, 3)
    files = foreign.plain(tmp_path / "files", dict(enumerate(trained[0])))
    (files / "step=7.pt").symlink_to("nowhere")
    notices = opened(files, select="step=*")[0].notices
    assert "left out: step=7.pt: a broken link, or no file" in notices


def test_linked_folders_are_searched(tmp_path: Path, trained: Any) -> None:
    """Checkpoints often lie on another disk; a link to the folder itself is no loop."""
    folder = tmp_path / "run"
    folder.mkdir()
    for step, state in enumerate(trained[0]):
        foreign.tensors(tmp_path / "disk" / str(step), {0: state}, "net[a].safetensors")
        (folder / f"checkpoint-{step}").symlink_to(tmp_path / "disk" / str(step))
    (folder / "self").symlink_to(folder)
    assert opened(folder, select="checkpoint-*/net[[]a].safetensors")[1][0].numbers == (0, 1, 2, 3)


@pytest.mark.parametrize("name", ["final_10.pt", "checkpoint.pt", "step_10.pt"])
@pytest.mark.parametrize("folders", ["model{}", "{}", "seed_{}", "run{}/checkpoints"])
def test_models_in_folders_of_their_own_are_not_joined(
    tmp_path: Path, trained: Any, name: str, folders: str
) -> None:
    """Without a stated number, the number of a folder is a step only if the folder is called one."""
    for number, state in enumerate(trained[0]):
        foreign.plain(tmp_path / "run" / folders.format(number), {0: state}, name)
    line = refused(tmp_path / "run", "nothing_to_convert", select=name)
    option = f"{folders.format('{step}')}/{name}"
    assert f"--select '{option}'" in line
    assert opened(tmp_path / "run", select=option)[1][0].numbers == (0, 1, 2, 3)


@pytest.mark.parametrize("pattern", ["*.pt", "replay_buffer_{step}.pt"])
def test_replay_buffers_are_not_selected(tmp_path: Path, trained: Any, pattern: str) -> None:
    """Each is a whole trajectory, to which the option does not apply; checkpoints beside them are chosen."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])), "replay_buffer_{}.pt")
    with pytest.raises(UsageError, match="a buffer of whole trajectories; convert it without --select"):
        convert(folder, tmp_path / "out.mct", ConvertOptions(select=pattern))
    foreign.plain(folder, dict(enumerate(trained[0])))
    assert opened(folder, select="step=*")[1][0].timesteps == 4


@pytest.mark.parametrize("pattern", ["epoch_{epoch}.pth", "epoch_*.pth"])
def test_folders_inside_of_a_run_are_selected_by_name_only(
    tmp_path: Path, trained: Any, pattern: str
) -> None:
    """Averages, backups and unfinished files in folders of their own are named, and never further runs."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])), "epoch_{}.pth")
    for name in ("ema", "backup/deep", "tmp"):
        foreign.plain(folder / name, dict(enumerate(trained[0])), "epoch_{}.pth")
    collection, (trajectory,) = opened(folder, select=pattern)
    assert trajectory.timesteps == 4
    left = [text for text in collection.notices if text.startswith("left out")]
    assert sorted(text.partition(" inside")[0] for text in left) == [
        f"left out: {name}: 4 checkpoints" for name in ("backup/deep", "ema", "tmp")
    ]
    for name in ("ema", "tmp"):
        assert len(opened(folder, select=f"{name}/{pattern}")[1]) == 1


def test_unfinished_folders_are_selected_by_name_only(tmp_path: Path, trained: Any) -> None:
    """Beside runs, too; and where several runs are selected, they are named."""
    for name in ("a", "b", "old"):
        foreign.plain(tmp_path / "runs" / name, dict(enumerate(trained[0])))
    for pattern in ("step=*.pt", "*/step=*.pt"):
        collection, found = opened(tmp_path / "runs", select=pattern)
        assert len(found) == 2
        assert "2 runs, which begin with a/step=0.pt, b/step=0.pt" in collection.notices
        (left,) = [text for text in collection.notices if text.startswith("left out")]
        assert left.startswith("left out: old: 4 checkpoints in a folder that is unfinished or a backup")
    for pattern in ("old/step=*.pt", "old/step={step}.pt"):
        assert len(opened(tmp_path / "runs", select=pattern)[1]) == 1


def test_folders_of_steps_inside_a_run_are_counted_together(tmp_path: Path, trained: Any) -> None:
    """One remark for the folder that they lie in."""
    for place in ("", "old", "sub"):
        for step, state in enumerate(trained[0]):
            foreign.tensors(tmp_path / "run" / place / f"checkpoint-{step}", {0: state}, "model.safetensors")
    for pattern in ("checkpoint-*", "*/model.safetensors", "checkpoint-{step}"):
        collection, (trajectory,) = opened(tmp_path / "run", select=pattern)
        assert trajectory.timesteps == 4
        left = [text for text in collection.notices if text.startswith("left out")]
        assert [text[:36] for text in left] == [
            "left out: old: 4 checkpoints inside ",
            "left out: sub: 4 checkpoints inside ",
        ]


def test_an_epoch_of_several_is_no_part(tmp_path: Path, trained: Any) -> None:
    """`epoch-1-of-4` is an epoch, although shards have names of this form."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])), "epoch-{}-of-4.pt")
    assert opened(folder, select="epoch-{epoch}-of-4.pt")[1][0].numbers == (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("place", "pattern"),
    [
        ("checkpoint-{0}/model-{1:05d}-of-00002.safetensors", "*/model-00001-of-00002.safetensors"),
        ("checkpoint-{0}/model-{1:05d}-of-00002.safetensors", "*.safetensors"),
        ("checkpoint-{0}/model-{1:05d}-of-00002.safetensors", "model-{step}-of-00002.safetensors"),
        ("step_{0}_rank_{1}.pt", "step_*_rank_1.pt"),
        ("step_{0}/consolidated.{1:02d}.pth", "*/consolidated.01.pth"),
        ("iter_{0}/mp_rank_{1:02d}/model_optim_rng.pt", "iter_{step}/mp_rank_01/*.pt"),
        ("rank_{1}/step_{0}.pt", "rank_1/step_*.pt"),
    ],
)
def test_parts_of_a_network_are_not_selected(tmp_path: Path, trained: Any, place: str, pattern: str) -> None:
    """The trajectory would be that of a part, and nothing would show it."""
    for step, state in enumerate(trained[0]):
        for part in (1, 2):
            path = tmp_path / "run" / place.format(step, part)
            write = foreign.tensors if path.suffix == ".safetensors" else foreign.plain
            write(path.parent, {0: state}, path.name)
    line = refused(tmp_path / "run", "nothing_to_convert", select=pattern)
    assert "are parts of the weights, by their names" in line
    assert "--select" not in line


def test_what_a_pattern_does_not_choose_is_named(tmp_path: Path, trained: Any) -> None:
    """Some files and a count, in one remark; whatever other remarks name is not in it."""
    root = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])), "net_{}k.pt")
    foreign.plain(root, dict(enumerate(trained[0])), "other_{}.pt")
    foreign.plain(root / "ema", dict(enumerate(trained[0])), "net_{}k.pt")
    foreign.tensors(root, {0: trained[0][0]}, "final.safetensors")
    collection, (trajectory,) = opened(root, select="net_{step}k.pt")
    assert trajectory.numbers == (0, 1000, 2000, 3000)
    inside, rest = [text for text in collection.notices if text.startswith("left out")]
    assert inside.startswith("left out: ema: 4 checkpoints inside the folder of a run")
    names = "final.safetensors, other_0.pt, other_1.pt and 2 more"
    assert rest == f"left out: {names}: not chosen by --select net_{{step}}k.pt"

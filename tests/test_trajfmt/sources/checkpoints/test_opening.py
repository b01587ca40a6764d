"""Opening the runs of a source."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.runs import opened, refused  # noqa: E402
from trajfmt.convert.options import ConvertOptions  # noqa: E402
from trajfmt.convert.run import convert  # noqa: E402
from trajfmt.errors import UsageError  # noqa: E402
from trajfmt.sources.discovery import open_source  # noqa: E402


def test_what_only_looks_like_a_checkpoint_is_named(tmp_path: Path, trained: Any) -> None:
    """Links to nothing, folders, pipes, bundles, and runs inside the folder of another."""
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
        "left out: other: 4 files of checkpoints inside the folder of a run; convert them separately",
        "left out: out.mct: a bundle, since manifest.json is in it; convert it separately",
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


def test_options_of_checkpoints_are_for_checkpoints(tmp_path: Path, trained: Any) -> None:
    """Elsewhere they would have no effect, so they are refused."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])))
    convert(folder, tmp_path / "out.mct")
    for option in ({"key": "model"}, {"buffer_names": ("*.mask",)}, {"buffers": "drop"}):
        with pytest.raises(UsageError, match="is for checkpoints of a training run"):
            convert(tmp_path / "out.mct", tmp_path / "out.mtt", ConvertOptions(**option))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is for checkpoints of a training run"):
        convert(folder, tmp_path / "out.mtt", ConvertOptions(layout="mtt", select="*.pt"))
    with pytest.raises(UsageError, match="--trust-pickle is for pickles, and a bundle has none"):
        convert(tmp_path / "out.mct", tmp_path / "out.mtt", ConvertOptions(trust_pickle=True))


def test_a_link_to_another_step_is_no_step(tmp_path: Path, trained: Any) -> None:
    """The same file under two numbers is refused, and both names are given."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])))
    (folder / "step=9.pt").symlink_to("step=2.pt")
    assert "step=2.pt and step=9.pt are the same file" in refused(folder, "duplicate_trajectory")


@pytest.mark.parametrize("name", ["step=4.bin.gz", "step=4", "step=5.pt.1", "step=6.weights"])
def test_files_as_large_as_a_checkpoint_are_named(tmp_path: Path, trained: Any, name: str) -> None:
    """Their names are not those of checkpoints, but they may be some; small files are no matter."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])))
    (folder / name).write_bytes(bytes(5000))
    (folder / "log.txt").write_text("done")
    notices = open_source(folder).notices
    assert [text for text in notices if text.startswith(f"left out: {name}: no checkpoint of this run")]
    assert not [text for text in notices if "log.txt" in text]


def test_a_stray_file_does_not_hide_the_runs_below(tmp_path: Path, trained: Any) -> None:
    """A file without a number in a folder of runs is no run."""
    foreign.plain(tmp_path / "runs/a", dict(enumerate(trained[0])))
    foreign.plain(tmp_path / "runs", {0: trained[0][0]}, "pretrained.pt")
    assert opened(tmp_path / "runs")[1][0].timesteps == 4


@pytest.mark.parametrize("other", ["best", "final", "checkpoint-9"])
def test_one_folder_beside_a_run_of_files_does_not_hide_it(tmp_path: Path, trained: Any, other: str) -> None:
    """The files are the run, and the folder is named."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])))
    foreign.tensors(folder / other, {0: trained[0][0]}, "model.safetensors")
    collection, (trajectory,) = opened(folder)
    assert trajectory.timesteps == 4
    assert any(text.startswith(f"left out: {other}") for text in collection.notices)


def test_the_reason_of_a_checkpoint_comes_before_what_lies_beside_it(tmp_path: Path, trained: Any) -> None:
    """With `keep_going` too, an unrelated file is not given as the reason."""
    folder = tmp_path / "run"
    for step, state in enumerate(trained[0]):
        for name in ("model", "model_1"):
            foreign.tensors(folder / f"checkpoint_{step}", {0: state}, f"{name}.safetensors")
        (folder / f"checkpoint_{step}" / "random_states_0.pkl").write_bytes(b"x")
    line = refused(folder, "too_few_timesteps", keep_going=True)
    assert "2 sets of weights" in line
    assert "numpy" not in line


def test_numbers_in_the_names_of_folders_are_offered(tmp_path: Path, trained: Any) -> None:
    """Where those of the files have none, also if only one of them is no checkpoint of the run."""
    for number, state in enumerate(trained[0]):
        foreign.plain(tmp_path / f"run/training_{number}", {0: state}, "teacher_checkpoint.pth")
    line = refused(tmp_path / "run", "nothing_to_convert")
    assert "--select 'training_{step}/teacher_checkpoint.pth'" in line
    assert opened(tmp_path / "run", select="training_{step}/teacher_checkpoint.pth")[1][0].timesteps == 4


def test_numbers_that_may_be_a_setting_are_remarked_on(tmp_path: Path, trained: Any) -> None:
    """Unless the user says what they are. A word for a checkpoint says nothing else."""
    said = (
        "the numbers in the names, such as pgd_step_1.pt, are taken for the steps of one run; if `pgd` makes"
        " a setting of them, they are no run"
    )
    for name, select, expected in (
        ("pgd_step_{}.pt", None, True),
        ("pgd_step_{}.pt", "pgd_step_{step}.pt", False),
        ("net_step_{}.pt", None, False),
    ):
        folder = tmp_path / f"{select}{name}"
        folder.mkdir()
        for step, state in enumerate(trained[0], 1):
            torch.save(state, folder / name.format(step))
        assert (said in open_source(folder, select=select).notices) is expected

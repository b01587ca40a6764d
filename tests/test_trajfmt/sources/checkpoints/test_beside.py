"""What lies beside the runs of a source: whatever looks like weights is used or named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.runs import opened, refused  # noqa: E402
from trajfmt.convert.run import convert  # noqa: E402


def left_out(folder: Path, **options: Any) -> list[str]:
    """Return the remarks on what is not used in a source with one run of four checkpoints."""
    collection, (trajectory,) = opened(folder, **options)
    assert trajectory.timesteps == 4
    return [text for text in collection.notices if text.startswith("left out")]


def test_weights_outside_of_the_runs_are_named(tmp_path: Path, trained: Any) -> None:
    """Single files, runs of other formats and files of ranks, one remark for each entry of the source."""
    root = tmp_path / "runs"
    foreign.plain(root / "seed0", dict(enumerate(trained[0])))
    foreign.plain(root / "seed1", {0: trained[0][0]}, "final.pt")
    foreign.plain(root, {0: trained[0][0]}, "final_model.pt")
    foreign.tensors(root / "checkpoint-100", {0: trained[0][0]}, "model.safetensors")
    for step in range(3):
        for name in (f"seed2/epoch_{step}.pkl", f"seed3/step_{step}/__0_0.distcp"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"x")
    why = "not among the checkpoints of a run"
    assert left_out(root) == [
        f"left out: final_model.pt: {why}",
        f"left out: checkpoint-100/model.safetensors: {why}",
        f"left out: seed1/final.pt: {why}",
        f"left out: seed2/epoch_0.pkl and 2 more: {why}",
        f"left out: seed3/step_0/__0_0.distcp and 2 more: {why}",
    ]


@pytest.mark.parametrize("name", ["old", "tmp", "partial", "x_backup", "temp"])
def test_what_an_unfinished_folder_holds_is_counted(tmp_path: Path, trained: Any, name: str) -> None:
    """However deep it lies, also where it is all there is."""
    root = tmp_path / "runs"
    place = root / name / "version_0" / "checkpoints"
    foreign.plain(place, dict(enumerate(trained[0])))
    assert f"{name}/version_0/checkpoints/step=0.pt and 3 more" in refused(root, "nothing_to_convert")
    foreign.plain(root / "a" / "b", dict(enumerate(trained[0])))
    assert left_out(root) == [
        f"left out: {name}: holds {name}/version_0/checkpoints/step=0.pt and 3 more, and is unfinished or a"
        " backup, by its name"
    ]


def test_a_sweep_over_temperatures_is_converted(tmp_path: Path, trained: Any) -> None:
    """`temp_0.5` is no unfinished folder."""
    for name in ("temp_0.5", "temp_1", "baseline"):
        foreign.plain(tmp_path / "runs" / name / "version_0", dict(enumerate(trained[0])))
    assert len(opened(tmp_path / "runs")[1]) == 3


@pytest.mark.parametrize("name", ["step_{}", "{:06d}", "global_step{}", "epoch_{}"])
def test_the_folder_of_a_step_without_weights_is_named(tmp_path: Path, trained: Any, name: str) -> None:
    """Only the state of an optimizer may be left in it."""
    for step in range(5):
        foreign.tensors(tmp_path / "run" / name.format(step), {0: trained[0][step % 4]}, "model.safetensors")
    (tmp_path / "run" / name.format(2) / "model.safetensors").rename(
        tmp_path / "run" / name.format(2) / "optimizer.pt"
    )
    assert left_out(tmp_path / "run") == [f"left out: {name.format(2)}: the folder of a step without weights"]


def test_a_bundle_beside_runs_is_left_out(tmp_path: Path, trained: Any) -> None:
    """The result of the last conversion may lie in the source."""
    root = tmp_path / "runs"
    foreign.plain(root / "a", dict(enumerate(trained[0])))
    convert(root, root / "all.mtt")
    convert(root, root / "all.mct")
    why = "a bundle, since manifest.json is in it; convert it separately"
    assert left_out(root) == [f"left out: all.mct: {why}", f"left out: all.mtt: {why}"]


def test_what_is_called_a_state_of_training_is_named(tmp_path: Path, trained: Any) -> None:
    """Its name may mislead, so a folder of nothing else is not passed over, and `--select` is obeyed."""
    root = tmp_path / "runs"
    foreign.plain(root / "b", dict(enumerate(trained[0])), "net_sampler_epoch_{}.pt")
    assert "b/net_sampler_epoch_0.pt and 3 more" in refused(root, "nothing_to_convert")
    foreign.plain(root / "a", dict(enumerate(trained[0])))
    why = "not among the checkpoints of a run"
    assert left_out(root) == [f"left out: b/net_sampler_epoch_0.pt and 3 more: {why}"]
    for pattern in ("net_sampler_epoch_*.pt", "*_sampler_epoch_{epoch}.pt"):
        rest = f"a/step=0.pt, a/step=1.pt, a/step=2.pt and 1 more: not chosen by --select {pattern}"
        assert left_out(root, select=pattern) == [f"left out: {rest}"]
        assert not [text for text in opened(root, select=pattern)[0].notices if "not read" in text]
    foreign.plain(root / "a", {0: trained[0][0]}, "optimizer.pt")
    (text,) = left_out(root / "a", select="*.pt")
    assert text.startswith("left out: optimizer.pt: the state of training, by its name")


@pytest.mark.parametrize("name", ["step=9", "step=9.bak", "step=9.pt.gz", "step=9.pkl"])
def test_a_file_whose_name_nearly_fits_is_named(tmp_path: Path, trained: Any, name: str) -> None:
    """However small it is."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])))
    (folder / name).write_bytes(b"x")
    (text,) = left_out(folder)
    assert text.startswith(f"left out: {name}: ")


@pytest.mark.parametrize("word", ["optimizer=sgd", "scheduler=cosine", "sampler=pk"])
def test_a_setting_is_no_state_of_training(tmp_path: Path, trained: Any, word: str) -> None:
    """`optimizer=sgd` in the name of a checkpoint says how it was trained."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])), f"resnet_{word}_epoch_{{}}.pt")
    assert left_out(folder) == []


def test_the_released_weights_beside_the_iterations_are_named(tmp_path: Path, trained: Any) -> None:
    """Megatron's file holds weights, although its name says `optim`; the pattern with its name selects it."""
    place = "mp_rank_00/model_optim_rng.pt"
    for number, state in enumerate(trained[0]):
        foreign.plain(tmp_path / f"run/iter_{number:07d}", {0: state}, "x.pt")
        (tmp_path / f"run/iter_{number:07d}/mp_rank_00").mkdir()
        (tmp_path / f"run/iter_{number:07d}/x.pt").rename(tmp_path / f"run/iter_{number:07d}" / place)
    assert left_out(tmp_path / "run") == []
    foreign.plain(tmp_path / "run/release/mp_rank_00", {0: trained[0][0]}, "model_optim_rng.pt")
    assert left_out(tmp_path / "run") == [f"left out: release/{place}: not in the folder of a step"]
    (text,) = left_out(tmp_path / "run", select=f"iter_{{step}}/{place}")
    assert text.startswith(f"left out: release/{place}: not chosen by --select")

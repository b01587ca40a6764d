"""Checkpoints of `torch.save`, Lightning and safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.runs import assert_same_values, names_of, opened, refused  # noqa: E402
from trajfmt.convert.run import convert  # noqa: E402
from trajfmt.errors import UnsafeError  # noqa: E402


def test_networks_of_mtt_are_recognised_by_shapes(tmp_path: Path) -> None:
    """Also in safetensors files, whose tensors are sorted by name: the order is restored."""
    shapes = [(8, 3, 3, 3), (8,), (8,), (8,), (8, 8, 3, 3), (8,), (8,), (8,), (10, 512), (10,)]
    model, names = trajfmt.schema.models.recognise(shapes)
    states = {
        t: {
            name: torch.randn(shape, generator=torch.Generator().manual_seed(100 * t + index))
            for index, (name, shape) in enumerate(zip(names, shapes, strict=True))
        }
        for t in range(2)
    }
    for folder in (foreign.plain(tmp_path / "pt", states), foreign.tensors(tmp_path / "st", states)):
        collection, (trajectory,) = opened(folder)
        assert names_of(collection) == names
        assert collection.provenance.model == model
        np.testing.assert_array_equal(trajectory.read(1, 4), states[1][names[4]].numpy().reshape(-1))


def test_path_files_of_python_are_no_checkpoints(tmp_path: Path, trained: Any) -> None:
    """They share an ending, and hold text: named and not used. An empty file is a damaged checkpoint."""
    folder = foreign.plain(tmp_path / "run", {1: trained[0][0], 2: trained[0][1]}, "model_{}.pth")
    (folder / "distutils-precedence.pth").write_text("import os; os.environ\n")
    collection, (trajectory,) = opened(folder)
    assert trajectory.numbers == (1, 2)
    assert any(notice.startswith("left out: distutils-precedence.pth") for notice in collection.notices)
    (folder / "model_3.pth").touch()
    assert "model_3.pth" in refused(folder, "source_truncated")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"<!DOCTYPE html><html>404</html>", "nothing_to_convert"), (bytes(5000), "source_invalid")],
)
@pytest.mark.parametrize("name", ["step_{}.pth", "net_{}.bin", "epoch_{}.th", "model_{}.tar"])
def test_a_file_that_fits_the_run_is_never_passed_over(
    tmp_path: Path, trained: Any, name: str, content: bytes, reason: str
) -> None:
    """An error page or a hole in the place of a checkpoint is refused with its name, whatever its size."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])), name)
    (folder / name.format(2)).write_bytes(content)
    assert name.format(2) in refused(folder, reason)


def test_one_file_points_to_its_folder(tmp_path: Path, trained: Any) -> None:
    """A single checkpoint is recognised as one."""
    folder = foreign.tensors(tmp_path / "run", dict(enumerate(trained[0])))
    assert "give the folder of its run" in refused(folder / "ckpt_00001.safetensors", "too_few_timesteps")


def test_an_unknown_class_points_to_the_option(tmp_path: Path, trained: Any) -> None:
    """Lightning's hyper-parameters may hold anything: refused with the class and the way on."""
    folder = foreign.lightning(tmp_path / "run", *trained, hyper_parameters={"path": Path("x")})
    with pytest.raises(UnsafeError) as caught:
        convert(folder, tmp_path / "out.mct")
    assert caught.value.reason == "pickle_unsafe"
    assert "pathlib" in str(caught.value)
    assert "--trust-pickle" in str(caught.value)
    assert "epoch=0-step=500.ckpt" in str(caught.value)
    collection, (trajectory,) = opened(folder, trust_pickle=True)
    assert_same_values(collection, trajectory, trained[0], "model.")

"""One timestep as an ordinary checkpoint."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file

import trajfmt
from trajfmt import ExistsError, ParamLayout, TimestepError, TrajfmtError, UsageError
from trajfmt.bundle.extraction import extract
from trajfmt.errors import ReadError, WriteError

Array = NDArray[np.generic]


@pytest.fixture
def path(write_bundle: Callable[..., Path], layout: ParamLayout, walk: Callable[..., Array]) -> Path:
    """Return a bundle of two trajectories."""
    return write_bundle(layout, walk(layout), walk(layout, seed=1))


@pytest.mark.parametrize("t", [0, 2.5, 5, pytest.param(np.float64(3.25))])
def test_checkpoint_holds_the_weights_by_their_names(path: Path, tmp_path: Path, t: float) -> None:
    """Bit-identical to `at`, in the parameters' own shapes, with bundle and place in the metadata."""
    with trajfmt.open(path) as bundle:
        extract(bundle, 1, t, tmp_path / "theta.safetensors")
        expected = bundle.layout.split(bundle[1].at(t))
        identity = bundle.sha256
    found = load_file(tmp_path / "theta.safetensors")
    assert sorted(found) == sorted(expected)
    for name, view in expected.items():
        assert found[name].shape == view.shape
        assert found[name].tobytes() == view.tobytes()
    with safe_open(tmp_path / "theta.safetensors", "np") as file:
        about = json.loads(file.metadata()["trajfmt"])
    assert about == {"bundle_sha256": identity, "t": t, "trajectory": 1}


@pytest.mark.parametrize("encoding", ["convex", "full"])
def test_one_layer_alone(
    encoding: str, write_bundle: Callable[..., Path], walk: Callable[..., Array], tmp_path: Path
) -> None:
    """Its parameters need not be neighbours; a name that is unknown or not unique is refused."""
    shapes = [("a.weight", (3, 2)), ("b.weight", (4,)), ("a.bias", (2,))]
    layout = ParamLayout.of(shapes, layers="module")
    with trajfmt.open(write_bundle(layout, walk(layout), encoding=encoding)) as bundle:
        extract(bundle, 0, 3, tmp_path / "a.safetensors", layer="a")
        expected = bundle.layout.split(bundle[0].at(3))
        found = load_file(tmp_path / "a.safetensors")
        assert sorted(found) == ["a.bias", "a.weight"]
        assert all(found[name].tobytes() == expected[name].tobytes() for name in found)
        with pytest.raises(UsageError, match="must have one layer 'c', got 0; its layers are a, b"):
            extract(bundle, 0, 3, tmp_path / "c.safetensors", layer="c")
    assert not (tmp_path / "c.safetensors").exists()


def test_mistakes_leave_nothing(path: Path, tmp_path: Path) -> None:
    """A wrong t, number or suffix, and an existing file."""
    (tmp_path / "there.safetensors").write_text("mine")
    before = sorted(os.listdir(tmp_path))
    with trajfmt.open(path) as bundle:
        for trajectory, t, name, error in (
            (0, 5.1, "a.safetensors", TimestepError),
            (2, 0, "a.safetensors", IndexError),
            (0, 0, "a.pt", UsageError),
            (0, 0, ".safetensors", UsageError),
            (0, 0, "there.safetensors", ExistsError),
        ):
            with pytest.raises(error):
                extract(bundle, trajectory, t, tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "there.safetensors").read_text() == "mine"


def test_error_of_the_bundle_is_not_called_one_of_the_output(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle that cannot be read is named, and nothing is left."""

    def fail(*_arguments: object) -> None:
        raise OSError(5, "Input/output error")

    with trajfmt.open(path) as bundle:
        monkeypatch.setattr(type(bundle.files), "array", fail)
        with pytest.raises(TrajfmtError, match=rf"{path}: cannot be read: Input/output error"):
            extract(bundle, 0, 1, tmp_path / "x.safetensors")
    assert not list(tmp_path.glob("*.safetensors*")) + list(tmp_path.glob(".x*"))


class _Carried(trajfmt.ArrayTrajectory):
    """A trajectory with a module buffer of a given name."""

    numbers = None
    called = "bn.running_mean"

    def buffers(self, t: int) -> dict[str, Array]:
        """Return one buffer, which is t everywhere."""
        return {self.called: np.full(3, t, "f4")}


@pytest.mark.parametrize(("t", "of"), [(0, None), (2, None), (2.5, 2), (4, 2), (5, None)])
def test_buffers_of_another_timestep_are_said(
    layout: ParamLayout, walk: Callable[..., Array], tmp_path: Path, t: float, of: int | None
) -> None:
    """Between knots they are those of the last knot, unless only a layer is wanted."""
    with trajfmt.create(tmp_path / "a.mct", layout, encoding="convex", knots=(2,)) as writer:
        writer.add(_Carried(walk(layout, 6), layout))
    with trajfmt.open(tmp_path / "a.mct") as bundle:
        told = extract(bundle, 0, t, tmp_path / "x.safetensors")
        found = load_file(tmp_path / "x.safetensors")["bn.running_mean"]
        assert found.tolist() == [t if of is None else of] * 3
        assert [f"those of t = {of}, the last knot" in line for line in told] == [True] * (of is not None)
        assert extract(bundle, 0, t, tmp_path / "y.safetensors", layer=layout.layers[0].name) == []


def test_a_buffer_with_the_name_of_a_parameter_is_not_dropped(
    layout: ParamLayout, walk: Callable[..., Array], tmp_path: Path
) -> None:
    """A file of tensors has one of each name; nothing is written."""
    with trajfmt.create(tmp_path / "a.mtt", layout, encoding="full") as writer:
        trajectory = _Carried(walk(layout, 3), layout)
        trajectory.called = layout.parameters[0].name
        writer.add(trajectory)
    told = pytest.raises(UsageError, match="is the name of a parameter and of a module buffer")
    with trajfmt.open(tmp_path / "a.mtt") as bundle, told:
        extract(bundle, 0, 1, tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


def test_error_of_the_output_is_not_called_one_of_the_bundle(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is missing is named before anything is read; a disk that is full, with the output."""

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with trajfmt.open(path) as bundle:
        with pytest.raises(UsageError, match=f"{tmp_path}/gone: no such folder; create it first"):
            extract(bundle, 0, 1, tmp_path / "gone/x.safetensors")
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(WriteError, match=r"x\.safetensors: cannot be written: No space left on device"):
            extract(bundle, 0, 1, tmp_path / "x.safetensors")
    assert not list(tmp_path.glob("*.safetensors*")) + list(tmp_path.glob(".x*"))


def test_a_read_error_of_the_disk_stays_what_it_is(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the file of the bundle already, and is not wrapped again."""
    with trajfmt.open(path) as bundle:
        failed = ReadError.of(OSError(errno.EIO, "Input/output error"), path / "knots/00000.safetensors")

        def fail(*_arguments: object) -> None:
            raise failed

        monkeypatch.setattr(type(bundle.files), "array", fail)
        with pytest.raises(ReadError) as caught:
            extract(bundle, 0, 1, tmp_path / "x.safetensors")
    assert caught.value is failed

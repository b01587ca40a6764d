"""One safetensors file for each timestep."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

import trajfmt
from trajfmt import ParamLayout, Provenance, TimestepUnit, UsageError
from trajfmt.convert.run import convert

torch = pytest.importorskip("torch")
import trajfmt.torch  # noqa: E402  # needs torch
from trajfmt.export.run import check, export  # noqa: E402

Array = NDArray[np.generic]


class Carried(trajfmt.ArrayTrajectory):
    """A trajectory with numbers of its own and running statistics."""

    numbers = (0, 100, 250, 1000)

    def buffers(self, t: int) -> Mapping[str, Array]:
        """Return statistics of timestep t."""
        return {
            "bn.running_mean": np.full(3, t, np.float32),
            "bn.num_batches_tracked": np.array(t, np.int64),
        }


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F64"])
def test_checkpoints_are_read_back_bit_for_bit(
    dtype: str, layout: ParamLayout, walk: Callable[..., Array], tmp_path: Path
) -> None:
    """Every timestep under its own number, with its buffers, in any safetensors reader and in ours."""
    kind: Any = dtype
    other = ParamLayout.of([(p.name, p.shape) for p in layout.parameters], dtype=kind)
    thetas = [walk(layout, 4, seed).astype(other.numpy_dtype) for seed in range(2)]
    with trajfmt.create(tmp_path / "a.mtt", other, encoding="full") as writer:
        for theta in thetas:
            writer.add(Carried(theta, other))
    with trajfmt.open(tmp_path / "a.mtt") as bundle:
        assert export(bundle, tmp_path / "out", to="checkpoints") == 2
    assert sorted(os.listdir(tmp_path / "out")) == ["00000", "00001"]
    steps = sorted(os.listdir(tmp_path / "out" / "00001"))
    assert steps == sorted(f"ckpt-{n}" for n in Carried.numbers)
    if dtype != "BF16":  # safetensors' numpy reader has no such type
        found = load_file(tmp_path / "out" / "00001" / "ckpt-250" / "model.safetensors")
        assert found["bn.num_batches_tracked"] == 2
        for name, value in other.split(thetas[1][2]).items():
            assert found[name].tobytes() == value.tobytes()
            assert found[name].shape == value.shape
    convert(tmp_path / "out", tmp_path / "b.mtt")
    with trajfmt.open(tmp_path / "b.mtt") as back:
        assert back.layout == other
        for item, theta in zip(back, thetas, strict=True):
            assert item.numbers == Carried.numbers
            for t in range(4):
                assert item.at(t).tobytes() == theta[t].tobytes()
                assert item.buffers(t)["bn.running_mean"].tolist() == [t, t, t]


def test_checkpoints_of_a_convexified_bundle(
    layout: ParamLayout, walk: Callable[..., Array], tmp_path: Path
) -> None:
    """Whole timesteps of the path, numbered by what the bundle knows of their unit; float32 on request."""
    about = Provenance(timestep=TimestepUnit(kind="epoch", every=5), first_timestep=2)
    double = ParamLayout.of([(p.name, p.shape) for p in layout.parameters], dtype="F64")
    with trajfmt.create(tmp_path / "a.mct", double, encoding="convex", provenance=about) as writer:
        writer.add(trajfmt.ArrayTrajectory(walk(double, 4), double))
    with trajfmt.open(tmp_path / "a.mct") as bundle:
        assert check(bundle, to="checkpoints")[0] == "checkpoints are numbered in epochs: epoch-<number>"
        export(bundle, tmp_path / "out", to="checkpoints", float32=True)
        names = os.listdir(tmp_path / "out" / "00000")
        assert sorted(names) == sorted(f"epoch-{n}" for n in (10, 15, 20, 25))
        found = load_file(tmp_path / "out" / "00000" / "epoch-15" / "model.safetensors")
        expected = bundle.layout.split(bundle[0].at(1).astype("f4"))
        assert {n: v.tobytes() for n, v in found.items()} == {n: v.tobytes() for n, v in expected.items()}
        with pytest.raises(UsageError, match=r"only files for torch\.load"):
            export(bundle, tmp_path / "again", to="checkpoints", in_place=True)
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("unit", "called"), [("step", "checkpoint"), ("epoch", "epoch"), (None, "ckpt")], ids=str
)
def test_the_unit_survives_export_and_conversion(
    unit: Any, called: str, layout: ParamLayout, walk: Callable[..., Array], tmp_path: Path
) -> None:
    """Epochs come back as epochs, steps as steps, and numbers of unknown unit as those."""
    about = Provenance(timestep=unit and TimestepUnit(kind=unit, every=10))
    with trajfmt.create(tmp_path / "a.mtt", layout, encoding="full", provenance=about) as writer:
        writer.add(trajfmt.ArrayTrajectory(walk(layout, 3), layout))
    with trajfmt.open(tmp_path / "a.mtt") as bundle:
        export(bundle, tmp_path / "out", to="checkpoints")
    numbers = (0, 10, 20) if unit else (0, 1, 2)
    assert sorted(os.listdir(tmp_path / "out/00000")) == [f"{called}-{n}" for n in numbers]
    convert(tmp_path / "out", tmp_path / "b.mtt")
    with trajfmt.open(tmp_path / "b.mtt") as back:
        assert back.manifest.provenance.timestep == about.timestep


def test_a_name_that_safetensors_reserves_is_refused(
    layout: ParamLayout, walk: Callable[..., Array], tmp_path: Path
) -> None:
    """A carried `__metadata__` would make a file that no reader opens; nothing is written."""

    class Reserved(Carried):
        def buffers(self, t: int) -> dict[str, Array]:
            return {"__metadata__": np.array([t])}

    with trajfmt.create(tmp_path / "a.mct", layout, encoding="convex") as writer:
        writer.add(Reserved(walk(layout, 4), layout))
    with (
        trajfmt.open(tmp_path / "a.mct") as bundle,
        pytest.raises(UsageError, match="a name that safetensors reserves"),
    ):
        export(bundle, tmp_path / "out", to="checkpoints")
    assert sorted(os.listdir(tmp_path)) == ["a.mct"]

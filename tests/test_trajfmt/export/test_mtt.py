"""Back to MTT's `replay_buffer_{n}.pt`, as its own code reads them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from trajfmt import ExistsError, ParamLayout, UsageError

torch = pytest.importorskip("torch")

import trajfmt.torch  # noqa: E402  # needs torch
from trajfmt.export.mtt import BufferWriter  # noqa: E402  # needs torch
from trajfmt.export.run import check, export  # noqa: E402

Array = NDArray[np.generic]


@pytest.fixture
def thetas(layout: ParamLayout, walk: Callable[..., Array]) -> list[Array]:
    """Return twelve trajectories of unequal length, with -0.0 and denormals in the first."""
    thetas = [walk(layout, timesteps=3 + seed % 3, seed=seed) for seed in range(12)]
    thetas[0][1, :4] = [-0.0, 1e-45, -1e-45, 3.4028235e38]
    return thetas


@pytest.mark.parametrize("codec", ["none", "zstd", "archive"])
@pytest.mark.parametrize("dtype", ["F16", "F32", "F64"])
def test_full_is_exported_bit_for_bit(
    codec: str, dtype: str, thetas: list[Array], layout: ParamLayout, write_bundle: Callable[..., Path]
) -> None:
    """Ten trajectories in file 0, two in file 1, lists of lists of tensors with a storage each."""
    layout = ParamLayout.of([(p.name, p.shape) for p in layout.parameters], dtype=dtype)  # type: ignore[arg-type]
    thetas = [np.clip(theta, -60000, 60000).astype(layout.numpy_dtype) for theta in thetas]
    path = write_bundle(layout, *thetas, encoding="full", codec=codec)
    with trajfmt.open(path) as bundle:
        assert export(bundle, path.parent / "buffer") == 12
    assert sorted(os.listdir(path.parent / "buffer")) == ["replay_buffer_0.pt", "replay_buffer_1.pt"]
    buffers: list[Any] = [torch.load(path.parent / "buffer" / f"replay_buffer_{n}.pt") for n in (0, 1)]
    assert [len(buffer) for buffer in buffers] == [10, 2]
    storages = set()
    for steps, theta in zip([*buffers[0], *buffers[1]], thetas, strict=True):
        assert type(steps) is list
        assert len(steps) == len(theta)
        for step, row in zip(steps, theta, strict=True):
            assert type(step) is list
            assert [tuple(tensor.shape) for tensor in step] == [(2, 3), (2,), ()]
            assert b"".join(tensor.numpy().tobytes() for tensor in step) == row.tobytes()
            for tensor in step:
                assert tensor.is_contiguous()
                assert tensor.storage_offset() == 0
                assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
                storages.add(tensor.untyped_storage().data_ptr())
    assert len(storages) == sum(3 * len(theta) for theta in thetas)
    assert sorted(os.listdir(path.parent)) == ["buffer", path.name]


def test_convex_is_exported_as_its_discretised_path(
    thetas: list[Array], layout: ParamLayout, write_bundle: Callable[..., Path]
) -> None:
    """Every whole timestep, as `at` gives it."""
    path = write_bundle(layout, *thetas[:2])
    with trajfmt.open(path) as bundle:
        export(bundle, path.parent / "buffer", per_file=1)
        for number, item in enumerate(bundle):
            (steps,) = torch.load(path.parent / "buffer" / f"replay_buffer_{number}.pt")
            assert [b"".join(t.numpy().tobytes() for t in step) for step in steps] == [
                item.at(t).tobytes() for t in range(item.timesteps)
            ]


def test_existing_destination_is_refused(
    thetas: list[Array], layout: ParamLayout, write_bundle: Callable[..., Path]
) -> None:
    """And untouched."""
    path = write_bundle(layout, thetas[0], encoding="full")
    (path.parent / "buffer").mkdir()
    with trajfmt.open(path) as bundle, pytest.raises(ExistsError):
        export(bundle, path.parent / "buffer")
    assert os.listdir(path.parent / "buffer") == []


def test_failure_leaves_nothing(
    thetas: list[Array], layout: ParamLayout, write_bundle: Callable[..., Path]
) -> None:
    """Stopped after the first file: neither that nor the folder is there."""

    def stop(number: int) -> None:
        if number == 1:
            raise KeyboardInterrupt

    path = write_bundle(layout, *thetas[:3], encoding="full")
    with trajfmt.open(path) as bundle, pytest.raises(KeyboardInterrupt):
        export(bundle, path.parent / "buffer", per_file=1, on_trajectory=stop)
    assert os.listdir(path.parent) == [path.name]


def test_damage_found_while_exporting_leaves_nothing(
    thetas: list[Array], layout: ParamLayout, write_bundle: Callable[..., Path]
) -> None:
    """A chunk that does not decode ends it with its reason."""
    path = write_bundle(layout, *thetas[:2], encoding="full", codec="zstd")
    with trajfmt.open(path) as bundle:
        entry: Any = bundle.manifest.trajectories[1]
        file = path / entry.file
        data = bytearray(file.read_bytes())
        data[entry.chunks.offsets[1]] ^= 0xFF
        file.write_bytes(data)
        with pytest.raises(trajfmt.CorruptError):
            export(bundle, path.parent / "buffer", per_file=1)
    assert os.listdir(path.parent) == [path.name]


def test_buffer_writer_goes_on_after_existing_files(
    thetas: list[Array], layout: ParamLayout, tmp_path: Path
) -> None:
    """Files that exist stay; the first free number is taken; a short last file is written."""
    (tmp_path / "replay_buffer_0.pt").write_bytes(b"mine")
    with BufferWriter(tmp_path, layout, per_file=2) as writer:
        for theta in thetas[:3]:
            writer.add(theta)
    assert sorted(os.listdir(tmp_path)) == [f"replay_buffer_{n}.pt" for n in range(3)]
    assert (tmp_path / "replay_buffer_0.pt").read_bytes() == b"mine"
    assert [len(torch.load(tmp_path / f"replay_buffer_{n}.pt")) for n in (1, 2)] == [2, 1]


def test_less_than_one_trajectory_a_file_is_a_usage_error(layout: ParamLayout, tmp_path: Path) -> None:
    """Zero would never write."""
    with pytest.raises(UsageError, match="per_file"):
        BufferWriter(tmp_path, layout, per_file=0)


def flat(step: Any) -> bytes:
    """Return a timestep's bytes."""
    return b"".join(tensor.numpy().tobytes() for tensor in step)


def test_mtt_is_told_of_lengths_and_types(
    layout: ParamLayout, walk: Callable[..., Array], tmp_path: Path
) -> None:
    """What would end in an IndexError or in a clash of types in MTT's code."""
    double = ParamLayout.of([(p.name, p.shape) for p in layout.parameters], dtype="F64")
    with trajfmt.create(tmp_path / "a.mtt", double, encoding="full") as writer:
        for timesteps in (5, 8):
            writer.add(trajfmt.ArrayTrajectory(walk(double, timesteps), double))
    with trajfmt.open(tmp_path / "a.mtt") as bundle:
        lengths, types, *_ = check(bundle)
        assert "end at 4 to 7: keep max_start_epoch + expert_epochs <= 5" in lengths
        assert "weights are F64" in types
        export(bundle, tmp_path / "out", float32=True)
        (one, _) = torch.load(tmp_path / "out" / "replay_buffer_0.pt")
        assert one[2][0].dtype == torch.float32
        assert flat(one[2]) == bundle[0].at(2).astype("f4").tobytes()

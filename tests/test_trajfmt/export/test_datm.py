"""Buffers where DATM looks for them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from trajfmt import ParamLayout, UsageError

torch = pytest.importorskip("torch")
import trajfmt.torch  # noqa: E402  # needs torch
from trajfmt.export.run import export  # noqa: E402

Array = NDArray[np.generic]


def flat(step: Any) -> bytes:
    """Return a timestep's bytes."""
    return b"".join(tensor.numpy().tobytes() for tensor in step)


@pytest.mark.parametrize("in_place", [False, True])
def test_datm_finds_every_label_model_where_it_looks(hundred: Path, tmp_path: Path, in_place: bool) -> None:
    """File `cur // 10 % 10`, trajectory `cur % 10`, timestep -1, for every cur up to 100; ten a file."""
    with trajfmt.open(hundred) as bundle:
        assert export(bundle, tmp_path / "out", to="datm", in_place=in_place) == 100
        files = [tmp_path / "out" / f"replay_buffer_{n}.pt" for n in range(10)]
        assert sorted(os.listdir(tmp_path / "out")) == sorted(file.name for file in files)
        for cur in range(100):
            buffer = trajfmt.torch.load(files[int(cur / 10) % 10])
            assert len(buffer) == 10
            assert flat(buffer[cur % 10][-1]) == bundle[cur].at(4).tobytes()


@pytest.mark.parametrize(("count", "missing"), [(7, 93), (90, 10), (101, 9)])
def test_datm_says_how_many_are_missing(
    count: int,
    missing: int,
    layout: ParamLayout,
    walk: Callable[..., Array],
    write_bundle: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Ten full files at least; nothing is written otherwise."""
    path = write_bundle(layout, *(walk(layout, 3, seed) for seed in range(count)), encoding="full")
    with trajfmt.open(path) as bundle, pytest.raises(UsageError, match=rf"{missing} are missing"):
        export(bundle, tmp_path / "out", to="datm")
    assert os.listdir(tmp_path) == [path.name]


def test_datm_refuses_unequal_lengths_and_other_files(
    layout: ParamLayout, walk: Callable[..., Array], write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    """It draws timesteps and indices as if all were like the first."""
    path = write_bundle(layout, *(walk(layout, 3 + (s == 57), s) for s in range(100)), encoding="full")
    with trajfmt.open(path) as bundle:
        with pytest.raises(UsageError, match=r"trajectory 57 has 4.*--timesteps 0:3"):
            export(bundle, tmp_path / "out", to="datm")
        with pytest.raises(UsageError, match="10 trajectories in each file"):
            export(bundle, tmp_path / "out", to="datm", per_file=5)

"""Pairs of towers, back in their two files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import trajfmt
from trajfmt import UsageError
from trajfmt.convert.run import convert

torch = pytest.importorskip("torch")
import trajfmt.torch  # noqa: E402  # needs torch
from tests.foreign import towers  # noqa: E402
from trajfmt.export.run import export  # noqa: E402


def flat(step: Any) -> bytes:
    """Return a timestep's bytes."""
    return b"".join(tensor.numpy().tobytes() for tensor in step)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("suffix", [".mtt", ".mct"])
def test_towers_go_back_to_their_two_files(in_place: bool, suffix: str, tmp_path: Path) -> None:
    """Files of both halves, one number for one expert, each with its own tensors."""
    written = towers.lors(tmp_path / "in")
    convert(written.folder, tmp_path / f"a{suffix}")
    with trajfmt.open(tmp_path / f"a{suffix}") as bundle:
        export(bundle, tmp_path / "out", to="towers", per_file=1, in_place=in_place)
        last = bundle[0].last
    for half, experts in (("img", written.images), ("txt", written.texts)):
        for n, expert in enumerate(experts):
            (found,) = trajfmt.torch.load(tmp_path / "out" / f"{half}_replay_buffer_{n}.pt")
            for t in range(last + 1) if suffix == ".mtt" else (0, last):
                assert [tuple(p.shape) for p in found[t]] == [tuple(p.shape) for p in expert[t]]
                assert flat(found[t]) == flat(expert[t])
    assert len(os.listdir(tmp_path / "out")) == 6


def test_what_is_no_pair_of_towers_is_refused(hundred: Path, tmp_path: Path) -> None:
    """One line that names the first parameter."""
    with trajfmt.open(hundred) as bundle, pytest.raises(UsageError, match=r"`fc\.weight`"):
        export(bundle, tmp_path / "out", to="towers")

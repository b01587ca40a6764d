"""Names that a bundle does not use yet."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
import trajfmt.bundle.create
from tests.helpers.carried import Carrier, state, write
from tests.helpers.folders import hashes
from tests.helpers.sealing import edited
from tests.helpers.walks import LAYOUT, walk_of, write_walks
from trajfmt import ArrayTrajectory, ExistsError, ParamLayout
from trajfmt.bundle.filing import Filing
from trajfmt.bundle.validation import validate
from trajfmt.encodings.parts.written import NewFile

Walk = Callable[..., Any]


def test_append_finds_free_names_for_buffers(tmp_path: Path, layout: ParamLayout, walk: Walk) -> None:
    """Appended trajectories carry their own; a linked folder of buffers is refused."""
    path = write(tmp_path / "a.mct", layout, Carrier(walk(layout), layout, state))
    with trajfmt.append(path) as writer:
        writer.add(Carrier(walk(layout, seed=1), layout, lambda t: {"other": np.array(t)}))
    assert validate(path) == []
    with trajfmt.open(path) as bundle:
        assert bundle[1].buffers(5)["other"] == 5
        assert bundle[0].buffers(5)["norm.steps"] == 35
    (path / "buffers").rename(tmp_path / "elsewhere")
    (path / "buffers").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(trajfmt.UnsafeError, match="link"):
        trajfmt.append(path)


Array = NDArray[np.generic]
Write = Callable[..., Path]


def test_append_to_a_bundle_whose_files_have_other_names(
    layout: ParamLayout, walk: Walk, write_bundle: Write
) -> None:
    """Names of files mean nothing: trajectory 0 may lie in 00001.h5."""
    path = write_bundle(layout, walk(layout), encoding="full")
    os.rename(path / "theta/00000.h5", path / "theta/00001.h5")
    edited(path, b"00000.h5", b"00001.h5")
    with trajfmt.append(path) as writer:
        writer.add(ArrayTrajectory(walk(layout, seed=1), layout))
    assert sorted(os.listdir(path / "theta")) == ["00001.h5", "00002.h5"]
    assert len(trajfmt.open(path, verify=True)) == 2


@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
def test_publishing_again_uses_the_same_names(tmp_path: Path, suffix: str) -> None:
    """A bundle whose destination was occupied is published when it is free, byte for byte as ever."""
    encoding = "convex" if suffix == ".mct" else "full"
    expected = write_walks(tmp_path / f"once{suffix}", 2, encoding)
    writer = trajfmt.create(tmp_path / f"o{suffix}", LAYOUT, encoding=encoding)
    for seed in range(2):
        writer.add(ArrayTrajectory(walk_of(seed), LAYOUT))
    (tmp_path / f"o{suffix}").mkdir()
    with pytest.raises(ExistsError):
        writer.publish()
    (tmp_path / f"o{suffix}").rmdir()
    writer.publish()
    assert hashes(tmp_path / f"o{suffix}") == hashes(expected)


def test_names_that_were_given_stay_taken() -> None:
    """Beside those that the bundle lists: no two files get one name."""
    staging: Any = None
    filing = Filing(staging, {"knots/00000.safetensors"})
    new = NewFile(Path(), "knots", ".safetensors")
    assert [filing._free_names([new], number)[0][6:11] for number in (0, 0, 2, 1)] == [
        "00001",
        "00002",
        "00003",
        "00004",
    ]

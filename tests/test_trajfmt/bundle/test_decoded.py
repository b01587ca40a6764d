"""All timesteps of a stored trajectory at once: mapped where they lie as they are, else unpacked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from trajfmt import ParamLayout
from trajfmt.bundle import decoded
from trajfmt.bundle.decoded import timesteps_of

Array = NDArray[np.generic]


@pytest.mark.parametrize("codec", ["none", "zstd", "archive"])
def test_all_timesteps_are_those_that_were_written(
    codec: str,
    layout: ParamLayout,
    walk: Callable[..., Array],
    write_bundle: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bit for bit, also in blocks that end inside a timestep; no file is left beside the bundle."""
    monkeypatch.setattr(decoded, "_BLOCK", 4)
    theta = walk(layout)
    path = write_bundle(layout, theta, encoding="full", codec=codec)
    with trajfmt.open(path) as bundle:
        assert timesteps_of(bundle[0], tmp_path).tobytes() == theta.tobytes()
        assert b"".join(row.tobytes() for row in bundle[0].rows()) == theta.tobytes()
    assert list(tmp_path.iterdir()) == [path]


def test_only_plain_timesteps_are_mapped_in_place(
    layout: ParamLayout, walk: Callable[..., Array], write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    """Codec none needs no scratch folder; the others do."""
    for codec, name in (("none", "a.mtt"), ("zstd", "b.mtt")):
        path = write_bundle(layout, walk(layout), encoding="full", codec=codec, name=name)
        with trajfmt.open(path) as bundle:
            if codec == "none":
                assert not timesteps_of(bundle[0], tmp_path / "missing").flags.writeable
            else:
                with pytest.raises(FileNotFoundError):
                    timesteps_of(bundle[0], tmp_path / "missing")


def test_timesteps_of_a_convexified_trajectory_are_its_discretised_path(
    layout: ParamLayout, walk: Callable[..., Array], write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    """The weights of `at` at every whole timestep."""
    with trajfmt.open(write_bundle(layout, walk(layout), knots=(2,))) as bundle:
        item: Any = bundle[0]
        expected = b"".join(item.at(t).tobytes() for t in range(item.timesteps))
        assert timesteps_of(item, tmp_path).tobytes() == expected
        assert b"".join(row.tobytes() for row in item.rows()) == expected

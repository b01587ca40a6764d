"""A convexified trajectory at whole timesteps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from tests.helpers.convexified import Walk, exact, given, write
from trajfmt import ParamLayout, UsageError
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert
from trajfmt.encodings.parts.discrete import Discretised


@pytest.mark.parametrize("codec", ["none", "archive"])
def test_discretised_at_whole_timesteps(tmp_path: Path, layout: ParamLayout, walk: Walk, codec: Any) -> None:
    """A full bundle gets the weights of eq. 10 at every timestep, bit for bit those of the convex one."""
    source = given(layout, walk)
    convex = write(tmp_path / "a.mct", layout, source)
    with trajfmt.create(tmp_path / "b.mtt", layout, encoding="full", codec=codec) as writer:
        writer.add(source)
    convert(convex, tmp_path / "c.mtt", ConvertOptions(codec=codec, timesteps=(1, 5)))
    with (
        trajfmt.open(convex) as a,
        trajfmt.open(tmp_path / "b.mtt") as b,
        trajfmt.open(tmp_path / "c.mtt") as c,
    ):
        assert all(b[0].at(t).tobytes() == a[0].at(t).tobytes() for t in range(6))
        assert all(c[0].at(t - 1).tobytes() == a[0].at(t).tobytes() for t in range(1, 5))
        assert b.manifest.trajectories[0].digest == a.manifest.trajectories[0].digest
    with pytest.raises(UsageError, match="timesteps cannot be removed"):
        convert(convex, tmp_path / "d.mct", ConvertOptions(timesteps=(1, 5), dtype="F16"))


def test_discretised_and_rounded_at_once(layout: ParamLayout, walk: Walk) -> None:
    """For another stored type the weights come in float64, to be rounded once."""
    source = given(layout, walk)
    discrete = Discretised(source, layout.cast("BF16"), cast=True)
    piece = discrete.piece(1, 0, 2, 5)
    assert piece.dtype == np.float64
    assert np.array_equal(piece, exact(source, 1)[2:5])
    assert Discretised(source, layout).read(1, 0).dtype == np.float32


def test_whole_knots_keep_every_bit(layout: ParamLayout, walk: Walk) -> None:
    """Also the sign of a zero, which a mean with a weight of nothing would lose."""
    source = given(layout, walk)
    for k, t in enumerate(source.knots):
        source.rows[k][:] = -0.0 if k % 2 else source.rows[k]
        assert Discretised(source, layout).read(t, 0).tobytes() == source.rows[k][:6].tobytes()

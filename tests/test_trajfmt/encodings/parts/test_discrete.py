"""A convexified trajectory at whole timesteps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from tests.helpers.convexified import Walk, exact, given, write
from trajfmt import CorruptError, ParamLayout, UsageError
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


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 2, 0)])
def test_layers_of_the_source_are_kept(
    tmp_path: Path, layout: ParamLayout, walk: Walk, order: tuple[int, ...]
) -> None:
    """The betas of a source belong to its own layers, whatever layers the new bundle has."""
    layers = tuple(layout.layers[number] for number in order)
    convex = write(tmp_path / "a.mct", replace(layout, layers=layers), given(layout, walk))
    _require_same(convex, tmp_path / "b.mtt")


@pytest.mark.parametrize("layers", ["module", "all"])
def test_fewer_layers_than_parameters(tmp_path: Path, layout: ParamLayout, walk: Walk, layers: Any) -> None:
    """A bundle whose layers have several parameters becomes a full one."""
    grouped = layout.regroup(layers)
    assert grouped.num_layers < layout.num_layers
    with trajfmt.create(tmp_path / "a.mct", grouped, encoding="convex") as writer:
        writer.add(trajfmt.ArrayTrajectory(walk(layout), grouped))
    _require_same(tmp_path / "a.mct", tmp_path / "b.mtt")


def _require_same(convex: Path, full: Path) -> None:
    convert(convex, full)
    with trajfmt.open(convex) as a, trajfmt.open(full) as b:
        assert [row.tobytes() for row in a[0].rows()] == [row.tobytes() for row in b[0].rows()]


def test_a_table_of_other_layers_is_refused(layout: ParamLayout, walk: Walk) -> None:
    """A table with a column too few is no error of the program."""
    source = given(layout, walk)
    source.u = source.u[:, :2]
    with pytest.raises(CorruptError, match="must have 3 columns, got 2"):
        Discretised(source, layout).read(1, 0)


def test_whole_knots_keep_every_bit(layout: ParamLayout, walk: Walk) -> None:
    """Also the sign of a zero, which a mean with a weight of nothing would lose."""
    source = given(layout, walk)
    for k, t in enumerate(source.knots):
        source.rows[k][:] = -0.0 if k % 2 else source.rows[k]
        assert Discretised(source, layout).read(t, 0).tobytes() == source.rows[k][:6].tobytes()

"""The betas as a figure and as a table."""

from dataclasses import replace

import numpy as np
import pytest

import trajfmt
from trajfmt.plots import Page, render
from trajfmt.plots.betas import betas


def test_numbers_are_those_of_the_bundle(write_bundle, layout, walk) -> None:
    """u as it is stored, and segment and beta from it: beta is 1 at the last timestep."""
    with trajfmt.open(write_bundle(layout, walk(layout, 9), knots=(2, 6))) as bundle:
        found = betas(bundle)
        np.testing.assert_array_equal(found.u, bundle[0].u)
    table = found.table()
    assert len(table.rows) == 9 * len(found.layers)
    rows = [row[1:] for row in table.rows if row[1] == 1]
    assert {row[1] for row in rows} == {layout.layers[1].name}
    assert [row[2] for row in rows if row[3]] == [0, 2, 6, 8]
    np.testing.assert_array_equal([row[4] for row in rows], found.u[:, 1])
    np.testing.assert_allclose([row[5] + row[6] for row in rows], found.u[:, 1], rtol=1e-15)
    assert rows[-1][5:] == (2, 1.0)
    assert rows[2][5:] == (1, 0.0)


def test_full_trajectory_has_those_of_two_knots(write_bundle, layout, walk) -> None:
    """They are what a conversion of the same weights stores."""
    theta = walk(layout, 7)
    full, convex = write_bundle(layout, theta, encoding="full"), write_bundle(layout, theta)
    with trajfmt.open(full) as one, trajfmt.open(convex) as other:
        np.testing.assert_array_equal(betas(one).u, betas(other).u)
        assert betas(one).knots == (0, 6)
        with pytest.raises(trajfmt.UsageError, match=r"\[0, 0\], got 1"):
            betas(one, 1)


def test_free_tables_have_no_segments(write_bundle, layout, walk) -> None:
    """Their values are weights of the second knot, and may leave [0, 1]."""
    with trajfmt.open(write_bundle(layout, walk(layout, 5))) as bundle:
        found = replace(betas(bundle), free=True)
    assert {row[6:] for row in found.table().rows} == {(None, None)}
    assert render(found, "svg") != render(replace(found, free=False), "svg")


@pytest.mark.parametrize("layers", [1, 3, 25])
def test_any_number_of_layers_is_drawn(write_bundle, layout, walk, layers: int) -> None:
    """One needs no name, a few have a list of names, and many have a scale of colours."""
    with trajfmt.open(write_bundle(layout, walk(layout, 5))) as bundle:
        found = betas(bundle)
    u = np.linspace(0, 1, 5)[:, None] ** np.linspace(0.5, 1.5, layers)
    found = replace(found, u=u, layers=tuple(f"$layer_{number}" * 9 for number in range(layers)))
    assert found.size[0] == (5.0 if layers == 3 else 3.5)
    assert render(found, "png", Page(dpi=50)).startswith(b"\x89PNG")

"""M by arc length of the trajectories of a bundle, against the weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from trajfmt.errors import UsageError
from trajfmt.reports.shape import shape_of, tables_of
from trajfmt.reports.strides import strides_of


def test_distances_are_those_of_the_weights(
    layout: Any, walk: Any, write_bundle: Callable[..., Path]
) -> None:
    """At the real timestep that is returned, the bundle's own weights are as far as the original ones."""
    layout = trajfmt.ParamLayout.of([(each.name, each.shape) for each in layout.parameters], dtype="F64")
    thetas = [walk(layout, timesteps=9, seed=seed) for seed in range(2)]
    path = write_bundle(layout, *thetas, knots=[3], gram=True)
    whole, some = strides_of(path, 2), strides_of(path, 2, max_start=2.5)
    assert [each.start for each in whole.starts] == list(range(7))
    assert some.starts == whole.starts[:3]
    with trajfmt.open(path) as bundle:
        for row in whole.starts:
            found = []
            for theta, own in zip(thetas, bundle, strict=True):
                target = np.linalg.norm(theta[row.start + 2] - theta[row.start])
                ends = [own.at(row.start + each) for each in (row.low, row.high) if each is not None]
                found += [np.linalg.norm(end - own.at(row.start)) == pytest.approx(target) for end in ends]
            assert sum(found) >= row.trajectories  # the two trajectories are the lowest and the highest
        shape = shape_of(bundle, bundle[0], tables_of(bundle, bundle[0]), smoothed=False)
    alone = write_bundle(layout, thetas[0], name="one.mct", knots=[3], gram=True)
    assert shape is not None
    assert shape.two_steps == pytest.approx(strides_of(alone, 2).mean)


@pytest.mark.parametrize(
    ("options", "steps", "words"),
    [
        ({}, 2, "trajectory 0 stores no Gram matrix"),
        ({"gram": True}, 6, "trajectory 0 ends at timestep 5, which is before 6"),
        ({"encoding": "full"}, 2, "not convexified"),
    ],
)
def test_bundles_of_which_it_is_unknown(
    layout: Any, walk: Any, write_bundle: Callable[..., Path], options: Any, steps: int, words: str
) -> None:
    """One line says why."""
    with pytest.raises(UsageError, match=words):
        strides_of(write_bundle(layout, walk(layout), **options), steps)

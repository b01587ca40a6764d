"""Arrays and other sources: shapes, types and memory as they come, or refused."""

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
from tests.helpers.convexified import given
from trajfmt import ArrayTrajectory, ParamLayout, UsageError
from trajfmt.trajectory.source import Convexified

Array = NDArray[np.generic]
Walk = Callable[..., Array]
Write = Callable[..., Path]


class Careless:
    """A source that gives other arrays than the layout says."""

    def __init__(self, theta: Array, cuts: list[int]) -> None:
        self.theta, self.cuts = theta, cuts

    @property
    def timesteps(self) -> int:
        """Return T + 1."""
        return len(self.theta)

    def read(self, t: int, parameter: int) -> Array:
        """Return what the layout calls a parameter, or not."""
        return self.theta[t, self.cuts[parameter] : self.cuts[parameter + 1]]


@pytest.mark.parametrize("encoding", ["convex", "full"])
@pytest.mark.parametrize("case", ["float64", "other sizes"])
def test_source_that_does_not_fit_the_layout_is_refused(
    case: str, encoding: Any, layout: ParamLayout, walk: Walk, tmp_path: Path
) -> None:
    """Nothing is cast, shifted or broadcast without a word."""
    theta = walk(layout)
    source = (
        Careless(theta.astype("<f8") + 1e-12, list(layout.offsets))
        if case == "float64"
        else Careless(theta, [0, 2, 8, 9])
    )
    with (
        pytest.raises(UsageError, match="the source does not fit the parameter layout: timestep"),
        trajfmt.create(tmp_path / "out", layout, encoding=encoding) as writer,
    ):
        writer.add(source)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("encoding", ["convex", "full"])
def test_big_endian_array_is_converted(
    encoding: str, layout: ParamLayout, walk: Walk, write_bundle: Write
) -> None:
    """The values of the array count, not its bytes."""
    theta = walk(layout)
    path = write_bundle(layout, theta.astype(">f4"), encoding=encoding)
    with trajfmt.open(path, verify=True) as bundle:
        assert [bundle[0].at(t).tobytes() for t in (0, 5)] == [theta[t].tobytes() for t in (0, 5)]


@pytest.mark.parametrize("order", ["C", "F", "strided"])
def test_memory_order_of_an_array_does_not_matter(
    order: str, layout: ParamLayout, walk: Walk, write_bundle: Write
) -> None:
    """Rows need not be contiguous."""
    theta = walk(layout)
    given = {
        "C": theta,
        "F": np.asfortranarray(theta),
        "strided": np.repeat(np.repeat(theta, 2, axis=0), 3, axis=1)[::2, ::3],
    }[order]
    for encoding in ("convex", "full"):
        path = write_bundle(layout, given, name=encoding, encoding=encoding)
        assert trajfmt.open(path)[0].at(5).tobytes() == theta[5].tobytes()


@pytest.mark.parametrize("shape", [(6, 8), (6, 10), (54,), (6, 9, 1)])
def test_array_of_another_shape_is_a_usage_error(shape: tuple[int, ...], layout: ParamLayout) -> None:
    """`(T+1, P)` is expected."""
    with pytest.raises(UsageError, match="shape"):
        ArrayTrajectory(np.zeros(shape, "<f4"), layout)


@pytest.mark.parametrize("dtype", ["<f8", "<f2", "<i4", "<c8"])
def test_array_of_another_dtype_is_a_usage_error(dtype: str, layout: ParamLayout) -> None:
    """Nothing is rounded without being asked for."""
    with pytest.raises(UsageError, match="F32"):
        ArrayTrajectory(np.zeros((2, 9), dtype), layout)


def test_protocol_is_met_by_what_has_its_members(layout: ParamLayout, walk: Walk) -> None:
    """A convexified trajectory is told from a source by what it has."""
    assert isinstance(given(layout, walk), Convexified)
    assert not isinstance(ArrayTrajectory(walk(layout), layout), Convexified)

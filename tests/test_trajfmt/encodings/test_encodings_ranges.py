"""Parts of a weight vector: a range that leaves it is an error, in every encoding and codec."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import trajfmt
from trajfmt import ArrayTrajectory, ParamLayout, UsageError

LAYOUT = ParamLayout.of([("q", (3, 2)), ("k", (3, 2)), ("b", (3,))])
THETA = np.random.default_rng(0).normal(size=(5, 15)).astype("<f4")
KINDS = [
    {"encoding": "convex"},
    *({"encoding": "full", "codec": codec} for codec in ("none", "zstd", "archive")),
]


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize(("start", "stop"), [(8, 16), (-3, 4), (5, 2), (20, 25), (15, 20)])
def test_elements_outside_of_the_weight_vector_are_an_error(
    options: dict[str, str], start: int, stop: int, write_bundle: Callable[..., Path]
) -> None:
    """Neither other timesteps nor memory that nobody wrote."""
    with trajfmt.open(write_bundle(LAYOUT, THETA, **options)) as bundle:
        for read in (bundle[0].pieces, bundle[0].prepare):
            with pytest.raises(UsageError, match=rf"^elements must lie in \[0, 15\], got {start}:{stop}$"):
                read(2, start, stop)
        assert bundle[0].pieces(2, 15, 15).shape == (0,)
        assert bundle[0].pieces(2, 0, 15).shape == (15,)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([("k", (3, 2)), ("q", (3, 2)), ("b", (3,))], r"parameter 0 .* `q` \(3, 2\), got `k` \(3, 2\)"),
        ([("q", (2, 3)), ("k", (3, 2)), ("b", (3,))], r"parameter 0 .* `q` \(3, 2\), got `q` \(2, 3\)"),
        ([("q", (3, 2)), ("k", (9,))], r"parameter 1 .* `k` \(3, 2\), got `k` \(9,\)"),
        (
            [("q", (3, 2)), ("k", (3, 2)), ("b", (2,)), ("c", ())],
            r"parameter 2 .* `b` \(3,\), got `b` \(2,\)",
        ),
    ],
)
def test_trajectories_of_another_network_are_refused(
    shapes: list[tuple[str, tuple[int, ...]]], message: str, write_bundle: Callable[..., Path]
) -> None:
    """A trajectory in memory knows its parameters, and equal sizes are not enough."""
    path = write_bundle(LAYOUT, THETA)
    with trajfmt.append(path) as writer:
        with pytest.raises(UsageError, match=message):
            writer.add(ArrayTrajectory(THETA[::-1].copy(), ParamLayout.of(shapes)))
        writer.add(ArrayTrajectory(THETA[::-1].copy(), LAYOUT.regroup("all")))
    assert len(trajfmt.open(path)) == 2

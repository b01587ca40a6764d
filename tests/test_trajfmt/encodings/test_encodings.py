"""Both encodings, on networks of any shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trajfmt
from trajfmt import ArrayTrajectory, ParamLayout


@settings(max_examples=25, deadline=None)
@given(
    shapes=st.lists(st.lists(st.integers(0, 3), max_size=3), min_size=1, max_size=5),
    timesteps=st.integers(2, 7),
    options=st.sampled_from(
        [{"codec": "none"}, {"codec": "zstd"}, {"codec": "archive"}, {"encoding": "convex"}]
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_layout_round_trips(
    shapes: list[list[int]],
    timesteps: int,
    options: dict[str, Any],
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Scalars, empty parameters and single elements: knots come back bit for bit."""
    layout = ParamLayout.of([*((f"p{i}", shape) for i, shape in enumerate(shapes)), ("last", (1,))])
    theta = np.random.default_rng(seed).standard_normal((timesteps, layout.size)).astype("<f4")
    path = tmp_path_factory.mktemp("any") / "out"
    with trajfmt.create(path, layout, **({"encoding": "full"} | options)) as writer:
        writer.add(ArrayTrajectory(theta, layout))
    with trajfmt.open(path, verify=True) as bundle:
        for k, t in enumerate(bundle[0].knots):
            assert bundle[0].knot(k).tobytes() == bundle[0].at(t).tobytes() == theta[t].tobytes()

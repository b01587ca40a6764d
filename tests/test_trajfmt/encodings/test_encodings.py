"""Both encodings, on networks of any shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trajfmt
from trajfmt import ArrayTrajectory, ParamLayout, UsageError
from trajfmt.encodings.parts.encoding import Options
from trajfmt.encodings.table import ENCODINGS
from trajfmt.schema.manifest import MAX_TIMESTEPS


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


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("timesteps", [MAX_TIMESTEPS, MAX_TIMESTEPS + 1])
def test_more_than_a_million_timesteps_are_refused_before_the_work(name: str, timesteps: int) -> None:
    """What no reader accepts is not written; the limit itself is."""
    layout = ParamLayout.of([("w", (1,))])
    encoder = ENCODINGS[name].encoder(Options(), layout)
    source = ArrayTrajectory(np.zeros((timesteps, 1), "<f4"), layout)
    if timesteps == MAX_TIMESTEPS:
        encoder.check(source)
        return
    with pytest.raises(UsageError, match="at most 1048576 timesteps, got 1048577; keep every n-th"):
        encoder.check(source)

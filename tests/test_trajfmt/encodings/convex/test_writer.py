"""What convexifying stores: smoothed knots, and the shape of the path."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from tests.helpers.equations import SHAPES, beta_of
from trajfmt import ParamLayout, UsageError
from trajfmt.encodings.convex import encoder

Array = NDArray[np.generic]


@pytest.mark.parametrize("dtype", ["F16", "F32", "F64"])
def test_smoothing_averages_knots_after_the_betas(
    dtype: str, theta: Array, write_bundle: Callable[..., Path]
) -> None:
    """Inserted knots become the mean of their neighbours, the last that of the last two; betas stay."""
    layout = ParamLayout.of(SHAPES, dtype=dtype)  # type: ignore[arg-type]
    theta = theta.astype(layout.numpy_dtype)
    path = write_bundle(layout, theta, knots=(1, 5, 11), smooth=True)
    with trajfmt.open(path) as bundle:
        item: Any = bundle[0]
        wide = theta.astype(np.float64)
        expected = [
            wide[0],
            *((wide[t - 1] + wide[t + 1]) / 2 for t in (1, 5, 11)),
            (wide[11] + wide[12]) / 2,
        ]
        for k, direct in enumerate(expected):
            assert item.knot(k).tobytes() == direct.astype(layout.numpy_dtype).tobytes()
        assert np.abs(item.u - beta_of(theta, layout, [0, 1, 5, 11, 12])).max() <= 1e-12
    assert json.loads((path / "manifest.json").read_bytes())["smoothed"] is True


def test_gram_matrix_keeps_the_shape_of_the_path(theta: Array, write_bundle: Callable[..., Path]) -> None:
    """Distances between any two original timesteps follow from it."""
    layout = ParamLayout.of(SHAPES)
    theta = theta.astype("<f4")
    with trajfmt.open(write_bundle(layout, theta, gram=True)) as bundle:
        gram = bundle[0].gram  # type: ignore[attr-defined]
        moved = theta.astype(np.float64) - theta[0].astype(np.float64)
        assert np.allclose(gram, moved @ moved.T, rtol=0, atol=1e-11 * np.abs(gram).max())


def test_table_that_no_reader_accepts_is_refused_before_the_work(
    layout: ParamLayout,
    walk: Callable[..., Any],
    write_bundle: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Timesteps times layers: exactly the limit is written, and one element less is too little room."""
    theta = walk(layout)
    size = len(theta) * layout.num_layers
    monkeypatch.setattr(encoder, "MAX_TABLE", size)
    write_bundle(layout, theta)
    monkeypatch.setattr(encoder, "MAX_TABLE", size - 1)
    with pytest.raises(UsageError, match=f"at most {size - 1} elements, got {len(theta)} timesteps"):
        write_bundle(layout, theta, name="more.mct")

"""Measurements of a stored trajectory, against those of its weights in float64."""

import numpy as np
import pytest

import trajfmt
from trajfmt.bundle.measuring import measured


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_step_norms_and_gram_matrix(write_bundle, layout, walk, codec: str) -> None:
    """Both are those of the weights, whatever the codec; the matrix is computed on request only."""
    theta = walk(layout, 6)
    with trajfmt.open(write_bundle(layout, theta, encoding="full", codec=codec)) as bundle:
        found = measured(bundle[0], gram=True)
        assert measured(bundle[0]).gram is None
    moved = theta.astype(np.float64) - theta[0].astype(np.float64)
    np.testing.assert_allclose(found.gram, moved @ moved.T, rtol=1e-12, atol=1e-12)
    steps = np.diff(theta.astype(np.float64), axis=0)
    for index, layer in enumerate(layout.layers):
        spans = [range(layout.offsets[p], layout.offsets[p + 1]) for p in layer.parameters]
        chosen = [k for span in spans for k in span]
        np.testing.assert_allclose(
            found.step_norms[:, index], np.linalg.norm(steps[:, chosen], axis=1), rtol=1e-12
        )

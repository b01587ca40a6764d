"""EL2N scores, against the formula written down once more."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from mct.models import el2n, networks  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402


def test_scores_are_the_mean_norm_of_the_error(digits, model) -> None:
    """Over networks, for more images than one block; the labels are one-hot."""
    started = [networks.build(model, generator=generator(seed)) for seed in range(3)]
    weights = [networks.flatten(network).detach() for network in started]
    found = el2n.scores(started[0], weights, digits.train_images, digits.train_labels)
    norms = []
    for network, theta in zip(started, weights, strict=True):
        torch.nn.utils.vector_to_parameters(theta, network.parameters())
        with torch.no_grad():
            error = network.eval()(digits.train_images).softmax(1).double()
        norms.append((error - torch.nn.functional.one_hot(digits.train_labels, 10)).norm(dim=1))
    torch.testing.assert_close(found, sum(norms) / 3, atol=1e-6, rtol=1e-5)
    assert found.dtype == torch.float64

"""Networks that learn as modules; `test_learners.py` compares their updates with those of one vector."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import trajfmt  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.training.modules import ModuleLearner  # noqa: E402


def test_weights_keep_the_order_of_the_start() -> None:
    """Code of a network that registers a parameter again does not permute what is recorded; others refuse."""
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Linear(2, 3))
    learner = ModuleLearner(network, momentum=0.9, weight_decay=5e-4)
    before, weight = learner.weights(), network[0].weight
    del network[0].weight
    network[0].register_parameter("weight", weight)
    assert not torch.equal(networks.flatten(network), before)
    assert torch.equal(learner.weights(), before)
    network[1] = nn.Linear(3, 2)
    with pytest.raises(trajfmt.SourceError, match=r"`1.weight` must be \(3, 2\) F32, got \(2, 3\) F32"):
        learner.weights()

"""A fake bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mct.models.architectures.convnet import ConvNet
    from tests.helpers.fakes import FakeBundle


@pytest.fixture
def bundle(network: ConvNet) -> FakeBundle:
    """Return two wandering trajectories of the small network."""
    import trajfmt
    from mct.models import networks
    from tests.helpers.fakes import FakeBundle, random_walk

    layout = trajfmt.ParamLayout.of(networks.parameters_of(network))
    return FakeBundle([0.1 * random_walk(layout, 6, seed) for seed in range(2)], layout, knots=(2,))

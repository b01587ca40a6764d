"""The functional derivatives of any network are autograd's."""

import pytest

torch = pytest.importorskip("torch")
from mct.inner.steps.closed import ClosedStep  # noqa: E402
from tests.helpers.steps import check, inputs_of, network_of  # noqa: E402


@pytest.mark.parametrize("name", ["ConvNetD1W4", "ConvNetD1W4BN", "ConvNetD1W4MP"])
def test_functional_derivatives_are_autograds(name: str) -> None:
    """The closed functions of any network agree too."""
    network = network_of(name)
    check(ClosedStep(network), network, inputs_of(network))


def test_functional_derivatives_of_a_large_network() -> None:
    """Depth and maximum pooling: VGG11."""
    network = network_of("VGG11", size=32)
    check(ClosedStep(network), network, inputs_of(network, size=32, images=2))

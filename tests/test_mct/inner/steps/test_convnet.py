"""The closed functions of the ConvNet family are autograd's."""

import pytest

torch = pytest.importorskip("torch")
from mct.inner.steps.autograd import AutogradStep  # noqa: E402
from mct.inner.steps.convnet import ConvNetStep  # noqa: E402
from tests.helpers.steps import FAMILY, check, inputs_of, network_of  # noqa: E402


@pytest.mark.parametrize("name", FAMILY)
def test_closed_functions_of_the_convnet_family_are_autograds(name: str) -> None:
    """Gradient, Hessian-vector product and pixel gradient are autograd's, for every norm and pooling."""
    network = network_of(name)
    check(ConvNetStep(network), network, inputs_of(network))


@pytest.mark.parametrize(
    ("name", "channels", "size"), [("ConvNetD2W4", 1, 28), ("ConvNetD2W4", 3, 9), ("ConvNetD2W4MP", 3, 11)]
)
def test_closed_functions_take_other_shapes(name: str, channels: int, size: int) -> None:
    """MNIST's padding, and sides that 2x2 windows do not divide."""
    network = network_of(name, channels, size)
    check(ConvNetStep(network), network, inputs_of(network, channels, size))


def test_bias_before_a_norm_has_no_gradient() -> None:
    """It is exactly zero where the norm subtracts it, and not before group norm."""
    for name, dead in (("ConvNetD1W8", True), ("ConvNetD1W8BN", True), ("ConvNetD1W8GN", False)):
        network = network_of(name)
        theta, _, pixels, targets = inputs_of(network)
        step = ConvNetStep(network)
        gradient = step.unpack(step.gradient(step.pack(theta), pixels, targets)[0])
        kernel = network.features[0].weight.numel()
        assert bool(gradient[kernel : kernel + 8].any()) != dead


def test_batch_norm_joins_images() -> None:
    """Only batch norm keeps a batch from being computed in parts."""
    for name in FAMILY:
        network = network_of(name)
        separable = not name.endswith("BN")
        assert ConvNetStep(network).separable == AutogradStep(network).separable == separable


def test_rows_of_any_sum_are_labels() -> None:
    """The softmax counts as often as the numbers of a row say, as in torch's cross-entropy."""
    network = network_of("ConvNetD2W8")
    *given, targets = inputs_of(network)
    rows = targets * torch.linspace(0, 3, len(targets), dtype=torch.float64)[:, None]
    check(ConvNetStep(network), network, (*given, rows))

"""A network as a function of its weights: no memory, no dropout, probabilities in evaluation mode."""

import pytest

torch = pytest.importorskip("torch")

from mct.errors import ConfigError  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.models.functional import Functional  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402


def network_of(name: str):
    """Return a network for images of 8x8."""
    model = networks.parse(name, channels=1, image_size=8, classes=10)
    return networks.build(model, generator=generator(0))


def test_weights_are_taken_in_the_order_of_the_parameters() -> None:
    """The network's own parameters do not count: with others the logits are those of a copy that has them."""
    network, other = network_of("ConvNetD2W4"), network_of("ConvNetD2W4")
    images = torch.randn(3, 1, 8, 8, generator=generator(1))
    theta = torch.randn(networks.flatten(network).numel(), generator=generator(2))
    torch.nn.utils.vector_to_parameters(theta, other.parameters())
    assert torch.equal(Functional(network)(theta, images), other(images))


def test_calls_leave_no_memory() -> None:
    """Running statistics stay what they were, and two calls agree."""
    network = network_of("ConvNetD1W4BN")
    before = {name: value.clone() for name, value in network.named_buffers()}
    images, theta = torch.randn(6, 1, 8, 8, generator=generator(1)), networks.flatten(network)
    one, two = (Functional(network)(theta, images) for _ in range(2))
    assert torch.equal(one, two)
    assert before
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())


def test_probabilities_of_many_images_are_those_of_few() -> None:
    """More than one block; the mode of the network is that of a student afterwards."""
    network = network_of("ConvNetD1W4")
    images, theta = torch.randn(1030, 1, 8, 8, generator=generator(1)), networks.flatten(network)
    found = Functional(network).probabilities(theta, images)
    assert torch.allclose(found.sum(1), torch.ones(1030))
    assert torch.allclose(found[1020:], network(images[1020:]).softmax(1), atol=1e-6)
    assert network.training
    assert not found.requires_grad


def test_dropout_is_named_where_it_drops() -> None:
    """A probability of 0 is none."""
    layers = [torch.nn.Flatten(), torch.nn.Dropout(0.0), torch.nn.Linear(64, 3)]
    Functional(torch.nn.Sequential(*layers))
    layers[1] = torch.nn.Dropout(0.5)
    with pytest.raises(ConfigError, match=r"`0\.1` is dropout"):
        Functional(torch.nn.Sequential(torch.nn.Sequential(*layers)))

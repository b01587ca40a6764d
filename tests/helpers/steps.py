"""Comparing a step with autograd, in float64."""

import pytest
import torch

from mct.inner.steps.autograd import AutogradStep
from mct.models import networks
from mct.runtime.seeds import generator

FAMILY = ["ConvNetD2W8", "ConvNetD2W8BN", "ConvNetD2W8LN", "ConvNetD2W8GN", "ConvNetD2W8NN", "ConvNetD2W8MP",
          "ConvNetD2W8NP", "ConvNetD1W8GNMP", "ConvNetD3W4BN"]  # fmt: skip


def network_of(name: str, channels: int = 3, size: int = 8):
    """Return a float64 network."""
    model = networks.parse(name, channels=channels, image_size=size, classes=5)
    return networks.build(model, generator=generator(0)).double()


def inputs_of(network, channels: int = 3, size: int = 8, images: int = 6):
    """Return weights, adjoint, pixels and targets, in the order of the parameters."""
    random = generator(1)
    count = sum(value.numel() for value in network.parameters())

    def normal(*shape: int):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    theta = torch.nn.utils.parameters_to_vector(network.parameters()).detach() + 0.1 * normal(count)
    return theta, normal(count), normal(images, channels, size, size), normal(images, 5).softmax(1)


def relative(found, expected) -> float:
    """Return the relative error in norm."""
    return float((found - expected).norm() / expected.norm())


def check(step, network, given) -> None:
    """Compare gradient, logits, kept gradient, and `vjp_hvp` with and without what was kept."""
    theta, adjoint, pixels, targets = given
    reference = AutogradStep(network)
    start, direction = step.pack(theta), step.pack(adjoint)
    assert torch.equal(step.unpack(start), theta)
    gradient, logits = step.gradient(start, pixels, targets)
    expected, expected_logits = reference.gradient(theta, pixels, targets)
    assert relative(step.unpack(gradient), expected) < 1e-12
    assert relative(logits, expected_logits) < 1e-12
    again, kept = step.keep(start, pixels, targets)
    assert relative(again, gradient) < 1e-12
    wanted = reference.vjp_hvp(theta, adjoint, pixels, targets, (), True)
    for memory in ((), kept):
        for labels in (False, True):
            found = step.vjp_hvp(start, direction, pixels, targets, memory, labels)
            assert float(found.inner) == pytest.approx(float(wanted.inner), rel=1e-11)
            assert relative(step.unpack(found.hvp), wanted.hvp) < 1e-12
            assert relative(found.pixels, wanted.pixels) < 1e-12
            assert (found.targets is None) == (not labels)
        assert relative(found.targets, wanted.targets) < 1e-12

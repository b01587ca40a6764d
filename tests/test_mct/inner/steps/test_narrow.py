"""bfloat16 is near."""

import pytest

torch = pytest.importorskip("torch")
from mct.inner.steps.convnet import ConvNetStep  # noqa: E402
from mct.inner.steps.narrow import NarrowStep  # noqa: E402
from tests.helpers.steps import inputs_of, network_of, relative  # noqa: E402


def test_bfloat16_is_near() -> None:
    """A narrow step answers in the dtype of the weights, a few parts in a hundred off, for any adjoint."""
    network = network_of("ConvNetD1W8", size=16).float()
    theta, adjoint, pixels, targets = (value.float() for value in inputs_of(network, size=16))
    step, narrow = ConvNetStep(network), NarrowStep(ConvNetStep(network))
    start = step.pack(theta)
    for size in (1.0, 1e-30):
        expected = step.vjp_hvp(start, adjoint * size, pixels, targets, (), True)
        found = narrow.vjp_hvp(start, adjoint * size, pixels, targets, (), True)
        assert all(value.dtype == torch.float32 for value in found)
        assert 0 < relative(found[1] / size, expected[1] / size) < 0.1
        assert 0 < relative(found[2] / size, expected[2] / size) < 0.1
        assert 0 < relative(found[3] / size, expected[3] / size) < 0.1

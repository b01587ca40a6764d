"""Normalisation of the ConvNet family: statistics, gradients and their tangents against autograd."""

import pytest

torch = pytest.importorskip("torch")

from mct.inner.steps.norms import ChannelNorm, LayerNorm, Norm  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402

EPS = 1e-5
NORMS = {
    "instance": (ChannelNorm(kind="instance", groups=8, eps=EPS), torch.nn.GroupNorm(8, 8)),
    "group": (ChannelNorm(kind="group", groups=4, eps=EPS), torch.nn.GroupNorm(4, 8)),
    "batch": (ChannelNorm(kind="batch", groups=1, eps=EPS), torch.nn.BatchNorm2d(8)),
    "layer": (LayerNorm(eps=EPS), torch.nn.LayerNorm([8, 3, 5])),
}


def drawn(kind: str):
    """Return a norm, torch's own, and random numbers: y, dz, gamma, beta."""
    random = generator(0)
    shape = (8, 3, 5) if kind == "layer" else (8,)
    numbers = [
        torch.randn(s, generator=random, dtype=torch.float64)
        for s in ((4, 8, 3, 5), (4, 8, 3, 5), shape, shape)
    ]
    return *NORMS[kind], *numbers


def output(norm: Norm, y, gamma, beta):
    """Return gamma xh + beta, and xh."""
    mean, r = norm.statistics(y)
    return (y - mean) * r * norm.affine(gamma) + norm.affine(beta), (y - mean) * r


@pytest.mark.parametrize("kind", NORMS)
def test_output_is_torchs(kind: str) -> None:
    """With torch's own layer in training mode."""
    norm, layer, y, _, gamma, beta = drawn(kind)
    layer = layer.double()
    with torch.no_grad():
        layer.weight.copy_(gamma)
        layer.bias.copy_(beta)
    torch.testing.assert_close(output(norm, y, gamma, beta)[0], layer(y), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", NORMS)
def test_backward_is_autograds(kind: str) -> None:
    """Gradients of gamma and beta; r (D - mean(D) - xh mean(D xh)) is the gradient in y."""
    norm, _, y, dz, gamma, beta = drawn(kind)
    leaves = [value.clone().requires_grad_() for value in (y, gamma, beta)]
    expected = torch.autograd.grad((output(norm, *leaves)[0] * dz).sum(), leaves)
    xh = output(norm, y, gamma, beta)[1]
    dgamma, dbeta, mean_d, mean_dx = norm.backward(dz, xh, gamma)
    dy = norm.statistics(y)[1] * (norm.affine(gamma) * dz - mean_d - xh * mean_dx)
    for found, wanted in zip((dy, dgamma, dbeta), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", NORMS)
def test_backward_tangent_is_the_derivative_of_backward(kind: str) -> None:
    """In dz, xh and gamma at once."""
    norm, _, y, dz, gamma, beta = drawn(kind)
    xh = output(norm, y, gamma, beta)[1]
    tangents = dz.flip(0), xh.flip(1) + 1, beta
    _, expected = torch.autograd.functional.jvp(norm.backward, (dz, xh, gamma), tangents)
    found = norm.backward_tangent(dz, tangents[0], xh, tangents[1], gamma, tangents[2])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_which_norms_subtract_a_bias() -> None:
    """Instance and batch norm; a group of several channels and layer norm keep the difference."""
    assert {kind: norm.absorbs_bias for kind, (norm, _) in NORMS.items()} == {
        "instance": True, "group": False, "batch": True, "layer": False
    }  # fmt: skip

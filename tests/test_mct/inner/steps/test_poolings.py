"""ReLU and 2x2 poolings: output, tangent and gradient."""

import pytest

torch = pytest.importorskip("torch")

from torch.nn.functional import avg_pool2d, max_pool2d  # noqa: E402

from mct.inner.steps.poolings import route  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402

PLAIN = {
    "avg": lambda z: avg_pool2d(z.clamp(min=0), 2),
    "max": lambda z: max_pool2d(z.clamp(min=0), 2),
    "none": lambda z: z.clamp(min=0),
}


@pytest.mark.parametrize("sides", [(6, 4), (5, 7), (2, 3)])
@pytest.mark.parametrize("pooling", PLAIN)
def test_tangent_and_gradient_are_autograds(pooling, sides: tuple[int, int]) -> None:
    """Also where 2x2 windows do not divide the sides: the last row or column goes nowhere."""
    random = generator(0)
    z, zt = torch.randn(2, 3, 4, *sides, generator=random, dtype=torch.float64)
    way = route(pooling, z)
    assert torch.equal(way.out, PLAIN[pooling](z))
    leaf = z.clone().requires_grad_()
    out = PLAIN[pooling](leaf)
    dp = torch.randn(out.shape, generator=random, dtype=torch.float64)
    torch.testing.assert_close(way.vjp(dp), torch.autograd.grad(out, leaf, dp)[0], rtol=0, atol=1e-15)
    torch.testing.assert_close(
        way.jvp(zt), torch.autograd.functional.jvp(PLAIN[pooling], (z,), (zt,))[1], rtol=0, atol=1e-15
    )


@pytest.mark.parametrize("pooling", PLAIN)
def test_nothing_goes_through_what_is_not_positive(pooling) -> None:
    """At zero and below, neither forward nor back."""
    z = torch.tensor([[[[0.0, -1.0], [-0.0, -2.0]]]])
    way = route(pooling, z)
    assert not way.out.any()
    assert not way.jvp(torch.ones_like(z)).any()
    assert not way.vjp(torch.ones_like(way.out)).any()

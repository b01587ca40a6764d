"""Inner optimisers: their updates are torch's, and their adjoints autograd's of one update."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from mct.inner.optimizers.adam import Adam  # noqa: E402
from mct.inner.optimizers.momentum import Momentum  # noqa: E402
from mct.inner.optimizers.sgd import Sgd  # noqa: E402
from mct.inner.optimizers.table import optimizer_of  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.settings.config import DistillConfig  # noqa: E402

ALL = {
    "sgd": (Sgd(), lambda values: torch.optim.SGD(values, lr=0.1)),
    "momentum": (Momentum(0.9), lambda values: torch.optim.SGD(values, lr=0.1, momentum=0.9)),
    "adam": (Adam(), lambda values: torch.optim.Adam(values, lr=0.1)),
    "other adam": (
        Adam((0.5, 0.7), 1e-3),
        lambda values: torch.optim.Adam(values, lr=0.1, betas=(0.5, 0.7), eps=1e-3),
    ),
}
ALPHA = torch.tensor(0.1, dtype=torch.float64)


def normal(*shape: int, seed: int = 0):
    """Return normal numbers in float64."""
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", ALL)
def test_updates_are_those_of_torch(name: str) -> None:
    """For seven updates, and a gradient that is always zero moves nothing."""
    optimizer, reference = ALL[name]
    value, gradients = normal(5), normal(7, 5, seed=1)
    gradients[:, 2] = 0
    leaf = value.clone().requires_grad_()
    other, slots = reference([leaf]), tuple(torch.zeros(5).double() for _ in range(optimizer.slots))
    for number, gradient in enumerate(gradients):
        before = [each.clone() for each in (value, *slots)]
        after, kept = optimizer.update(number, value, slots, gradient, ALPHA)
        assert all(torch.equal(a, b) for a, b in zip(before, (value, *slots), strict=True))
        value, slots = after, kept
        leaf.grad = gradient
        other.step()
        torch.testing.assert_close(value, leaf.detach(), rtol=1e-13, atol=1e-15)
    assert value[2] == normal(5)[2]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("number", [0, 3])
def test_adjoint_is_that_of_autograd(name: str, number: int) -> None:
    """For one update, with adjoints of the weights and of every slot; zero gradients have a finite one."""
    optimizer, _ = ALL[name]
    leaves = [
        normal(6, seed=2),
        normal(6, seed=3),
        *(normal(6, seed=4 + n).square() for n in range(optimizer.slots)),
    ]
    if number == 0:
        leaves[2:] = [torch.zeros_like(each) for each in leaves[2:]]
        leaves[1][4] = 0
    theta, gradient, *slots = (leaf.requires_grad_() for leaf in leaves)
    alpha = ALPHA.clone().requires_grad_()
    after, kept = optimizer.update(number, theta, tuple(slots), gradient, alpha)
    adjoints = [normal(6, seed=10 + n) for n in range(1 + len(kept))]
    total = sum((value * adjoint).sum() for value, adjoint in zip((after, *kept), adjoints, strict=True))
    expected = torch.autograd.grad(total, (gradient, theta, *slots, alpha))
    with torch.no_grad():
        found = optimizer.adjoint(number, kept, gradient, alpha, adjoints[0], tuple(adjoints[1:]))
    for mine, theirs in zip((found.gradient, found.theta, *found.slots, -found.rate), expected, strict=True):
        assert theirs.isfinite().all()
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, Sgd()),
        ({"inner_momentum": 0.8}, Momentum(0.8)),
        ({"inner_optimizer": "adam"}, Adam((0.9, 0.999))),
        ({"inner_optimizer": "adam", "inner_betas": (0.5, 0.6)}, Adam((0.5, 0.6))),
    ],
)
def test_settings_name_their_optimizer(settings, expected) -> None:
    """With its momentum and its decays."""
    assert optimizer_of(DistillConfig(**settings)) == expected

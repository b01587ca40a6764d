"""The gradient in logits against autograd."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from mct.learned import labels  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402


def test_gradient_in_logits_is_that_of_the_softmax() -> None:
    """In float64, also for large logits."""
    logits, slope = 5 * torch.randn(2, 4, 6, generator=generator(0), dtype=torch.float64)
    leaf = logits.clone().requires_grad_()
    (expected,) = torch.autograd.grad(leaf.softmax(1), leaf, slope)
    found = labels.gradient(labels.probabilities(logits), slope)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)

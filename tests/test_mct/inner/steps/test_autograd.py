"""Steps by autograd against the closed form of softmax regression."""

import pytest

torch = pytest.importorskip("torch")

from mct.inner.steps.autograd import AutogradStep, is_separable  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402


def test_softmax_regression_in_closed_form() -> None:
    """g = mean (p - y) x^T; H lambda and the gradient in the images follow from J = diag(p) - p p^T."""
    random = generator(0)
    x = torch.randn(6, 1, 2, 2, generator=random, dtype=torch.float64)
    y = torch.randn(6, 3, generator=random, dtype=torch.float64).softmax(1)
    theta, adjoint = torch.randn(2, 12, generator=random, dtype=torch.float64)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3, bias=False)).double()
    w, direction, flat = theta.view(3, 4), adjoint.view(3, 4), x.flatten(1)
    p = (flat @ w.T).softmax(1)
    step = AutogradStep(network)
    gradient, logits = step.gradient(theta, x, y)
    torch.testing.assert_close(logits, flat @ w.T)
    torch.testing.assert_close(gradient, ((p - y).T @ flat / 6).flatten())
    inner, curvature, images, labels = step.vjp_hvp(theta, adjoint, x, y, (), True)
    moved = flat @ direction.T
    jacobian = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    tangent = (jacobian @ moved[:, :, None])[:, :, 0]
    torch.testing.assert_close(inner, gradient @ adjoint)
    torch.testing.assert_close(curvature, (tangent.T @ flat / 6).flatten())
    torch.testing.assert_close(images, ((tangent @ w + (p - y) @ direction) / 6).view(x.shape))
    torch.testing.assert_close(labels, ((p * moved).sum(1, keepdim=True) - moved) / 6)


def test_nothing_is_kept_and_packed_order_is_the_modules() -> None:
    """`keep` returns the gradient and nothing else."""
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)).double()
    step, theta = AutogradStep(network), torch.arange(15, dtype=torch.float64) / 7
    x, y = torch.ones(2, 1, 2, 2, dtype=torch.float64), torch.eye(3, dtype=torch.float64)[:2]
    gradient, kept = step.keep(theta, x, y)
    assert kept == ()
    assert torch.equal(gradient, step.gradient(theta, x, y)[0])
    assert step.pack(theta) is theta
    assert step.unpack(theta) is theta


@pytest.mark.parametrize(
    ("layer", "separable"),
    [(torch.nn.BatchNorm2d(4), False), (torch.nn.GroupNorm(4, 4), True), (torch.nn.BatchNorm1d(4), False)],
    ids=str,
)
def test_only_batch_norm_joins_images(layer, separable: bool) -> None:
    """At any depth."""
    assert is_separable(torch.nn.Sequential(torch.nn.Sequential(layer))) == separable

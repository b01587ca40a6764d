"""Limits on top of updates, against torch's clipping and closed forms."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from mct.errors import ConfigError  # noqa: E402
from mct.learned.limits import Clipped, NonNegative  # noqa: E402
from mct.learned.updates import Adam, Sgd  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402


def test_clipped_as_torch_does_at_twice_a_running_norm() -> None:
    """The average counts the norm of the same step, begins as the first one, and is that before clipping."""
    gradients = torch.randn(9, 5, generator=generator(0), dtype=torch.float64)
    gradients[4] *= 30
    update, value = Clipped(Sgd(1.0)), torch.zeros(5, dtype=torch.float64)
    memory, shadow, shortened = update.start(value), None, []
    for step, gradient in enumerate(gradients):
        norm = float(gradient.norm())
        shadow = norm if shadow is None else 0.9 * shadow + 0.1 * norm
        leaf = torch.zeros(5, dtype=torch.float64, requires_grad=True)
        leaf.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_([leaf], 2 * shadow)
        after, memory = update(value, gradient, memory, step)
        torch.testing.assert_close(value - after, leaf.grad, rtol=1e-12, atol=1e-14)
        assert memory["norm"] == pytest.approx(shadow, rel=1e-12)
        shortened.append(bool((leaf.grad != gradient).any()))
        value = after
    assert shortened == [False] * 4 + [True] + [False] * 4


def test_a_gradient_that_is_not_clipped_is_left_as_it_is() -> None:
    """The inner update sees its bits, and its memory is kept beside the average."""
    update, plain = Clipped(Adam(0.1), decay=0.5, factor=3.0), Adam(0.1)
    value, gradient = torch.arange(4.0), torch.full((4,), 0.3)
    after, memory = update(value, gradient, update.start(value), 0)
    expected, kept = plain(value, gradient, plain.start(value), 0)
    assert torch.equal(after, expected)
    assert memory.keys() == kept.keys() | {"norm"}


@pytest.mark.parametrize("extra", [{"decay": 1.0}, {"factor": 0.0}])
def test_settings_out_of_range(extra) -> None:
    """An average that never changes, and a norm that may be nothing, are refused."""
    with pytest.raises(ConfigError, match=next(iter(extra))):
        Clipped(Sgd(0.1), **extra)


def test_non_negative_after_the_update() -> None:
    """Only elements that the update takes below 0 change."""
    update, value = NonNegative(Sgd(1.0, 0.5)), torch.tensor([1.0, 0.0, 2.0])
    after, memory = update(value, torch.tensor([2.0, -1.0, 1.0]), update.start(value), 0)
    assert after.tolist() == [0.0, 1.0, 1.0]
    assert memory["velocity"].tolist() == [2.0, -1.0, 1.0]

"""The way of a student that is computed again from its gradients."""

from __future__ import annotations

import weakref

import pytest

torch = pytest.importorskip("torch")
from mct.inner.history import History, Stand  # noqa: E402
from mct.inner.optimizers.adam import Adam  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402


@pytest.mark.parametrize(("updates", "first"), [(1, 0), (7, 0), (16, 0), (11, 4), (5, 4)])
def test_weights_and_slots_are_those_of_the_first_time_bit_for_bit(updates: int, first: int) -> None:
    """By index, by slice, in order, and backwards."""
    random, alpha, optimizer = generator(updates), torch.tensor(0.1), Adam()
    gradients = torch.randn(updates, 37, generator=random)
    stand = Stand(torch.randn(37, generator=random), (torch.zeros(37), torch.zeros(37)))
    history = History(optimizer, stand, alpha, first, list(torch.empty(updates - first, 37)))
    stands = [stand]
    for number, gradient in enumerate(gradients):
        assert torch.equal(history.last, stand.theta)
        history.advance(gradient)
        stand = Stand(*optimizer.update(number, *stand, gradient, alpha))
        stands.append(stand)
    gradients *= 0  # the history has its own
    path = [each.theta for each in stands]
    for found in (list(history), [history[n] for n in range(updates + 1)], history[:], history[::-1][::-1]):
        assert len(found) == len(history) == updates + 1
        assert all(torch.equal(a, b) for a, b in zip(found, path, strict=True))
    assert torch.equal(history[-1], path[-1])
    assert [theta.tolist() for theta in history[-2:]] == [theta.tolist() for theta in path[-2:]]
    with pytest.raises(IndexError):
        history[updates + 1]
    numbers = []
    for number, theta, slots in history.backward():
        numbers.append(number)
        assert torch.equal(theta, path[number])
        assert all(torch.equal(a, b) for a, b in zip(slots, stands[number + 1].slots, strict=True))
    assert numbers == list(reversed(range(first, updates)))


def test_few_stands_are_kept() -> None:
    """Of 100 updates, their gradients, and weights and slots after every tenth."""
    held = []

    class Counting(Adam):
        def update(self, *given):
            theta, slots = super().update(*given)
            held.append(weakref.ref(theta))
            return theta, slots

    stand = Stand(torch.ones(3), (torch.zeros(3), torch.zeros(3)))
    history = History(Counting(), stand, torch.tensor(0.1), 0, list(torch.empty(100, 3)))
    for _ in range(100):
        history.advance(torch.ones(3))
    assert sum(each() is not None for each in held) == 10

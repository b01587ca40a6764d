"""Updates of learned values against torch's optimizers and closed forms."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from mct.learned.updates import Adam, Averaged, Halved, Partial, Sgd  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402


def gradients(count: int = 7):
    """Return gradients of a value with five elements."""
    return torch.randn(count, 5, generator=generator(0), dtype=torch.float64)


@pytest.mark.parametrize(
    ("update", "reference"),
    [
        (Sgd(0.3, 0.9), lambda values: torch.optim.SGD(values, lr=0.3, momentum=0.9)),
        (Adam(0.3, (0.8, 0.95), 1e-6), lambda values: torch.optim.Adam(values, 0.3, (0.8, 0.95), 1e-6)),
    ],
)
def test_equal_to_torch(update, reference) -> None:
    """After every step, for tensors and for numbers."""
    tensor = torch.arange(5, dtype=torch.float64).requires_grad_()
    optimizer, value = reference([tensor]), tensor.detach().clone()
    memory, number = update.start(value), float(value[3])
    kept = update.start(number)
    for step, gradient in enumerate(gradients()):
        tensor.grad = gradient
        optimizer.step()
        value, memory = update(value, gradient, memory, step)
        number, kept = update(number, float(gradient[3]), kept, step)
        torch.testing.assert_close(value, tensor.detach(), rtol=1e-12, atol=1e-14)
        assert number == pytest.approx(float(value[3]), rel=1e-12)


@pytest.mark.parametrize(
    ("update", "reference"),
    [
        (Sgd(0.3, 0.5), lambda values: torch.optim.SGD(values, lr=0.3, momentum=0.5)),
        (Adam(0.3), lambda values: torch.optim.Adam(values, lr=0.3)),
    ],
)
def test_halved_step_size_is_that_of_torchs_schedule(update, reference) -> None:
    """`StepLR` with gamma 0.5, whose momentum is not scaled."""
    tensor = torch.arange(5, dtype=torch.float64).requires_grad_()
    optimizer, halved, value = reference([tensor]), Halved(update, every=3), tensor.detach().clone()
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.5)
    memory = halved.start(value)
    for step, gradient in enumerate(gradients(8)):
        tensor.grad = gradient
        optimizer.step()
        schedule.step()
        value, memory = halved(value, gradient, memory, step)
        torch.testing.assert_close(value, tensor.detach(), rtol=1e-12, atol=1e-14)


def test_average_has_its_closed_form() -> None:
    """E_n = d^n x_0 + (1 - d) sum_i d^(n - i) x_i, and the update itself is what it was."""
    update, start, decay = Sgd(0.5, 0.5), torch.ones(5, dtype=torch.float64), 0.8
    value, memory = start, Averaged(update, decay).start(start)
    plain, own = start, update.start(start)
    values = []
    for step, gradient in enumerate(gradients()):
        value, memory = Averaged(update, decay)(value, gradient, memory, step)
        plain, own = update(plain, gradient, own, step)
        assert torch.equal(value, plain)
        values.append(value)
    count = len(values)
    expected = decay**count * start + sum(
        (1 - decay) * decay ** (count - number - 1) * each for number, each in enumerate(values)
    )
    torch.testing.assert_close(memory["average"], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("update", [Sgd(0.3, 0.9), Averaged(Halved(Adam(0.3), 2), 0.7)])
def test_fixed_images_stay_as_they_are_and_the_others_are_updated_as_if_alone(update) -> None:
    """To the bit, with their average; the first images of each class are fixed, and have zero memory."""
    start = torch.randn(6, 2, 3, generator=generator(1))
    partial = Partial(update, ipc=3, fixed=2)
    value, memory = start, partial.start(start)
    alone, kept = start[2::3], update.start(start[2::3])
    for step in range(5):
        gradient = torch.randn(6, 2, 3, generator=generator(2, str(step)))
        value, memory = partial(value, gradient, memory, step)
        alone, kept = update(alone, gradient[2::3], kept, step)
        assert torch.equal(value[2::3], alone)
        for part, own in kept.items():
            assert torch.equal(memory[part][2::3], own)
            for fixed in (0, 1, 3, 4):
                assert torch.equal(value[fixed], start[fixed])
                expected = start[fixed] if part == "average" else torch.zeros(2, 3)
                assert torch.equal(memory[part][fixed], expected)


class Shrink:
    """An update that changes a value whose gradient is zero."""

    def start(self, _value):
        """Return no memory."""
        return {}

    def __call__(self, value, _gradient, _memory, _step):
        """Halve the value."""
        return value / 2, {}


def test_fixed_images_stay_with_an_update_of_any_kind() -> None:
    """Also with one that does not depend on the gradient."""
    start = torch.randn(4, 2, generator=generator(3))
    value, _ = Partial(Shrink(), ipc=2, fixed=1)(start, torch.ones(4, 2), {}, 0)
    assert torch.equal(value[::2], start[::2])
    assert torch.equal(value[1::2], start[1::2] / 2)

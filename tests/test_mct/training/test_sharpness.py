"""Sharpness-aware updates, against the formulas written down once more, tensor by tensor, in float64."""

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

import trajfmt  # noqa: E402
from mct.inner.steps.autograd import AutogradStep  # noqa: E402
from mct.inner.steps.convnet import ConvNetStep  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.training.compiled import Program  # noqa: E402
from mct.training.learners import FlatLearner, Learner  # noqa: E402
from mct.training.loader import Batch, Loader  # noqa: E402
from mct.training.modules import ModuleLearner  # noqa: E402
from mct.training.sharpness import Sharpness  # noqa: E402
from tests.helpers.recorded import CallRecorder  # noqa: E402

RULE = {"momentum": 0.9, "weight_decay": 5e-4}


def batches(count: int) -> list[Batch]:
    """Return seeded batches of digits' shape in float64."""
    images = torch.randn(24, 1, 8, 8, generator=generator(0), dtype=torch.float64)
    loader = Loader(images, torch.arange(24) % 10, classes=10, size=8, augment=None)
    return list(loader.batches(count, generator(1)))


def build(name: str) -> tuple[nn.Module, trajfmt.Model]:
    """Return a network in float64 whose weights are large enough to be moved by their squares."""
    model = networks.parse(name, channels=1, image_size=8, classes=10)
    return networks.build(model, generator=generator(0)).double().train(), model


def reference(network: nn.Module, pieces: list[Batch], *, rho: float, alpha: float) -> torch.Tensor:
    """Return the weights after GSAM, from gradients of autograd and norms over lists of tensors."""
    values = list(network.parameters())
    velocity = [torch.zeros_like(value) for value in values]

    def gradients(batch: Batch) -> list[torch.Tensor]:
        loss = cross_entropy(network(batch.pixels), batch.labels)
        return list(torch.autograd.grad(loss, values))

    def inner(first: list[torch.Tensor], second: list[torch.Tensor]) -> float:
        return sum(float((a * b).sum()) for a, b in zip(first, second, strict=True))

    for number, batch in enumerate(pieces):
        before = [value.detach().clone() for value in values]
        g = gradients(batch)
        weighted = [value.abs() * each for value, each in zip(before, g, strict=True)]
        scale = rho / (inner(weighted, weighted) ** 0.5 + 1e-12)
        with torch.no_grad():
            for value, each in zip(values, g, strict=True):
                value += scale * value**2 * each
        with_statistics = [buffer.clone() for buffer in network.buffers()]
        p = gradients(batch)
        with torch.no_grad():
            for buffer, kept in zip(network.buffers(), with_statistics, strict=True):
                buffer.copy_(kept)
            share = inner(g, p) / inner(p, p)
            for value, start, old, new, speed in zip(values, before, g, p, velocity, strict=True):
                direction = new - alpha * (old - share * new) + RULE["weight_decay"] * start
                speed.copy_(direction if number == 0 else RULE["momentum"] * speed + direction)
                value.copy_(start - 0.05 * speed)
    return networks.flatten(network)


def flat(step: Callable) -> Callable:
    """Return what makes a learner of one vector, with the step of a class."""

    def make(network: nn.Module, sharpness: Sharpness, recorder=None) -> Learner:
        program = Program(step(network))
        return FlatLearner(network, program, sharpness=sharpness, notes=None, recorder=recorder, **RULE)

    return make


def module(network: nn.Module, sharpness: Sharpness) -> Learner:
    """Return a learner of a module."""
    return ModuleLearner(network, sharpness=sharpness, **RULE)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize(("name", "make"), [
    ("ConvNetD2W4", flat(AutogradStep)), ("ConvNetD2W4", flat(ConvNetStep)), ("ConvNetD2W4", module),
    ("ConvNetD2W4BN", module),
])  # fmt: skip
def test_updates_are_those_of_the_formulas(name: str, make: Callable, alpha: float) -> None:
    """On one vector in either order, and as a module, whose running statistics are those of first passes."""
    pieces, (start, _), (again, _) = batches(1), build(name), build(name)
    learner = make(start, Sharpness(0.5, alpha))
    learner.begin(0.05)
    first = again(pieces[0].pixels).detach()
    again.load_state_dict(build(name)[0].state_dict())
    found = [learner.update(piece).clone() for piece in pieces]
    expected = reference(again, pieces, rho=0.5, alpha=alpha)
    ours = learner.network()
    torch.testing.assert_close(networks.flatten(ours), expected, atol=1e-13, rtol=1e-12)
    torch.testing.assert_close(found[0], first, atol=1e-13, rtol=1e-12)
    for (name, buffer), other in zip(ours.named_buffers(), again.buffers(), strict=True):
        torch.testing.assert_close(buffer, other, atol=1e-13, rtol=1e-12, msg=name)


def test_the_second_gradient_matters() -> None:
    """Both settings change the weights, by more than the tolerance of the other tests."""
    pieces = batches(1)

    def weights(sharpness: Sharpness | None) -> torch.Tensor:
        learner = flat(ConvNetStep)(build("ConvNetD2W4")[0], sharpness)
        learner.begin(0.05)
        for piece in pieces:
            learner.update(piece)
        return learner.weights()

    plain, aware, surrogate = (weights(rule) for rule in (None, Sharpness(0.5), Sharpness(0.5, 0.3)))
    assert float((plain - aware).norm() / plain.norm()) > 1e-4
    assert float((aware - surrogate).norm() / plain.norm()) > 1e-5


def test_graphs_change_nothing() -> None:
    """A sharpness-aware update is captured as a whole, with both gradients."""
    recorder, found = CallRecorder(), []
    for given in (recorder, None):
        learner = flat(ConvNetStep)(build("ConvNetD2W4")[0], Sharpness(0.5, 0.3), given)
        learner.begin(0.05)
        for piece in batches(2):
            learner.update(piece)
        found.append(learner.weights())
    assert len(recorder.records) == 1
    assert torch.equal(*found)


def test_geometry() -> None:
    """e has the radius in units of the weights, and v is orthogonal to the second gradient."""
    theta, g, p = (torch.randn(50, dtype=torch.float64, generator=generator(seed)) for seed in range(3))
    rule = Sharpness(0.2, 0.7)
    e = rule.ascent(theta, g) - theta
    assert float((e / theta).norm()) == pytest.approx(0.2, rel=1e-10)
    v = (p - rule.direction(g, p)) / 0.7
    assert float(v @ p) == pytest.approx(0, abs=1e-10)
    assert float(v @ g) > 0
    assert torch.equal(Sharpness(0.2).direction(g, p), p)
    zero = torch.zeros(50, dtype=torch.float64)
    assert torch.equal(rule.ascent(theta, zero), theta)
    assert torch.equal(rule.direction(zero, zero), zero)

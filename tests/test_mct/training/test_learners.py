"""What trains a network: a flat vector where it has no memory, else the module."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import trajfmt  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.training import compiled, learners  # noqa: E402
from mct.training.loader import (  # noqa: E402
    Batch,
    Loader,
)
from tests.helpers.recorded import CallRecorder  # noqa: E402

RULE = {"momentum": 0.9, "weight_decay": 5e-4}


def batches(count: int, size: int = 6) -> list[Batch]:
    """Return seeded batches of digits' shape."""
    images = torch.randn(20, 1, 8, 8, generator=generator(0))
    loader = Loader(images, torch.arange(20) % 10, classes=10, size=size, augment=None)
    return list(loader.batches(count, generator(1)))


def by_module(network: nn.Module, pieces: list[Batch], rates: tuple[float, ...]) -> torch.Tensor:
    """Return the weights after plain training, a new optimizer for every rate."""
    for rate in rates:
        optimizer = torch.optim.SGD(network.parameters(), lr=rate, **RULE)
        for piece in pieces:
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(piece.pixels), piece.labels).backward()
            optimizer.step()
    return networks.flatten(network)


@pytest.mark.parametrize("name", ["ConvNetD2W4", "ConvNetD2W4BN", "ConvNetD1W8NN", "ConvNetD2W4LN"])
def test_uncompiled_is_torch_bit_for_bit(name: str) -> None:
    """Momentum, weight decay and a fresh start with another step size."""
    model = networks.parse(name, channels=1, image_size=8, classes=10)
    pieces, start = batches(2), networks.build(model, generator=generator(0))
    (learner,) = learners.learners([start], model, **RULE, engine="eager")
    for rate in (0.1, 0.01):
        learner.begin(rate)
        for piece in pieces:
            learner.update(piece)
    expected = by_module(networks.build(model, generator=generator(0)), pieces, (0.1, 0.01))
    assert torch.equal(learner.weights(), expected)
    assert torch.equal(networks.flatten(learner.network()), expected)


@pytest.mark.parametrize("name", ["ConvNetD2W4", "ConvNetD1W4BN"])
@pytest.mark.parametrize("done", [0, 2])
def test_state_holds_all_that_later_updates_need(name: str, done: int) -> None:
    """Weights, momentum and running statistics: another learner goes on bit for bit."""
    model = networks.parse(name, channels=1, image_size=8, classes=10)

    def fresh() -> learners.Learner:
        network = networks.build(model, generator=generator(0)).train()
        return learners.learners([network], model, engine="eager", **RULE)[0]

    first, pieces = fresh(), batches(5)
    first.begin(0.05)
    for piece in pieces[:done]:
        first.update(piece)
    state = {key: value.clone() for key, value in first.state().items()}
    second = fresh()
    for piece in pieces[done:]:
        first.update(piece)
    second.restore(state, 0.05)
    for piece in pieces[done:]:
        second.update(piece)
    ours, theirs = first.network().state_dict(), second.network().state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert all(torch.equal(value, second.state()[key]) for key, value in first.state().items())


def test_compiled_differs_by_rounding(model: trajfmt.Model) -> None:
    """The packed order is that of the step; weights come back in the module's."""
    pieces = batches(2, size=20)
    start = networks.build(model, generator=generator(0))
    (learner,) = learners.learners([start], model, **RULE, engine="compiled", shapes=[(20, 1, 8, 8)])
    learner.begin(0.1)
    logits = [learner.update(piece).clone() for piece in pieces]
    expected = by_module(networks.build(model, generator=generator(0)), pieces, (0.1,))
    torch.testing.assert_close(learner.weights(), expected, atol=1e-5, rtol=1e-4)
    first = networks.build(model, generator=generator(0))(pieces[0].pixels)
    torch.testing.assert_close(logits[0], first.detach(), atol=1e-5, rtol=1e-4)


def test_weights_have_memory_of_their_own(model: trajfmt.Model) -> None:
    """What was recorded does not change with the next update."""
    start = networks.build(model, generator=generator(0))
    (learner,) = learners.learners([start], model, **RULE, engine="eager")
    before = learner.weights()
    copy = before.clone()
    learner.begin(0.1)
    learner.update(batches(1)[0])
    assert torch.equal(before, copy)
    assert not torch.equal(learner.weights(), copy)
    assert torch.equal(networks.flatten(start), copy)


def test_memory_and_dropout_keep_the_module(model: trajfmt.Model) -> None:
    """Batch norm's statistics, dropout's draws and frozen parameters need it; only dropout runs alone."""
    plain = networks.build(model, generator=generator(0))
    frozen = networks.build(model, generator=generator(0))
    next(frozen.parameters()).requires_grad_(False)
    dropout, norm = nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 2)), nn.BatchNorm2d(2)
    found = [learners.is_memoryless(network) for network in (plain, frozen, dropout, norm)]
    assert found == [True, False, False, False]
    assert [learners.is_random(network) for network in (plain, frozen, dropout, norm)] == [
        False, False, True, False,
    ]  # fmt: skip


def captured(model: trajfmt.Model, notes: list[str], recorder) -> torch.Tensor:
    """Return the weights of a learner whose updates are captured."""
    start = networks.build(model, generator=generator(0))
    (program,) = compiled.programs([start], model, engine="eager", shapes=[], notes=None)
    learner = learners.FlatLearner(start, program, **RULE, notes=notes.append, recorder=recorder)
    for rate in (0.1, 0.01):
        learner.begin(rate)
        for piece in batches(6):
            learner.update(piece)
    return learner.weights()


def test_graphs_change_nothing(model: trajfmt.Model) -> None:
    """One for each batch size and step size, after a few plain updates."""
    notes, recorder = list[str](), CallRecorder()
    found = captured(model, notes, recorder)
    expected = by_module(networks.build(model, generator=generator(0)), batches(6), (0.1, 0.01))
    assert torch.equal(found, expected)
    assert (len(recorder.records), notes) == (4, [])


def test_graph_that_cannot_be_captured_is_said_once(model: trajfmt.Model) -> None:
    """Training goes on without."""

    class Failing(CallRecorder):
        def record(self, *_, **__):
            raise RuntimeError("operation not permitted\nwhen stream is capturing")

    notes: list[str] = []
    found = captured(model, notes, Failing())
    expected = by_module(networks.build(model, generator=generator(0)), batches(6), (0.1, 0.01))
    assert torch.equal(found, expected)
    assert notes == ["updates run without a CUDA graph, which could not be captured: operation not permitted"]

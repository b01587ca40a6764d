"""What trains a network: a flat vector where it has no memory, else the module."""

import sys
from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch._dynamo.utils import counters  # noqa: E402

import trajfmt  # noqa: E402
from mct.inner.steps.table import make_step  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.training import compiled, learners, testing  # noqa: E402
from mct.training.jobs import Crew  # noqa: E402
from mct.training.loader import Batch, Feed  # noqa: E402
from tests.helpers.recorded import CallRecorder  # noqa: E402

RULE = {"momentum": 0.9, "weight_decay": 5e-4}
CPU = torch.device("cpu")


def batches(count: int, size: int = 6) -> list[Batch]:
    """Return seeded batches of digits' shape."""
    images = torch.randn(20, 1, 8, 8, generator=generator(0))
    feed = Feed(images, torch.arange(20) % 10, classes=10, size=size, augment=None)
    return list(feed.batches(count, generator(1)))


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


def test_compiled_answers_are_the_networks(model: trajfmt.Model) -> None:
    """Logits of a whole block and of a shorter one; uncompiled there is nothing faster."""
    start = networks.build(model, generator=generator(0))
    (learner,) = learners.learners([start], model, **RULE, engine="compiled", shapes=[(20, 1, 8, 8)])
    learner.begin(0.1)
    learner.update(batches(1, size=20)[0])
    images = torch.randn(40, 1, 8, 8, generator=generator(3))
    with torch.no_grad():
        found = torch.cat([learner.classifier()(block) for block in images.split(testing.BLOCK)])
        expected = learner.network().eval()(images)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    (eager,) = learners.learners([start], model, **RULE, engine="eager")
    assert eager.classifier() is None


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


def test_what_cannot_be_compiled_runs_uncompiled(model: trajfmt.Model, monkeypatch) -> None:
    """One line says so, and every network gets a step of its own."""

    def make(network, *, engine, notes=None):
        step = make_step(network, engine="eager")
        if engine == "compiled":
            notes("the network could not be compiled")
        return step

    monkeypatch.setattr(compiled, "make_step", make)
    compiled._step.cache_clear()
    started = [networks.build(model, generator=generator(0)) for _ in range(2)]
    notes: list[str] = []
    crowd = learners.learners(started, model, **RULE, engine="compiled", notes=notes.append)
    compiled._step.cache_clear()
    assert notes == ["the network could not be compiled"]
    assert crowd[0]._step is not crowd[1]._step


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


def test_threads_share_what_is_compiled_for_two_batch_sizes(model: trajfmt.Model) -> None:
    """Threads that change over at every chance compile nothing more, and each trains as alone, to the bit."""
    pieces = batches(50, size=7)

    def trained(at_once: int) -> list[torch.Tensor]:
        started = [networks.build(model, generator=generator(number)) for number in range(3)]
        shapes = [(7, 1, 8, 8), (6, 1, 8, 8)]
        crowd = learners.learners(started, model, **RULE, engine="compiled", shapes=shapes)
        before = counters["stats"]["unique_graphs"]
        crew = Crew(device=CPU, at_once=at_once, threads=1)
        assert list(crew.run([work(learner) for learner in crowd])) == [0, 1, 2]
        assert counters["stats"]["unique_graphs"] == before
        return [learner.weights() for learner in crowd]

    def work(learner: learners.Learner) -> Iterator[None]:
        learner.begin(0.01)
        for piece in pieces:
            learner.update(piece)
            yield

    alone = trained(1)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        found = trained(3)
    finally:
        sys.setswitchinterval(interval)
    assert all(map(torch.equal, found, alone))


def test_test_pass_that_cannot_be_compiled_is_the_networks(model: trajfmt.Model, monkeypatch) -> None:
    """One line says so in every call; training stays compiled."""

    def fail(*_: object) -> None:
        raise RuntimeError("no vectors\nhere")

    monkeypatch.setattr(compiled.Functional, "__call__", fail)
    compiled._forward.cache_clear()
    started = [networks.build(model, generator=generator(0)) for _ in range(2)]
    shapes, notes = [(20, 1, 8, 8)], list[str]()
    for _ in range(2):
        crowd = learners.learners(
            started, model, **RULE, engine="compiled", shapes=shapes, notes=notes.append
        )
    compiled._forward.cache_clear()
    assert [learner.classifier() for learner in crowd] == [None, None]
    assert crowd[0]._step is crowd[1]._step
    assert len(notes) == 2
    assert notes[0] == notes[1]
    assert notes[0].startswith("in tests the network could not be compiled and runs uncompiled: ")


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

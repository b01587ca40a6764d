"""What is compiled once and shared."""

import sys
from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")
from torch._dynamo.utils import counters  # noqa: E402

import trajfmt  # noqa: E402
from mct.inner.steps.autograd import AutogradStep  # noqa: E402
from mct.inner.steps.compiled import CompiledStep  # noqa: E402
from mct.inner.steps.table import make_step  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.training import compiled, learners, testing  # noqa: E402
from mct.training.jobs import JobPool  # noqa: E402
from mct.training.loader import (  # noqa: E402
    Batch,
    Loader,
)

RULE = {"momentum": 0.9, "weight_decay": 5e-4}
CPU = torch.device("cpu")


def batches(count: int, size: int = 6) -> list[Batch]:
    """Return seeded batches of digits' shape."""
    images = torch.randn(20, 1, 8, 8, generator=generator(0))
    loader = Loader(images, torch.arange(20) % 10, classes=10, size=size, augment=None)
    return list(loader.batches(count, generator(1)))


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
    shapes = [(20, 1, 8, 8)]
    crowd = learners.learners(started, model, **RULE, engine="compiled", shapes=shapes, notes=notes.append)
    compiled._step.cache_clear()
    assert notes == ["the network could not be compiled"]
    assert crowd[0]._step is not crowd[1]._step


def test_rare_shapes_are_not_compiled(model: trajfmt.Model, monkeypatch) -> None:
    """Their batches have a step of the learner's own, in the packed order of the compiled one."""
    known: list[int] = []

    def gradient(step: CompiledStep, theta, pixels, targets):
        known.append(len(targets))
        return step._fallback.gradient(theta, pixels, targets)

    monkeypatch.setattr(CompiledStep, "gradient", gradient)
    monkeypatch.setattr(compiled, "compile_apart", lambda *_, **__: None)
    started = [networks.build(model, generator=generator(0)) for _ in range(3)]
    crowd = learners.learners(started[:2], model, **RULE, engine="compiled", shapes=[(6, 1, 8, 8)])
    crowd += learners.learners(started[2:], model, **RULE, engine="eager")
    for learner in crowd:
        learner.begin(0.1)
        for piece in batches(2):  # of 6, 6, 6 and 2 images
            learner.update(piece)
    assert set(known) == {6}
    assert crowd[0]._program.rare is not crowd[1]._program.rare
    assert torch.equal(crowd[0].weights(), crowd[1].weights())
    torch.testing.assert_close(crowd[0].weights(), crowd[2].weights(), atol=1e-5, rtol=1e-4)
    (nothing,) = learners.learners(started[:1], model, **RULE, engine="compiled", shapes=[])
    assert isinstance(nothing._step, AutogradStep)


def test_threads_share_what_is_compiled_for_two_batch_sizes(model: trajfmt.Model) -> None:
    """Threads that change over at every chance compile nothing more, and each trains as alone, to the bit."""
    pieces = batches(50, size=7)

    def trained(at_once: int) -> list[torch.Tensor]:
        started = [networks.build(model, generator=generator(number)) for number in range(3)]
        shapes = [(7, 1, 8, 8), (6, 1, 8, 8)]
        crowd = learners.learners(started, model, **RULE, engine="compiled", shapes=shapes)
        before = counters["stats"]["unique_graphs"]
        pool = JobPool(device=CPU, at_once=at_once, threads=1)
        assert list(pool.run([work(learner) for learner in crowd])) == [0, 1, 2]
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

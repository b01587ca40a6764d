"""The captured inner loop, with a recorder that calls operators again instead of replaying kernels."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from mct.data.augment import DSA  # noqa: E402
from mct.inner.graphs import GraphUnroll  # noqa: E402
from mct.inner.optimized import OptimizedUnroll  # noqa: E402
from mct.inner.optimizers.adam import Adam  # noqa: E402
from mct.inner.optimizers.momentum import Momentum  # noqa: E402
from mct.inner.problem import Problem, minibatches, targets_of  # noqa: E402
from mct.inner.steps.convnet import ConvNetStep  # noqa: E402
from mct.inner.steps.table import make_step  # noqa: E402
from mct.inner.unroll import ExactUnroll, TeslaUnroll  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.objectives.objective import LossAndAdjoint  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from tests.helpers.recorded import CallRecorder  # noqa: E402


def problem_of(seed: int, network) -> Problem:
    """Return a float64 problem with DSA and ragged batches; all seeds have the same shapes."""
    random, dsa = generator(seed), DSA()
    batches = minibatches(5, 2, 7, random)
    weights = torch.nn.utils.parameters_to_vector(network.parameters()).detach()
    return Problem(
        weights=weights + 0.01 * torch.randn(len(weights), generator=random, dtype=torch.float64),
        images=torch.randn(5, 3, 8, 8, generator=random, dtype=torch.float64),
        targets=targets_of(torch.randperm(5, generator=random), 5, torch.float64),
        learning_rate=0.05 + 0.01 * seed,
        batches=batches,
        augment=dsa,
        draws=[dsa.draw(len(batch), 8, random) for batch in batches],
    )


def terminal(path):
    """Pull every weight to zero."""
    final = path[-1]
    return LossAndAdjoint(float(final.square().sum()), 2 * final)


def network_of(name: str = "ConvNetD1W4"):
    """Return a small network in float64."""
    model = networks.parse(name, channels=3, image_size=8, classes=5)
    return networks.build(model, generator=generator(0)).double()


@pytest.mark.parametrize("kind", [ExactUnroll, TeslaUnroll])
@pytest.mark.parametrize("step", [make_step, ConvNetStep])
@pytest.mark.parametrize(
    "options", [{}, {"step_images": 1}, {"keep_bytes": 9_000}, {"keep_bytes": 1 << 20}], ids=str
)
def test_replays_give_the_plain_gradients_bit_for_bit(options, step, kind) -> None:
    """With other weights, images, targets, draws and learning rate; the first problem runs as it is."""
    network, recorder = network_of("ConvNetD2W4"), CallRecorder()
    plain, own = kind(step(network), **options), step(network)
    unroll = GraphUnroll(kind(own, **options), notes=pytest.fail, recorder=recorder)
    for seed in range(5):
        problem = problem_of(seed, network)
        problem = replace(problem, weights=own.pack(problem.weights))
        expected, found = plain.gradients(problem, terminal), unroll.gradients(problem, terminal)
        assert (found.loss, found.learning_rate) == (expected.loss, expected.learning_rate)
        assert torch.equal(found.images, expected.images)
        assert len(recorder.records) == (2 if seed else 0)
    assert recorder.after == [None, recorder.records[0]]  # whose memory the way back may use


def test_labels_and_early_adjoints_are_replayed_bit_for_bit() -> None:
    """The first adjoint before the last starts the captures over; a sample that is left out replays no way
    back."""
    network, recorder = network_of(), CallRecorder()
    plain = ExactUnroll(ConvNetStep(network))
    unroll = GraphUnroll(ExactUnroll(ConvNetStep(network)), notes=pytest.fail, recorder=recorder)

    def judged(*steps: int):
        def judge(path) -> LossAndAdjoint:
            last = len(path) - 1
            slopes = {step: 2 * path[step] for step in steps}
            return LossAndAdjoint(1.0, slopes.pop(last, None), slopes)

        return judge

    last = len(problem_of(0, network).batches)
    cases = [((last,), 0), ((last,), 2), ((2, last), 2), ((1,), 4), ((), 4), ((last,), 4), ((2,), 4)]
    for seed, (steps, graphs) in enumerate(cases):
        problem = replace(problem_of(seed, network), labels=True)
        expected, found = (each.gradients(problem, judged(*steps)) for each in (plain, unroll))
        assert (found.learning_rate, found.accepted) == (expected.learning_rate, bool(steps))
        assert torch.equal(found.images, expected.images)
        assert torch.equal(found.targets, expected.targets)
        assert len(recorder.records) == graphs


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("optimizer", [Momentum(0.9), Adam()])
def test_optimisers_with_a_memory_are_replayed_bit_for_bit(optimizer, window) -> None:
    """Objectives that look back see weights that are computed again from the gradients of the last replay."""
    network, recorder = network_of(), CallRecorder()
    plain, own = (OptimizedUnroll(ConvNetStep(network), optimizer, decay=0.01) for _ in range(2))
    unroll = GraphUnroll(own, notes=pytest.fail, recorder=recorder)

    def judge(path) -> LossAndAdjoint:
        assert len(list(path)) == 8
        return LossAndAdjoint(float(path[5].square().sum()), 2 * path[-1], {5: 2 * path[5]})

    for seed in range(4):
        problem = replace(problem_of(seed, network), labels=True, window=window)
        expected, found = (each.gradients(problem, judge) for each in (plain, unroll))
        assert (found.loss, found.learning_rate) == (expected.loss, expected.learning_rate)
        assert torch.equal(found.images, expected.images)
        assert torch.equal(found.targets, expected.targets)
    assert len(recorder.records) == 4  # The first adjoint before the last starts the captures over.


def test_loop_that_waits_for_the_device_is_not_captured() -> None:
    """A value that is read on the host breaks a capture: one line says so, and the gradients are there."""

    class Reading(ConvNetStep):
        def gradient(self, theta, pixels, targets):
            found = super().gradient(theta, pixels, targets)
            float(found[0].sum())
            return found

    network, told = network_of(), list[str]()
    unroll = GraphUnroll(ExactUnroll(Reading(network)), notes=told.append, recorder=CallRecorder())
    for seed in range(3):
        problem = problem_of(seed, network)
        expected = ExactUnroll(ConvNetStep(network)).gradients(problem, terminal)
        assert torch.equal(unroll.gradients(problem, terminal).images, expected.images)
    assert len(told) == 1
    assert "operation not permitted when stream is capturing" in told[0]


def test_capture_without_a_device_fails_in_one_line() -> None:
    """CUDA graphs on a machine that has no GPU: one line says so, and the gradients are there."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    network, told = network_of(), list[str]()
    unroll = GraphUnroll(ExactUnroll(make_step(network)), notes=told.append)
    for seed in range(3):
        problem = problem_of(seed, network)
        expected = ExactUnroll(make_step(network)).gradients(problem, terminal)
        assert torch.equal(unroll.gradients(problem, terminal).images, expected.images)
    assert len(told) == 1
    assert told[0].startswith("the inner loop could not be captured and runs step by step: ")


def test_want_of_memory_in_a_capture_is_not_a_failed_capture() -> None:
    """It is raised, so that less is kept and the capture is tried again."""

    class Full(CallRecorder):
        def record(self, *_, **__):
            raise torch.OutOfMemoryError("CUDA out of memory.")

    network = network_of()
    unroll = GraphUnroll(ExactUnroll(make_step(network)), notes=pytest.fail, recorder=Full())
    unroll.gradients(problem_of(0, network), terminal)
    with pytest.raises(torch.OutOfMemoryError):
        unroll.gradients(problem_of(1, network), terminal)


def test_other_shapes_are_other_graphs() -> None:
    """A problem with other batches, or another window, runs plainly first."""
    network, recorder = network_of(), CallRecorder()
    unroll = GraphUnroll(ExactUnroll(make_step(network)), notes=pytest.fail, recorder=recorder)
    problem = problem_of(0, network)
    shorter = replace(problem, batches=problem.batches[:3], draws=problem.draws[:3])
    cut = replace(problem, window=2)
    cases = ((problem, 0), (shorter, 0), (cut, 0), (problem, 2), (shorter, 4), (cut, 6), (problem, 6))
    for one, graphs in cases:
        expected = ExactUnroll(make_step(network)).gradients(one, terminal)
        assert torch.equal(unroll.gradients(one, terminal).images, expected.images)
        assert len(recorder.records) == graphs


def test_another_budget_is_another_graph() -> None:
    """What is kept is part of a graph: with another budget a problem runs plainly and is captured again."""
    network, recorder = network_of(), CallRecorder()
    plain = ExactUnroll(ConvNetStep(network), keep_bytes=1 << 20)
    unroll, problem = GraphUnroll(plain, notes=pytest.fail, recorder=recorder), problem_of(0, network)
    for budget, graphs in ((1 << 20, 0), (1 << 20, 2), (9_000, 2), (9_000, 4), (9_000, 4)):
        plain.keep_bytes = budget
        expected = ExactUnroll(ConvNetStep(network)).gradients(problem, terminal)
        assert torch.allclose(unroll.gradients(problem, terminal).images, expected.images, rtol=1e-12)
        assert len(recorder.records) == graphs

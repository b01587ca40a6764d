"""The inner loop at fixed addresses, with graphs that call their functions instead of replaying kernels."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from mct import networks  # noqa: E402
from mct.augment import DSA  # noqa: E402
from mct.graphs import Captured, Frame, GraphUnroll  # noqa: E402
from mct.matching import Match  # noqa: E402
from mct.problem import Problem, minibatches, targets_of  # noqa: E402
from mct.seeds import generator  # noqa: E402
from mct.steps import make_step  # noqa: E402
from mct.unroll import ExactUnroll, Loop  # noqa: E402


class Again:
    """Stands for a captured graph: calls a function whenever it is replayed."""

    def __init__(self, function) -> None:
        self.replay = function


class Rehearsed(GraphUnroll):
    """A GraphUnroll whose graphs are functions over the same fixed tensors."""

    def _capture(self, problem, source):
        """Do what capturing does, without a device."""
        values = source.all().clone()
        frame = Frame(values, torch.zeros_like(values), source.starts)
        loop = Loop.of(problem, frame)
        start, adjoint = problem.weights.clone(), torch.zeros_like(problem.weights)
        final, inner = torch.zeros_like(start), torch.zeros(len(problem.batches), dtype=torch.float64)
        memory = []

        def up() -> None:
            path, kept = self._plain.ascend(loop, start)
            memory[:] = [path[:-1], kept]
            final.copy_(path[-1])

        def down() -> None:
            inner.copy_(self._plain.descend(loop, memory[0], memory[1], adjoint))

        return Captured(loop, frame, start, final, adjoint, inner, Again(up), Again(down))


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


def terminal(final):
    """Pull every weight to zero."""
    return Match(float(final.square().sum()), 2 * final)


@pytest.mark.parametrize("options", [{}, {"step_images": 1}])
def test_fixed_addresses_change_nothing(options) -> None:
    """Every problem, the first that runs plainly and those that are replayed, gives the plain gradients."""
    model = networks.parse("ConvNetD1W4", channels=3, image_size=8, classes=5)
    network = networks.build(model, generator=generator(0)).double()
    plain = ExactUnroll(make_step(network), **options)
    unroll = Rehearsed(ExactUnroll(make_step(network), **options), notes=pytest.fail)
    for seed in range(4):
        problem = problem_of(seed, network)
        expected, found = plain.gradients(problem, terminal), unroll.gradients(problem, terminal)
        assert found.loss == pytest.approx(expected.loss, rel=1e-14)
        assert found.learning_rate == pytest.approx(expected.learning_rate, rel=1e-12)
        assert torch.allclose(found.images, expected.images, rtol=1e-12, atol=1e-14)


def test_loop_that_cannot_be_captured_runs_step_by_step() -> None:
    """Here no device captures: one line says so, and the gradients are there all the same."""
    model = networks.parse("ConvNetD1W4", channels=3, image_size=8, classes=5)
    network = networks.build(model, generator=generator(0)).double()
    told: list[str] = []
    unroll = GraphUnroll(ExactUnroll(make_step(network)), notes=told.append)
    for seed in range(3):
        problem = problem_of(seed, network)
        expected = ExactUnroll(make_step(network)).gradients(problem, terminal)
        assert torch.equal(unroll.gradients(problem, terminal).images, expected.images)
    assert len(told) == 1
    assert told[0].startswith("the inner loop could not be captured and runs step by step: ")


def test_other_shapes_are_other_graphs() -> None:
    """A problem with other batches runs plainly first."""
    model = networks.parse("ConvNetD1W4", channels=3, image_size=8, classes=5)
    network = networks.build(model, generator=generator(0)).double()
    unroll = Rehearsed(ExactUnroll(make_step(network)), notes=pytest.fail)
    problem = problem_of(0, network)
    shorter = replace(problem, batches=problem.batches[:3], draws=problem.draws[:3])
    for one in (problem, shorter, problem, shorter):
        expected = ExactUnroll(make_step(network)).gradients(one, terminal)
        assert torch.allclose(unroll.gradients(one, terminal).images, expected.images, rtol=1e-12, atol=1e-14)

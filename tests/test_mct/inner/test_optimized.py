"""The recursion with optimisers that have a memory, against backpropagation through the unrolled graph."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from mct.data.augment import STRATEGY  # noqa: E402
from mct.inner.optimized import OptimizedUnroll  # noqa: E402
from mct.inner.optimizers.adam import Adam  # noqa: E402
from mct.inner.optimizers.momentum import Momentum  # noqa: E402
from mct.inner.optimizers.sgd import Sgd  # noqa: E402
from mct.inner.steps.autograd import AutogradStep  # noqa: E402
from mct.inner.steps.convnet import ConvNetStep  # noqa: E402
from mct.inner.unroll import ExactUnroll  # noqa: E402
from mct.models.idle import idle_parameters  # noqa: E402
from mct.objectives.objective import LossAndAdjoint  # noqa: E402
from tests.helpers import unrolled  # noqa: E402
from tests.helpers.unrolled import compare_with, problem_of, relative, whole_graph  # noqa: E402

UPDATES = {
    "sgd": (Sgd(), unrolled.sgd),
    "momentum": (Momentum(0.9), unrolled.momentum),
    "adam": (Adam(), unrolled.adam),
}
RATES = {"sgd": 0.05, "momentum": 0.02, "adam": 0.003}


def case(name: str, kind: str, steps: int, window: int | None = None):
    """Return a network, a problem with ragged batches, DSA and learned labels, a target, and what is idle."""
    network, problem, target = problem_of(name, steps, size=4, strategy=STRATEGY, soft=True, side=4)
    problem = replace(problem, labels=True, window=window, learning_rate=RATES[kind])
    return network, problem, target, idle_parameters(network, (2, 4, 4))


@pytest.mark.parametrize("engine", [AutogradStep, ConvNetStep])
@pytest.mark.parametrize(("steps", "window"), [(1, None), (5, None), (30, None), (5, 2), (30, 7), (5, 5)])
@pytest.mark.parametrize("kind", UPDATES)
def test_gradients_equal_backpropagation_through_the_whole_graph(kind, steps, window, engine) -> None:
    """Images, learning rate and labels to 1e-12, with weight decay, and with a graph that is cut."""
    network, problem, target, idle = case("ConvNetD1W4", kind, steps, window)
    optimizer, update = UPDATES[kind]
    loss, *expected = whole_graph(network, problem, target, None, update, 5e-3, idle)
    step = engine(network)
    packed = replace(problem, weights=step.pack(problem.weights))
    unroll = OptimizedUnroll(step, optimizer, decay=5e-3, idle=step.pack(idle))
    found = unroll.gradients(packed, compare_with(packed, step.pack(target)))
    assert found.loss == pytest.approx(float(loss), rel=1e-12)
    # Adam's first update is almost the sign of the gradient, so that nearly all of its derivative cancels.
    bound = 1e-10 if (kind, steps) == ("adam", 1) else 1e-12
    for mine, theirs in zip((found.images, found.learning_rate, found.targets), expected, strict=True):
        assert relative(mine, theirs) < bound


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("kind", ["momentum", "adam"])
def test_memory_options_change_nothing(kind: str, window: int | None) -> None:
    """Batches in parts, and kept activations, of which updates before the window have none."""
    network, problem, target, idle = case("ConvNetD1W4", kind, 6, window)
    step, (optimizer, _) = ConvNetStep(network), UPDATES[kind]
    packed = replace(problem, weights=step.pack(problem.weights))
    terminal = compare_with(packed, step.pack(target))

    def solved(**options):
        unroll = OptimizedUnroll(step, optimizer, idle=step.pack(idle), **options)
        return unroll, unroll.gradients(packed, terminal)

    _, expected = solved()
    for options in ({"step_images": 3}, {"keep_bytes": 1 << 20}, {"keep_bytes": 4000}):
        unroll, found = solved(**options)
        assert relative(found.images, expected.images) < 1e-12
        assert relative(found.targets, expected.targets) < 1e-12
        assert found.learning_rate == pytest.approx(expected.learning_rate, rel=1e-11)
        if options == {"keep_bytes": 1 << 20}:
            assert unroll.kept_updates == (window or 6)


@pytest.mark.parametrize("window", [None, 3])
def test_plain_descent_is_that_of_the_recursion_without_a_memory(window: int | None) -> None:
    """Up to rounding: the recursion of `unroll` has the factor -alpha outside."""
    network, problem, target, _ = case("ConvNetD1W4", "sgd", 5, window)
    terminal, step = compare_with(problem, target), AutogradStep(network)
    expected = ExactUnroll(step).gradients(problem, terminal)
    found = OptimizedUnroll(step, Sgd()).gradients(problem, terminal)
    assert found.loss == pytest.approx(expected.loss, rel=1e-14)
    assert relative(found.images, expected.images) < 1e-14
    assert relative(found.targets, expected.targets) < 1e-14
    assert found.learning_rate == pytest.approx(expected.learning_rate, rel=1e-14)


@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize("kind", ["momentum", "adam"])
def test_adjoints_are_injected_where_the_loss_depends_on_the_way(kind: str, window: int | None) -> None:
    """A loss of theta_2, theta_4 and theta_5 of 6; with a window of 2, that of theta_2 is a constant."""
    network, problem, target, idle = case("ConvNetD1W4", kind, 6, window)
    optimizer, update = UPDATES[kind]
    weights = {2: 0.3, 4: 0.5, 5: -1.5}

    def judge(path):
        return sum(weight * (path[step] - target).square().sum() for step, weight in weights.items())

    def terminal(path):
        assert len(path) == 7
        assert torch.equal(path[0], problem.weights)
        assert all(torch.equal(theta, path[step]) for step, theta in enumerate(path))
        return LossAndAdjoint(judge(path), None, {n: 2 * w * (path[n] - target) for n, w in weights.items()})

    loss, *expected = whole_graph(network, problem, target, judge, update, 0.0, idle)
    found = OptimizedUnroll(AutogradStep(network), optimizer, idle=idle).gradients(problem, terminal)
    assert found.loss == pytest.approx(float(loss), rel=1e-12)
    for mine, theirs in zip((found.images, found.learning_rate, found.targets), expected, strict=True):
        assert relative(mine, theirs) < 1e-12


def test_rounding_errors_of_idle_parameters_do_not_reach_the_images() -> None:
    """In float32, Adam's gradient with autograd equals that of the closed step, and float64's.

    Without the mask, biases before a norm move as fast as all others, along rounding errors.
    """
    network, problem, target, idle = case("ConvNetD1W4", "adam", 8)
    exact = whole_graph(network, problem, target, None, unrolled.adam, 0.0, idle)[1]
    network, target = network.float(), target.float()
    narrow = {name: getattr(problem, name).float() for name in ("weights", "images", "targets")}
    problem = replace(problem, **narrow)
    ends = []

    def error(step, **options):
        packed = replace(problem, weights=step.pack(problem.weights))

        def terminal(path):
            ends.append(step.unpack(path[-1]) - problem.weights)
            return compare_with(packed, step.pack(target))(path)

        found = OptimizedUnroll(step, Adam(), **options).gradients(packed, terminal)
        return relative(found.images, exact)

    masked = error(AutogradStep(network), idle=idle)
    assert not ends[-1][idle].any()
    assert max(masked, error(ConvNetStep(network))) < 1e-4
    assert not ends[-1][idle].any()
    assert error(AutogradStep(network)) > 100 * masked
    assert ends[-1][idle].abs().max() > 0.1 * ends[-1].abs().max()

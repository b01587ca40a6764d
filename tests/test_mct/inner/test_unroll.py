"""The recursion against full backpropagation through the unrolled graph, in float64."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from torch.nn.functional import cross_entropy  # noqa: E402

from mct.data.augment import STRATEGY  # noqa: E402
from mct.errors import ConfigError, DivergedError  # noqa: E402
from mct.inner.problem import Problem  # noqa: E402
from mct.inner.steps.autograd import AutogradStep  # noqa: E402
from mct.inner.steps.convnet import ConvNetStep  # noqa: E402
from mct.inner.unroll import ExactUnroll, TeslaUnroll  # noqa: E402
from mct.models.functional import Functional  # noqa: E402
from mct.objectives.objective import LossAndAdjoint  # noqa: E402
from tests.helpers.unrolled import compare_with, problem_of, relative, whole_graph  # noqa: E402


def loss_of(problem: Problem, function, step: int, theta, images):
    """Return the loss of an update, with its graph."""
    pixels = images[problem.batches[step]]
    if problem.augment is not None:
        pixels = problem.augment.apply(pixels, problem.draws[step])
    return cross_entropy(function(theta, pixels), problem.targets[problem.batches[step]])


@pytest.mark.parametrize("steps", [1, 5, 8])
@pytest.mark.parametrize("name", ["ConvNetD2W4", "ConvNetD2W4BN", "ConvNetD2W4LN", "ConvNetD2W4GN",
                                  "ConvNetD2W4NN", "ConvNetD1W4MP", "ConvNetD1W4NP"])  # fmt: skip
def test_gradients_equal_backpropagation_through_the_whole_graph(name: str, steps: int) -> None:
    """Loss, image gradient and step size gradient are exact, with ragged batches."""
    network, problem, target = problem_of(name, steps, size=4)
    loss, images, alpha = whole_graph(network, problem, target)
    found = ExactUnroll(AutogradStep(network)).gradients(problem, compare_with(problem, target))
    assert abs(found.loss - float(loss)) <= 1e-12 * float(loss)
    assert relative(found.images, images) < 1e-10
    assert relative(found.learning_rate, alpha) < 1e-10


@pytest.mark.parametrize("engine", [AutogradStep, ConvNetStep])
@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("options", [{}, {"step_images": 3}, {"keep_bytes": 1 << 20}])
def test_gradient_in_the_targets_is_exact(engine, steps: int, options) -> None:
    """With soft labels whose sums differ, ragged batches, augmentation, batches in parts, and kept
    activations."""
    network, problem, target = problem_of("ConvNetD2W4", steps, size=4, strategy=STRATEGY, soft=True)
    problem = replace(
        problem, labels=True, targets=problem.targets * torch.linspace(0.5, 2, 6).double()[:, None]
    )
    loss, images, alpha, targets = whole_graph(network, problem, target)
    step = engine(network)
    packed = replace(problem, weights=step.pack(problem.weights))
    found = ExactUnroll(step, **options).gradients(packed, compare_with(packed, step.pack(target)))
    assert abs(found.loss - float(loss)) <= 1e-12 * float(loss)
    for mine, theirs in ((found.images, images), (found.learning_rate, alpha), (found.targets, targets)):
        assert relative(mine, theirs) < 1e-10
    without = ExactUnroll(step, **options).gradients(
        replace(packed, labels=False), compare_with(packed, step.pack(target))
    )
    assert without.targets is None
    assert torch.equal(without.images, found.images)


@pytest.mark.parametrize("last", [True, False])
def test_adjoints_are_injected_where_the_loss_depends_on_the_way(last: bool) -> None:
    """A loss of theta_2, theta_3 and, if `last`, theta_5 has exact gradients; later updates have none."""
    network, problem, target = problem_of("ConvNetD2W4", 5, size=4, soft=True)
    problem, weights = replace(problem, labels=True), {2: 0.3, 3: -1.5} | ({5: 1.0} if last else {})

    def judge(path):
        return sum(weight * (path[step] - target).square().sum() for step, weight in weights.items())

    def terminal(path):
        slopes = {step: 2 * weight * (path[step] - target) for step, weight in weights.items()}
        return LossAndAdjoint(judge(path), slopes.pop(5, None), slopes)

    loss, *expected = whole_graph(network, problem, target, judge)
    found = ExactUnroll(AutogradStep(network)).gradients(problem, terminal)
    assert found.loss == pytest.approx(float(loss), rel=1e-12)
    for mine, theirs in zip((found.images, found.learning_rate, found.targets), expected, strict=True):
        assert relative(mine, theirs) < 1e-10
    if not last:
        unused = sorted(set(range(6)) - set(torch.cat(problem.batches[:3]).tolist()))
        assert not found.images[unused].any()


def test_a_sample_that_is_left_out_has_no_gradient() -> None:
    """Its loss is told, and the way back is not computed."""
    network, problem, _ = problem_of("ConvNetD1W4", 3, size=None)
    problem = replace(problem, labels=True)

    class Forward(AutogradStep):
        def vjp_hvp(self, *_):
            raise AssertionError("computed the way back")

    found = ExactUnroll(Forward(network)).gradients(problem, lambda _: LossAndAdjoint(3.5, None))
    assert (found.loss, found.learning_rate, found.accepted) == (3.5, 0.0, False)
    assert not found.images.any()
    assert not found.targets.any()


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("strategy", [*STRATEGY.split("_"), STRATEGY])
def test_gradients_go_through_augmentation(strategy: str, soft: bool) -> None:
    """For every family, with ragged batches and both kinds of labels, they are exact."""
    network, problem, target = problem_of("ConvNetD2W4", 8, size=4, strategy=strategy, soft=soft)
    loss, images, alpha = whole_graph(network, problem, target)
    found = ExactUnroll(AutogradStep(network)).gradients(problem, compare_with(problem, target))
    assert abs(found.loss - float(loss)) <= 1e-12 * float(loss)
    assert relative(found.images, images) < 1e-10
    assert relative(found.learning_rate, alpha) < 1e-10


def test_network_with_buffers_has_no_memory() -> None:
    """Running statistics are those of the module before; a second call gives the same bits."""
    network, problem, target = problem_of("ConvNetD2W4BN", 3, size=4)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    engine = ExactUnroll(AutogradStep(network))
    first, second = (engine.gradients(problem, compare_with(problem, target)) for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert first.learning_rate == second.learning_rate
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_probabilities_are_those_of_the_network_in_evaluation() -> None:
    """Softmax of the logits at given weights; with batch norm, by the statistics of the images."""
    network, problem, target = problem_of("ConvNetD2W4", 1, size=None)
    torch.nn.utils.vector_to_parameters(target, network.parameters())
    expected = network.eval()(problem.images).softmax(1)
    assert torch.equal(Functional(network).probabilities(target, problem.images), expected)
    network, problem, target = problem_of("ConvNetD2W4BN", 1, size=None)
    torch.nn.utils.vector_to_parameters(target, network.parameters())
    found = Functional(network).probabilities(target, problem.images)
    assert torch.equal(found, network.train()(problem.images).softmax(1))
    assert torch.allclose(found.sum(1), torch.ones(6).double())


def test_dropout_is_refused() -> None:
    """A network that gives another output each time has no exact gradient in two passes."""
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(4, 2))
    with pytest.raises(ConfigError, match="layer `1` is dropout"):
        ExactUnroll(AutogradStep(network))
    network[1].p = 0.0
    ExactUnroll(AutogradStep(network))


def test_image_that_is_in_no_batch_has_no_gradient() -> None:
    """Gradients go to the images of a batch, and to those alone."""
    network, problem, target = problem_of("ConvNetD1W4", steps=1, size=2)
    found = ExactUnroll(AutogradStep(network)).gradients(problem, compare_with(problem, target))
    unused = sorted(set(range(6)) - set(problem.batches[0].tolist()))
    assert len(unused) == 4
    assert not found.images[unused].any()
    assert found.images[problem.batches[0]].any()


def test_gradients_leave_their_input_alone() -> None:
    """Neither the weights nor the images of the problem change or gain a graph."""
    network, problem, target = problem_of("ConvNetD1W4", steps=3, size=None)
    before = problem.weights.clone(), problem.images.clone()
    ExactUnroll(AutogradStep(network)).gradients(problem, compare_with(problem, target))
    assert torch.equal(problem.weights, before[0])
    assert torch.equal(problem.images, before[1])
    assert not problem.weights.requires_grad
    assert not problem.images.requires_grad


def test_graph_of_one_update_exists_at_a_time() -> None:
    """Bytes that autograd saves do not grow with the number of updates."""

    def peak(steps: int) -> int:
        # Without norm: an output that is saved through a hook keeps itself alive in PyTorch.
        network, problem, target = problem_of("ConvNetD1W4NN", steps, size=None)
        live = high = 0

        class Held:
            def __init__(self, tensor) -> None:
                nonlocal live, high
                self.tensor, self.size = tensor, tensor.nbytes
                live += self.size
                high = max(high, live)

            def __del__(self) -> None:
                nonlocal live
                live -= self.size

        with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
            ExactUnroll(AutogradStep(network)).gradients(problem, compare_with(problem, target))
        return high

    assert peak(8) == peak(2) > 0


def tesla(network, problem: Problem, target):
    """Return TESLA's gradients from the formulas of its paper and the slip of its code."""
    alpha, start = problem.learning_rate, problem.weights
    function = Functional(network)
    theta, gradients, found = start, [], torch.zeros_like(problem.images)
    images = problem.images.clone().requires_grad_()
    for step in range(len(problem.batches)):
        leaf = theta.detach().requires_grad_()
        loss = loss_of(problem, function, step, leaf, images)
        (gradient,) = torch.autograd.grad(loss, leaf, create_graph=True)
        gradients.append(gradient)
        theta = theta - alpha * gradient.detach()
    distance = (start - target).square().sum()
    total = torch.stack([gradient.detach() for gradient in gradients]).sum(0)
    for gradient in gradients:
        term = (alpha * (target - start) + alpha**2 * total) @ gradient / distance
        found += torch.autograd.grad(term, images, retain_graph=True)[0]
    rate = torch.tensor(alpha, dtype=torch.float64, requires_grad=True)
    loss = (start - rate * total - target).square().sum() / distance
    return float(loss.detach()), found, float(torch.autograd.grad(loss, rate)[0])


@pytest.mark.parametrize("strategy", [None, STRATEGY])
@pytest.mark.parametrize(("steps", "size"), [(1, None), (4, 4)])
def test_tesla_is_as_published(steps: int, size: int | None, strategy: str | None) -> None:
    """Loss and both gradients are those of the published formulas; the exact ones are others."""
    network, problem, target = problem_of("ConvNetD1W4", steps, size, strategy=strategy)
    distance = float((problem.weights - target).square().sum())

    def terminal(path):
        final = path[-1]
        return LossAndAdjoint(
            float((final - target).square().sum()) / distance, 2 * (final - target) / distance
        )

    found = TeslaUnroll(AutogradStep(network)).gradients(problem, terminal)
    exact = ExactUnroll(AutogradStep(network)).gradients(problem, terminal)
    loss, images, rate = tesla(network, problem, target)
    assert found.loss == pytest.approx(loss, rel=1e-12)
    assert found.learning_rate == pytest.approx(rate, rel=1e-10)
    torch.testing.assert_close(found.images, images, rtol=1e-10, atol=1e-14)
    if steps == 1:  # nothing is replaced, and half is left
        torch.testing.assert_close(2 * found.images, exact.images, rtol=1e-12, atol=1e-15)
    else:
        assert float((2 * found.images - exact.images).norm()) > 1e-4 * float(exact.images.norm())


@pytest.mark.parametrize("options", [{"keep_bytes": 1}, {"keep_bytes": 30_000}, {"keep_bytes": 1 << 30},
                                     {"step_images": 1}, {"step_images": 3}])  # fmt: skip
def test_memory_options_change_nothing(options) -> None:
    """Kept activations, of some updates or all, and batches in parts give the same gradients."""
    network, problem, target = problem_of("ConvNetD2W4", 6, size=4, strategy=STRATEGY)
    step = ConvNetStep(network)
    packed = replace(problem, weights=step.pack(problem.weights))
    terminal = compare_with(packed, step.pack(target))
    expected = ExactUnroll(AutogradStep(network)).gradients(problem, compare_with(problem, target))
    found = ExactUnroll(step, **options).gradients(packed, terminal)
    assert relative(found.images, expected.images) < 1e-12
    assert found.learning_rate == pytest.approx(expected.learning_rate, rel=1e-11)


def test_kept_activations_stay_in_their_budget() -> None:
    """The first updates are kept, as many as fit, and their `vjp_hvp` is given what was kept."""
    network, problem, target = problem_of("ConvNetD2W4", 6, size=None)
    step = ConvNetStep(network)
    _, kept = step.keep(step.pack(problem.weights), problem.images, problem.targets)
    size = sum(value.nbytes for value in kept)
    given: list[bool] = []

    class Watched(ConvNetStep):
        def vjp_hvp(self, theta, adjoint, pixels, targets, kept=(), labels=False):
            given.append(bool(kept))
            return super().vjp_hvp(theta, adjoint, pixels, targets, kept, labels)

    packed = replace(problem, weights=step.pack(problem.weights))
    unroll = ExactUnroll(Watched(network), keep_bytes=2 * size + 1)
    unroll.gradients(packed, compare_with(packed, step.pack(target)))
    assert given == [False, False, False, False, True, True]


def test_batch_norm_is_not_computed_in_parts() -> None:
    """Its images see each other."""
    network, _, _ = problem_of("ConvNetD1W4BN", 1, size=None)
    with pytest.raises(ConfigError, match="batch norm joins the images"):
        ExactUnroll(AutogradStep(network), step_images=2)


def test_adjoint_that_is_not_finite_names_its_step() -> None:
    """The first one on the way down."""
    network, problem, target = problem_of("ConvNetD1W4", 5, size=None)

    class Broken(AutogradStep):
        calls = 0

        def vjp_hvp(self, *given):
            self.calls += 1
            found = super().vjp_hvp(*given)
            return found._replace(hvp=found.hvp * (torch.nan if self.calls == 2 else 1.0))

    with pytest.raises(DivergedError, match="not finite at inner step 3 of 5"):
        ExactUnroll(Broken(network)).gradients(problem, compare_with(problem, target))

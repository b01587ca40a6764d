"""The recursion against full backpropagation through the unrolled graph, in float64."""

import pytest

torch = pytest.importorskip("torch")

from torch.func import functional_call  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

from mct import networks  # noqa: E402
from mct.matching import Match  # noqa: E402
from mct.seeds import generator  # noqa: E402
from mct.unroll import Problem, StepwiseUnroll, minibatches  # noqa: E402


def problem_of(name: str, steps: int, size: int | None, images: int = 6):
    """Return a float64 network, a problem for it and a target."""
    random = generator(1)
    model = networks.parse(name, channels=2, image_size=8, classes=3)
    network = networks.build(model, generator=random).double()
    weights = networks.flatten(network)
    problem = Problem(
        weights=weights,
        images=torch.randn(images, 2, 8, 8, generator=random, dtype=torch.float64),
        labels=torch.arange(images) % 3,
        learning_rate=0.05,
        batches=minibatches(images, size, steps, random),
    )
    target = weights + 0.1 * torch.randn(len(weights), generator=random, dtype=torch.float64)
    return network, problem, target


def whole_graph(network, problem: Problem, target):
    """Return loss and gradients by backpropagation through all updates at once, as MTT does."""
    images = problem.images.clone().requires_grad_()
    alpha = torch.tensor(problem.learning_rate, dtype=torch.float64, requires_grad=True)
    names, shapes = zip(*networks.parameters_of(network), strict=True)
    theta = problem.weights.clone().requires_grad_()
    for batch in problem.batches:
        pieces = torch.split(theta, [shape.numel() for shape in map(torch.Size, shapes)])
        weights = {n: p.view(s) for n, p, s in zip(names, pieces, shapes, strict=True)}
        loss = cross_entropy(functional_call(network, weights, (images[batch],)), problem.labels[batch])
        theta = theta - alpha * torch.autograd.grad(loss, theta, create_graph=True)[0]
    objective = (theta - target).square().sum() / (problem.weights - target).square().sum()
    return objective.detach(), *torch.autograd.grad(objective, (images, alpha))


def compare_with(problem: Problem, target):
    """Return the naive terminal of eq. 2."""
    distance = (problem.weights - target).square().sum()

    def terminal(final):
        loss = (final - target).square().sum() / distance
        return Match(float(loss), 2 * (final - target) / distance)

    return terminal


def relative(found, expected) -> float:
    """Return the relative error in norm."""
    return float((torch.as_tensor(found, dtype=torch.float64) - expected).norm() / expected.norm())


@pytest.mark.parametrize("steps", [1, 5, 8])
@pytest.mark.parametrize("name", ["ConvNetD2W4", "ConvNetD2W4BN", "ConvNetD2W4LN", "ConvNetD2W4GN",
                                  "ConvNetD2W4NN", "ConvNetD1W4MP", "ConvNetD1W4NP"])  # fmt: skip
def test_gradients_equal_backpropagation_through_the_whole_graph(name: str, steps: int) -> None:
    """Loss, image gradient and step size gradient are exact, with ragged batches."""
    network, problem, target = problem_of(name, steps, size=4)
    loss, images, alpha = whole_graph(network, problem, target)
    found = StepwiseUnroll(network).gradients(problem, compare_with(problem, target))
    assert abs(found.loss - float(loss)) <= 1e-12 * float(loss)
    assert relative(found.images, images) < 1e-10
    assert relative(found.learning_rate, alpha) < 1e-10


def test_image_that_is_in_no_batch_has_no_gradient() -> None:
    """Gradients go to the images of a batch, and to those alone."""
    network, problem, target = problem_of("ConvNetD1W4", steps=1, size=2)
    found = StepwiseUnroll(network).gradients(problem, compare_with(problem, target))
    unused = sorted(set(range(6)) - set(problem.batches[0].tolist()))
    assert len(unused) == 4
    assert not found.images[unused].any()
    assert found.images[problem.batches[0]].any()


def test_gradients_leave_their_input_alone() -> None:
    """Neither the weights nor the images of the problem change or gain a graph."""
    network, problem, target = problem_of("ConvNetD1W4", steps=3, size=None)
    before = problem.weights.clone(), problem.images.clone()
    StepwiseUnroll(network).gradients(problem, compare_with(problem, target))
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
            StepwiseUnroll(network).gradients(problem, compare_with(problem, target))
        return high

    assert peak(8) == peak(2) > 0


def test_minibatches_pass_over_all_images() -> None:
    """Each pass holds every image once; the remainder of a pass comes first, as in MTT."""
    batches = minibatches(10, 4, 6, generator(0))
    assert [len(batch) for batch in batches] == [2, 4, 4, 2, 4, 4]
    assert sorted(torch.cat(batches[:3]).tolist()) == list(range(10))
    assert sorted(torch.cat(batches[3:]).tolist()) == list(range(10))


def test_minibatches_larger_than_the_set() -> None:
    """A batch size above the number of images means all of them."""
    assert [len(batch) for batch in minibatches(3, 100, 2, generator(0))] == [3, 3]

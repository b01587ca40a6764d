"""On a GPU: exact gradients by every engine, captures that change nothing, and captures that fail."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from mct.data.augment import DSA, STRATEGY  # noqa: E402
from mct.errors import DivergedError  # noqa: E402
from mct.inner.graphs import GraphUnroll  # noqa: E402
from mct.inner.steps.convnet import ConvNetStep  # noqa: E402
from mct.inner.steps.narrow import NarrowStep  # noqa: E402
from mct.inner.steps.table import make_step  # noqa: E402
from mct.inner.unroll import ExactUnroll  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from tests.helpers.unrolled import compare_with, problem_of, relative, whole_graph  # noqa: E402

pytestmark = pytest.mark.cuda

CONVNETS = [f"ConvNetD2W4{norm}" for norm in ("", "BN", "LN", "GN", "NN")] + [
    "ConvNetD1W4MP",
    "ConvNetD1W4NP",
]
DSA_WITHOUT_WARP = "color_crop_cutout_flip"


def packed(step, problem, target):
    """Return a problem and a target in the packed order of a step."""
    return replace(problem, weights=step.pack(problem.weights)), step.pack(target)


def check(found, expected) -> None:
    """Require loss, image gradient and learning-rate gradient to be exact."""
    loss, images, alpha = expected
    assert abs(found.loss - float(loss)) <= 1e-11 * abs(float(loss))
    assert relative(found.images, images) < 1e-10
    assert relative(found.learning_rate, alpha) < 1e-10


@pytest.mark.parametrize("name", [*CONVNETS, "ResNet18", "MLP"])
def test_eager_is_backpropagation_through_the_whole_unroll(name: str, cuda) -> None:
    """In float64, with DSA and ragged batches."""
    side = 32 if name == "ResNet18" else 8
    network, problem, target = problem_of(name, 4, size=4, strategy=STRATEGY, device=cuda, side=side)
    if name == "ResNet18":  # at larger steps the problem itself is not well conditioned
        problem = replace(problem, learning_rate=1e-4)
    expected = whole_graph(network, problem, target)
    step = make_step(network)
    problem, target = packed(step, problem, target)
    check(ExactUnroll(step).gradients(problem, compare_with(problem, target)), expected)


@pytest.mark.parametrize(
    "options", [{}, {"keep_bytes": 1 << 30}, {"keep_bytes": 20_000}, {"step_images": 1}], ids=str
)
@pytest.mark.parametrize("name", CONVNETS)
def test_closed_is_backpropagation_through_the_whole_unroll(name: str, options, cuda) -> None:
    """Without autograd, with activations kept, partly kept, and batches computed in parts."""
    network, problem, target = problem_of(name, 5, size=4, strategy=STRATEGY, device=cuda)
    expected = whole_graph(network, problem, target)
    step = ConvNetStep(network)
    if not step.separable and "step_images" in options:
        pytest.skip("batch norm joins images")
    problem, target = packed(step, problem, target)
    check(ExactUnroll(step, **options).gradients(problem, compare_with(problem, target)), expected)


@pytest.mark.parametrize("name", ["ConvNetD2W4", "ConvNetD2W4BN", "ConvNetD1W4MP", "MLP"])
def test_compiled_and_captured_are_backpropagation_through_the_whole_unroll(
    name: str, cuda, recorder
) -> None:
    """The first problem compiles, the second is captured, the third replays; with activations kept."""
    said: list[str] = []
    network, *_ = problem_of(name, 5, size=4, device=cuda)
    step = make_step(network, engine="compiled", notes=said.append)
    plain = ExactUnroll(step, keep_bytes=1 << 30)
    # The stand-in for graphs sees operators, and compiled code for a CPU has none.
    unroll = GraphUnroll(plain, notes=said.append, recorder=recorder) if cuda.type == "cuda" else plain
    for seed in (1, 2, 3):
        _, problem, target = problem_of(name, 5, size=4, strategy=STRATEGY, device=cuda, seed=seed)
        expected = whole_graph(network, problem, target)
        problem, target = packed(step, problem, target)
        check(unroll.gradients(problem, compare_with(problem, target)), expected)
    assert said == []


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("name", CONVNETS)
def test_captured_is_uncaptured_bit_for_bit(name: str, narrow: bool, cuda, recorder) -> None:
    """In float32 and in bfloat16, for problems that differ in everything but their shapes."""
    network, *_ = problem_of(name, 5, size=4, device=cuda)
    step = ConvNetStep(network.float())
    step = NarrowStep(step) if narrow else step
    plain = ExactUnroll(step, keep_bytes=20_000)
    unroll = GraphUnroll(ExactUnroll(step, keep_bytes=20_000), notes=pytest.fail, recorder=recorder)
    for seed in (1, 2, 3, 4):
        _, problem, target = problem_of(name, 5, size=4, strategy=DSA_WITHOUT_WARP, device=cuda, seed=seed)
        wide = {key: getattr(problem, key).float() for key in ("weights", "images", "targets")}
        problem, target = packed(step, replace(problem, **wide, learning_rate=0.01 * seed), target.float())
        expected, found = (each.gradients(problem, compare_with(problem, target)) for each in (plain, unroll))
        assert (found.loss, found.learning_rate) == (expected.loss, expected.learning_rate)
        assert torch.equal(found.images, expected.images)


def test_failed_capture_falls_back_and_leaves_the_device_usable(cuda, recorder) -> None:
    """A step that waits for the device cannot be captured: one line says so, and the gradients are exact."""

    class Waiting(ConvNetStep):
        def gradient(self, theta, pixels, targets):
            found = super().gradient(theta, pixels, targets)
            float(found[0].sum())
            return found

    told: list[str] = []
    network, *_ = problem_of("ConvNetD2W4", 5, size=4, device=cuda)
    step = Waiting(network)
    unroll = GraphUnroll(ExactUnroll(step), notes=told.append, recorder=recorder)
    for seed in (1, 2, 3):
        _, problem, target = problem_of("ConvNetD2W4", 5, size=4, device=cuda, seed=seed)
        expected = whole_graph(network, problem, target)
        problem, target = packed(step, problem, target)
        check(unroll.gradients(problem, compare_with(problem, target)), expected)
    assert len(told) == 1
    assert told[0].startswith("the inner loop could not be captured and runs step by step: ")


def test_adjoint_that_is_not_finite_is_found(cuda, recorder) -> None:
    """Also in a replay, by the one value that an outer step reads."""
    network, *_ = problem_of("ConvNetD2W4", 3, size=None, device=cuda)
    step = ConvNetStep(network)
    unroll = GraphUnroll(ExactUnroll(step), notes=pytest.fail, recorder=recorder)
    _, problem, target = problem_of("ConvNetD2W4", 3, size=None, device=cuda)
    problem, target = packed(step, problem, target)
    terminal = compare_with(problem, target)
    for _ in range(2):
        unroll.gradients(problem, terminal)
    with pytest.raises(DivergedError):
        unroll.gradients(
            replace(problem, learning_rate=1e200), lambda path: replace(terminal(path), loss=1.0)
        )


@pytest.mark.parametrize("family", STRATEGY.split("_"))
def test_augmentation_equals_that_of_the_cpu(family: str, cuda) -> None:
    """The same draws give the same pixels and gradients."""
    random, dsa = generator(3), DSA(family)
    images = torch.randn(5, 3, 32, 32, generator=random, dtype=torch.float64)
    pull = torch.randn(5, 3, 32, 32, generator=random, dtype=torch.float64)
    draws, found = dsa.draw(5, 32, random), []
    for device in (torch.device("cpu"), cuda):
        leaf = images.to(device, copy=True).requires_grad_()
        out = dsa.apply(leaf, draws.to(device))
        (slope,) = torch.autograd.grad(out, leaf, pull.to(device))
        found.append((out.detach().cpu(), slope.cpu()))
    for there, here in zip(found[1], found[0], strict=True):
        assert torch.allclose(there, here, rtol=0, atol=1e-11)

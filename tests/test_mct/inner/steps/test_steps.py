"""Every backend's gradient and pull against autograd, in float64."""

import pytest

torch = pytest.importorskip("torch")

from mct.inner.steps.autograd import AutogradStep  # noqa: E402
from mct.inner.steps.closed import ClosedStep  # noqa: E402
from mct.inner.steps.compiled import CompiledStep  # noqa: E402
from mct.inner.steps.convnet import ConvNetStep  # noqa: E402
from mct.inner.steps.narrow import NarrowStep  # noqa: E402
from mct.inner.steps.step import choose  # noqa: E402
from mct.inner.steps.table import make_step  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402

FAMILY = ["ConvNetD2W8", "ConvNetD2W8BN", "ConvNetD2W8LN", "ConvNetD2W8GN", "ConvNetD2W8NN", "ConvNetD2W8MP",
          "ConvNetD2W8NP", "ConvNetD1W8GNMP", "ConvNetD3W4BN"]  # fmt: skip


def network_of(name: str, channels: int = 3, size: int = 8):
    """Return a float64 network."""
    model = networks.parse(name, channels=channels, image_size=size, classes=5)
    return networks.build(model, generator=generator(0)).double()


def inputs_of(network, channels: int = 3, size: int = 8, images: int = 6):
    """Return weights, adjoint, pixels and targets, in the order of the parameters."""
    random = generator(1)
    count = sum(value.numel() for value in network.parameters())

    def normal(*shape: int):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    theta = torch.nn.utils.parameters_to_vector(network.parameters()).detach() + 0.1 * normal(count)
    return theta, normal(count), normal(images, channels, size, size), normal(images, 5).softmax(1)


def relative(found, expected) -> float:
    """Return the relative error in norm."""
    return float((found - expected).norm() / expected.norm())


def check(step, network, given) -> None:
    """Compare gradient, logits, kept gradient, and the pull with and without what was kept."""
    theta, adjoint, pixels, targets = given
    reference = AutogradStep(network)
    start, direction = step.pack(theta), step.pack(adjoint)
    assert torch.equal(step.unpack(start), theta)
    gradient, logits = step.gradient(start, pixels, targets)
    expected, expected_logits = reference.gradient(theta, pixels, targets)
    assert relative(step.unpack(gradient), expected) < 1e-12
    assert relative(logits, expected_logits) < 1e-12
    again, kept = step.keep(start, pixels, targets)
    assert relative(again, gradient) < 1e-12
    wanted = reference.pull(theta, adjoint, pixels, targets)
    for memory in ((), kept):
        inner, curvature, pull = step.pull(start, direction, pixels, targets, memory)
        assert float(inner) == pytest.approx(float(wanted[0]), rel=1e-11)
        assert relative(step.unpack(curvature), wanted[1]) < 1e-12
        assert relative(pull, wanted[2]) < 1e-12


@pytest.mark.parametrize("name", FAMILY)
def test_closed_functions_of_the_convnet_family_are_autograds(name: str) -> None:
    """Gradient, curvature and pull are those of autograd, for every norm and pooling."""
    network = network_of(name)
    check(ConvNetStep(network), network, inputs_of(network))


@pytest.mark.parametrize(
    ("name", "channels", "size"), [("ConvNetD2W4", 1, 28), ("ConvNetD2W4", 3, 9), ("ConvNetD2W4MP", 3, 11)]
)
def test_closed_functions_take_other_shapes(name: str, channels: int, size: int) -> None:
    """MNIST's padding, and sides that 2x2 windows do not divide."""
    network = network_of(name, channels, size)
    check(ConvNetStep(network), network, inputs_of(network, channels, size))


@pytest.mark.parametrize("name", ["ConvNetD1W4", "ConvNetD1W4BN", "ConvNetD1W4MP"])
def test_functional_derivatives_are_autograds(name: str) -> None:
    """The closed functions of any network agree too."""
    network = network_of(name)
    check(ClosedStep(network), network, inputs_of(network))


def test_functional_derivatives_of_a_large_network() -> None:
    """Depth and maximum pooling: VGG11."""
    network = network_of("VGG11", size=32)
    check(ClosedStep(network), network, inputs_of(network, size=32, images=2))


def test_bias_before_a_norm_has_no_gradient() -> None:
    """It is exactly zero where the norm subtracts it, and not before group norm."""
    for name, dead in (("ConvNetD1W8", True), ("ConvNetD1W8BN", True), ("ConvNetD1W8GN", False)):
        network = network_of(name)
        theta, _, pixels, targets = inputs_of(network)
        step = ConvNetStep(network)
        gradient = step.unpack(step.gradient(step.pack(theta), pixels, targets)[0])
        kernel = network.features[0].weight.numel()
        assert bool(gradient[kernel : kernel + 8].any()) != dead


def test_batch_norm_joins_images() -> None:
    """Only batch norm keeps a batch from being computed in parts."""
    for name in FAMILY:
        network = network_of(name)
        separable = not name.endswith("BN")
        assert ConvNetStep(network).separable == AutogradStep(network).separable == separable


@pytest.mark.parametrize("name", ["ConvNetD1W4", "MLP"])
def test_compiled_functions_are_autograds(name: str) -> None:
    """What the compiler makes of the closed functions computes the same; another size compiles again."""
    told: list[str] = []
    layers = torch.nn.Flatten(), torch.nn.Linear(192, 7), torch.nn.Tanh(), torch.nn.Linear(7, 5)
    network = torch.nn.Sequential(*layers).double() if name == "MLP" else network_of(name)
    step = make_step(network, engine="compiled", notes=told.append)
    assert isinstance(step, CompiledStep)
    check(step, network, inputs_of(network))
    theta, _, pixels, targets = inputs_of(network, images=4)
    gradient, _ = step.gradient(step.pack(theta), pixels, targets)
    expected, _ = AutogradStep(network).gradient(theta, pixels, targets)
    assert relative(step.unpack(gradient), expected) < 1e-12
    assert not told


class Stubborn(torch.nn.Module):
    """A network that no compiler takes: it looks at a number."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(192, 5)

    def forward(self, images):
        """Return logits that depend on a Python number."""
        return self.linear(images.flatten(1)) * (1.0 if float(images.detach().mean()) > -9 else 2.0)


def test_network_that_cannot_be_compiled_runs_uncompiled() -> None:
    """It gives the same, and one line says why."""
    told: list[str] = []
    network = Stubborn().double()
    step = make_step(network, engine="compiled", notes=told.append)
    check(step, network, inputs_of(network))
    assert len(told) == 1
    assert told[0].startswith("the network could not be compiled and runs uncompiled: ")
    assert "\n" not in told[0]


def test_bfloat16_is_near() -> None:
    """A narrow step answers in the dtype of the weights, a few parts in a hundred off, for any adjoint."""
    network = network_of("ConvNetD1W8", size=16).float()
    theta, adjoint, pixels, targets = (value.float() for value in inputs_of(network, size=16))
    step, narrow = ConvNetStep(network), NarrowStep(ConvNetStep(network))
    start = step.pack(theta)
    for size in (1.0, 1e-30):
        expected = step.pull(start, adjoint * size, pixels, targets)
        found = narrow.pull(start, adjoint * size, pixels, targets)
        assert all(value.dtype == torch.float32 for value in found)
        assert 0 < relative(found[1] / size, expected[1] / size) < 0.1
        assert 0 < relative(found[2] / size, expected[2] / size) < 0.1


def test_engine_is_chosen_by_network_device_and_updates() -> None:
    """Short runs are not worth a compilation, other networks only on a GPU; what is asked for stands."""
    convnet = networks.parse("ConvNet", channels=3, image_size=32, classes=5)
    residual = networks.parse("ResNet18", channels=3, image_size=32, classes=5)
    assert choose("auto", 4_999, convnet) == "eager"
    assert choose("auto", 5_000, convnet) == "compiled"
    assert choose("auto", 5_000, residual) == "eager"
    assert choose("auto", 5_000, residual, "cuda:0") == "compiled"
    assert choose("compiled", 1, residual) == "compiled"
    assert choose("eager", 9_999, convnet) == "eager"

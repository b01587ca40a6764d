"""AlexNet, VGG11 and ResNet18 of MTT: names, shapes, counts, sizes of images, initialisation, gradients."""

import math

import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.errors import ConfigError  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from tests.helpers.networks import build, shared  # noqa: E402
from trajfmt.schema import models  # noqa: E402

NAMES = ["AlexNet", "VGG11", "VGG11BN", "ResNet18", "ResNet18BN", "ResNet18_AP", "ResNet18BN_AP"]


@pytest.mark.parametrize(("name", "channels", "size", "count"), [
    ("AlexNet", 3, 32, 1_872_202),
    ("AlexNet", 1, 28, 1_865_802),
    ("VGG11", 3, 32, 9_231_114),
    ("VGG11BN", 3, 32, 9_231_114),
    ("VGG11", 1, 28, 9_229_962),
    ("ResNet18", 3, 32, 11_173_962),
    ("ResNet18BN", 3, 32, 11_173_962),
    ("ResNet18", 1, 28, 11_172_810),
    ("ResNet18_AP", 3, 32, 11_250_762),
    ("ResNet18BN_AP", 3, 32, 11_250_762),
    ("ResNet18_AP", 1, 28, 11_213_770),
])  # fmt: skip
def test_counts_forms_and_names(name: str, channels: int, size: int, count: int) -> None:
    """Counts of MTT's networks, logits, and the names that trajfmt gives the same shapes in a buffer."""
    network = shared(name, channels=channels, size=size)
    assert networks.flatten(network).numel() == count
    assert network(torch.zeros(2, channels, size, size)).shape == (2, 10)
    entries = networks.parameters_of(network)
    found = models.recognise([shape for _, shape in entries])
    assert found is not None
    model = networks.parse(name, channels=channels, image_size=size, classes=10)
    assert (found[0].family, found[0].channels, found[0].classes) == (model.family, channels, 10)
    assert found[1] == [key for key, _ in entries]
    networks.check_layout(network, trajfmt.ParamLayout.of(entries))


@pytest.mark.parametrize("name", NAMES)
def test_name_and_back(name: str) -> None:
    """MTT's name survives parsing, with nothing of a ConvNet in the model."""
    model = networks.parse(name, channels=3, image_size=32, classes=10)
    assert models.model_name(model) == name
    assert (model.depth, model.width, model.pooling, model.factory) == (None, None, None, None)
    assert networks.unknown(model) == []


@pytest.mark.parametrize(("name", "channels", "least", "most"), [
    ("AlexNet", 3, 32, 39),
    ("AlexNet", 1, 28, 35),
    ("VGG11", 3, 32, 63),
    ("VGG11", 1, 28, 59),
    ("ResNet18", 3, 25, 56),
    ("ResNet18_AP", 3, 32, 39),
    ("ResNet18_AP", 1, 24, 31),
])  # fmt: skip
def test_sizes_of_images_are_those_that_mtts_classifier_fits(
    name: str, channels: int, least: int, most: int
) -> None:
    """Smallest and largest image run; one pixel less or more is refused, and the range is named."""
    network = shared(name, channels=channels, size=28 if channels == 1 else 32)
    for size in (least, most):
        assert network(torch.zeros(1, channels, size, size)).shape == (1, 10)
    for size in (least - 1, most + 1):
        with pytest.raises(ConfigError, match=f"{least}x{least} to {most}x{most}.*got {size}x{size}"):
            build(name, channels=channels, size=size)


@pytest.mark.parametrize(("name", "key", "fan_in"), [
    ("AlexNet", "features.3.weight", 128 * 25),
    ("VGG11", "features.25.weight", 512 * 9),
    ("ResNet18", "layer4.0.shortcut.0.weight", 256),
])  # fmt: skip
def test_initialisation_has_pytorchs_bounds_and_the_generators_values(
    name: str, key: str, fan_in: int
) -> None:
    """Uniform in 1/sqrt(fan_in), the same for the same seed, the global generator untouched."""
    before = torch.random.get_rng_state()
    one, same, other = (build(name, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(networks.flatten(one), networks.flatten(same))
    assert not torch.equal(networks.flatten(one), networks.flatten(other))
    weight, bound = one.get_parameter(key).detach(), 1 / math.sqrt(fan_in)
    assert 0.999 * bound < float(weight.abs().max()) <= bound
    assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.01)


@pytest.mark.parametrize("name", ["AlexNet", "VGG11", "ResNet18", "ResNet18BN_AP"])
def test_gradient_of_a_step_reaches_the_images(name: str) -> None:
    """One step of SGD on the images, then the loss after it: both orders of differentiation work."""
    network = build(name)
    images = torch.randn(2, 3, 32, 32, generator=generator(1)).requires_grad_()
    labels = torch.tensor([0, 1])
    weights = dict(network.named_parameters())

    def loss(values: dict[str, torch.Tensor]) -> torch.Tensor:
        logits = torch.func.functional_call(network, values, (images,))
        return torch.nn.functional.cross_entropy(logits, labels)

    slopes = torch.autograd.grad(loss(weights), list(weights.values()), create_graph=True)
    after = {key: value - 0.01 * slope for (key, value), slope in zip(weights.items(), slopes, strict=True)}
    (found,) = torch.autograd.grad(sum(value.square().sum() for value in after.values()), images)
    assert bool(found.isfinite().all())
    assert float(found.abs().max()) > 0


@pytest.mark.parametrize(("facts", "message"), [
    ({"family": "VGG11", "norm": "layer"}, "`norm` of VGG11 must be instance or batch"),
    ({"family": "AlexNet", "norm": "batch"}, "`norm` of AlexNet must be none"),
    ({"family": "ResNet18", "norm": "batch", "pooling": "max"}, "`pooling` must be unset"),
    ({"family": "ResNet18"}, "cannot be built without knowing its norm"),
    ({"family": "other"}, "cannot be built without knowing its factory"),
])  # fmt: skip
def test_model_that_cannot_be_built_is_refused(facts: dict[str, str], message: str) -> None:
    """A manifest may say what no network of ours is."""
    model = trajfmt.Model(channels=3, classes=10, image_size=32, **facts)
    with pytest.raises(ConfigError, match=message):
        networks.build(model, generator=generator(0))

"""AlexNet, VGG11 and ResNet18 of MTT: names, shapes, counts, sizes of images, initialisation, gradients."""

import functools
import math

import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.errors import ConfigError  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.models.architectures.resnet import Block  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from trajfmt.schema import models  # noqa: E402

NAMES = ["AlexNet", "VGG11", "VGG11BN", "ResNet18", "ResNet18BN", "ResNet18_AP", "ResNet18BN_AP"]


def build(
    name: str, *, channels: int = 3, size: int = 32, classes: int = 10, seed: int = 0
) -> torch.nn.Module:
    """Return a network by name."""
    model = networks.parse(name, channels=channels, image_size=size, classes=classes)
    return networks.build(model, generator=generator(seed))


shared = functools.cache(build)
"""The same, for tests that only look at it."""


def test_alexnet_is_mtts() -> None:
    """All twelve tensors of MTT's AlexNet, in order."""
    assert networks.parameters_of(shared("AlexNet")) == [
        ("features.0.weight", (128, 3, 5, 5)),
        ("features.0.bias", (128,)),
        ("features.3.weight", (192, 128, 5, 5)),
        ("features.3.bias", (192,)),
        ("features.6.weight", (256, 192, 3, 3)),
        ("features.6.bias", (256,)),
        ("features.8.weight", (192, 256, 3, 3)),
        ("features.8.bias", (192,)),
        ("features.10.weight", (192, 192, 3, 3)),
        ("features.10.bias", (192,)),
        ("fc.weight", (10, 3072)),
        ("fc.bias", (10,)),
    ]


@pytest.mark.parametrize("name", ["VGG11", "VGG11BN"])
def test_vgg11_is_mtts(name: str) -> None:
    """Eight convolutions with a norm behind each, at the places where pooling leaves them."""
    widths = [3, 64, 128, 256, 256, 512, 512, 512, 512]
    expected = []
    for at, incoming, width in zip((0, 4, 8, 11, 15, 18, 22, 25), widths, widths[1:], strict=False):
        expected += [(f"features.{at}.weight", (width, incoming, 3, 3)), (f"features.{at}.bias", (width,))]
        expected += [(f"features.{at + 1}.weight", (width,)), (f"features.{at + 1}.bias", (width,))]
    expected += [("classifier.weight", (10, 512)), ("classifier.bias", (10,))]
    assert networks.parameters_of(shared(name)) == expected


@pytest.mark.parametrize(("name", "place"), [("ResNet18", 1), ("ResNet18_AP", 2)])
def test_resnet18_is_mtts(name: str, place: int) -> None:
    """The first stages in full: no biases of convolutions, the shortcut's norm behind its pooling."""
    found = networks.parameters_of(shared(name))
    assert len(found) == 62
    norm = [("bn1.weight", (64,)), ("bn1.bias", (64,)), ("bn2.weight", (64,)), ("bn2.bias", (64,))]
    block = [("conv1.weight", (64, 64, 3, 3)), *norm[:2], ("conv2.weight", (64, 64, 3, 3)), *norm[2:]]
    assert found[:15] == [
        ("conv1.weight", (64, 3, 3, 3)),
        *norm[:2],
        *((f"layer1.0.{key}", shape) for key, shape in block),
        *((f"layer1.1.{key}", shape) for key, shape in block),
    ]
    assert found[15] == ("layer2.0.conv1.weight", (128, 64, 3, 3))
    assert found[21:24] == [
        ("layer2.0.shortcut.0.weight", (128, 64, 1, 1)),
        (f"layer2.0.shortcut.{place}.weight", (128,)),
        (f"layer2.0.shortcut.{place}.bias", (128,)),
    ]
    assert found[-2:] == [
        ("classifier.weight", (10, 512 if place == 1 else 8192)),
        ("classifier.bias", (10,)),
    ]


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


@pytest.mark.parametrize("name", ["AlexNet", "VGG11"])
def test_one_channel_of_28_pixels_is_padded_to_32(name: str) -> None:
    """MTT's padding of the first convolution; colour images keep their size."""
    for channels, size in ((1, 28), (3, 32)):
        first = shared(name, channels=channels, size=size).features[0]
        assert first(torch.zeros(1, channels, size, size)).shape[2:] == (32, 32)


@pytest.mark.parametrize(("name", "kind"), [
    ("VGG11", "GroupNorm"),
    ("ResNet18_AP", "GroupNorm"),
    ("VGG11BN", "BatchNorm2d"),
    ("ResNet18BN", "BatchNorm2d"),
])  # fmt: skip
def test_norms(name: str, kind: str) -> None:
    """Instance norm is one group per channel; batch norm starts with mean 0, variance 1, weights 1 and 0."""
    norms = [module for module in shared(name).modules() if "Norm" in type(module).__name__]
    assert {type(norm).__name__ for norm in norms} == {kind}
    assert all(bool((norm.weight == 1).all()) and bool((norm.bias == 0).all()) for norm in norms)
    if kind == "GroupNorm":
        assert all(norm.num_groups == norm.num_channels for norm in norms)
    else:
        fresh = build(name).modules()
        states = [module for module in fresh if type(module).__name__ == kind]
        assert all(bool((norm.running_mean == 0).all()) for norm in states)
        assert all(bool((norm.running_var == 1).all()) and norm.num_batches_tracked == 0 for norm in states)


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


@pytest.mark.parametrize("average", [False, True])
def test_block_without_its_convolutions_is_the_shortcut(average: bool) -> None:
    """With zero 3x3 convolutions a block is relu(x), or relu(norm(halved 1x1 convolution))."""
    images = torch.randn(2, 4, 6, 6, generator=generator(0)).double()
    for halve, width in ((False, 4), (True, 8)):
        block = Block(4, width, halve=halve, norm="instance", average=average).double()
        torch.nn.init.zeros_(block.conv1.weight)
        torch.nn.init.zeros_(block.conv2.weight)
        expected = images
        if halve:
            weight = torch.randn(8, 4, 1, 1, generator=generator(1)).double()
            block.shortcut[0].weight.data.copy_(weight)
            part = torch.einsum("oi,bihw->bohw", weight[:, :, 0, 0], images)
            part = part.reshape(2, 8, 3, 2, 3, 2).mean((3, 5)) if average else part[:, :, ::2, ::2]
            mean, var = part.mean((2, 3), keepdim=True), part.var((2, 3), correction=0, keepdim=True)
            expected = (part - mean) / (var + 1e-5).sqrt()
        torch.testing.assert_close(block(images), expected.clamp(min=0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("facts", "message"), [
    ({"family": "VGG11", "norm": "layer"}, "`norm` of VGG11 must be instance or batch"),
    ({"family": "AlexNet", "norm": "batch"}, "`norm` of AlexNet must be none"),
    ({"family": "ResNet18", "norm": "batch", "pooling": "max"}, "pooling cannot be chosen"),
    ({"family": "ResNet18"}, "norm is not"),
    ({"family": "other"}, "factory is not"),
])  # fmt: skip
def test_model_that_cannot_be_built_is_refused(facts: dict[str, str], message: str) -> None:
    """A manifest may say what no network of ours is."""
    model = trajfmt.Model(channels=3, classes=10, image_size=32, **facts)
    with pytest.raises(ConfigError, match=message):
        networks.build(model, generator=generator(0))

"""Names, order, shapes and initialisation of the ConvNet family; fit to a bundle."""

import math

import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.errors import ConfigError, MismatchError  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from trajfmt.schema import models  # noqa: E402


def build(name: str, *, channels: int = 3, size: int = 32, seed: int = 0) -> networks.ConvNet:
    """Return a network by name."""
    model = networks.parse(name, channels=channels, image_size=size, classes=10)
    return networks.build(model, generator=generator(seed))


def test_cifar_network_is_mtts() -> None:
    """Names, order and shapes are those of the 14 tensors in MTT's CIFAR-10 buffers."""
    found = networks.parameters_of(build("ConvNet"))
    expected = []
    for conv, incoming in ((0, 3), (4, 128), (8, 128)):
        expected += [(f"features.{conv}.weight", (128, incoming, 3, 3)), (f"features.{conv}.bias", (128,))]
        expected += [
            (f"features.{conv + 1}.weight", (128,)),
            (f"features.{conv + 1}.bias", (128,)),
        ]
    expected += [("classifier.weight", (10, 2048)), ("classifier.bias", (10,))]
    assert found == expected
    assert sum(math.prod(shape) for _, shape in found) == 320_010


@pytest.mark.parametrize(("name", "channels", "size", "count"), [
    ("ConvNetD4", 3, 64, 857_160 - 190 * 2049),  # MTT's Tiny network has 200 classes, here 10
    ("ConvNetD5", 3, 128, 615_690),
    ("ConvNet", 1, 28, 317_706),
])  # fmt: skip
def test_sizes_of_mtts_other_networks(name: str, channels: int, size: int, count: int) -> None:
    """Parameter counts of the published buffers, with ten classes."""
    assert networks.flatten(build(name, channels=channels, size=size)).numel() == count


@pytest.mark.parametrize("name", ["ConvNetD2W8", "ConvNetD2W8BN", "ConvNetD2W8LN", "ConvNetD2W8GN",
                                  "ConvNetD2W8NN", "ConvNetD2W8MP", "ConvNetD2W8NP"])  # fmt: skip
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (1, 28), (3, 32)])
def test_forward_of_every_variant(name: str, channels: int, size: int) -> None:
    """Every norm and pooling maps images to logits."""
    logits = build(name, channels=channels, size=size)(torch.zeros(2, channels, size, size))
    assert logits.shape == (2, 10)


def test_instance_norm_is_group_norm_per_channel() -> None:
    """The norm that MTT calls instance norm is GroupNorm with as many groups as channels."""
    norm = build("ConvNetW8").features[1]
    assert isinstance(norm, torch.nn.GroupNorm)
    assert norm.num_groups == 8


def test_initialisation_has_pytorchs_bounds_and_the_generators_values() -> None:
    """Weights and biases are uniform in 1/sqrt(fan_in); the global generator is not touched."""
    before = torch.random.get_rng_state()
    one, same, other = build("ConvNet"), build("ConvNet"), build("ConvNet", seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(networks.flatten(one), networks.flatten(same))
    assert not torch.equal(networks.flatten(one), networks.flatten(other))
    bound = 1 / math.sqrt(128 * 9)
    weight = one.features[4].weight
    assert 0.999 * bound < float(weight.detach().abs().max()) <= bound
    assert float(weight.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.01)
    assert torch.equal(one.features[1].weight, torch.ones(128))


@pytest.mark.parametrize("name", ["ConvNetD3W128", "ConvNetD2W32BN", "ConvNetD4W64LNMP", "ConvNetD1W8NNNP"])
def test_name_and_back(name: str) -> None:
    """A full name survives parsing."""
    assert models.model_name(networks.parse(name, channels=3, image_size=32, classes=10)) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ConvNetX",
        "ConvNetD",
        "ResNet34",
        "VGG11AP",
        "ConvNetD3W32 ",
        "ConvNetD0",
        "ConvNetW0",
        "a.b",
        "a:b:c",
    ],
)
def test_unknown_name_is_refused(name: str) -> None:
    """What is not of the family is one clear error."""
    with pytest.raises(ConfigError, match="`model`"):
        networks.parse(name, channels=3, image_size=32, classes=10)


def test_depth_that_leaves_no_pixels_is_refused() -> None:
    """8x8 images cannot be halved four times."""
    with pytest.raises(ConfigError, match="smaller depth"):
        build("ConvNetD4", channels=1, size=8)


def test_model_with_an_unknown_fact_is_refused() -> None:
    """Norm and pooling are not guessed."""
    model = trajfmt.Model(family="ConvNet", depth=2, width=8, channels=1, classes=10, image_size=8)
    with pytest.raises(ConfigError, match="must be known"):
        networks.build(model, generator=generator(0))


def test_group_norm_needs_four_groups() -> None:
    """A width that four does not divide is refused before torch complains."""
    with pytest.raises(ConfigError, match="4 groups"):
        build("ConvNetW6GN")


def test_layout_that_fits_passes(network: networks.ConvNet) -> None:
    """Equal names and shapes fit, and so do the names of an unrecognised source."""
    entries = networks.parameters_of(network)
    networks.check_layout(network, trajfmt.ParamLayout.of(entries))
    anonymous = [(f"param.{n:03d}", shape) for n, (_, shape) in enumerate(entries)]
    networks.check_layout(network, trajfmt.ParamLayout.of(anonymous))
    wrapped = [(f"model.{name}", shape) for name, shape in entries]
    networks.check_layout(network, trajfmt.ParamLayout.of(wrapped))


@pytest.mark.parametrize(("change", "message"), [
    (lambda entries: entries[:-1], "10 parameter tensors, the bundle 9"),
    (lambda entries: [*entries[:3], ("features.1.bias", (5,)), *entries[4:]], "parameter 3.*(4,).*(5,)"),
    (lambda entries: [("conv.weight", entries[0][1]), *entries[1:]], "parameter 0.*features.0.weight.*conv"),
])  # fmt: skip
def test_first_difference_to_a_layout_is_named(network: networks.ConvNet, change, message: str) -> None:
    """Count, shape or name: the first parameter that differs, and both versions."""
    layout = trajfmt.ParamLayout.of(change(networks.parameters_of(network)))
    with pytest.raises(MismatchError, match=message):
        networks.check_layout(network, layout)

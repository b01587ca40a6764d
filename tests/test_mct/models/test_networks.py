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


@pytest.mark.parametrize(("name", "channels", "size", "count"), [
    ("ConvNetD4", 3, 64, 857_160 - 190 * 2049),  # MTT's Tiny network has 200 classes, here 10
    ("ConvNetD5", 3, 128, 615_690),
    ("ConvNet", 1, 28, 317_706),
])  # fmt: skip
def test_sizes_of_mtts_other_networks(name: str, channels: int, size: int, count: int) -> None:
    """Parameter counts of the published buffers, with ten classes."""
    assert networks.flatten(build(name, channels=channels, size=size)).numel() == count


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


def test_model_with_an_unknown_fact_is_refused() -> None:
    """Norm and pooling are not guessed."""
    model = trajfmt.Model(family="ConvNet", depth=2, width=8, channels=1, classes=10, image_size=8)
    with pytest.raises(ConfigError, match="cannot be built without knowing"):
        networks.build(model, generator=generator(0))


def test_layout_that_fits_passes(network: networks.ConvNet) -> None:
    """Equal names and shapes fit, and so do the names of an unrecognised source."""
    entries = networks.parameters_of(network)
    networks.check_layout(network, trajfmt.ParamLayout.of(entries))
    anonymous = [(f"param.{n:03d}", shape) for n, (_, shape) in enumerate(entries)]
    networks.check_layout(network, trajfmt.ParamLayout.of(anonymous))
    wrapped = [(f"model.{name}", shape) for name, shape in entries]
    networks.check_layout(network, trajfmt.ParamLayout.of(wrapped))


@pytest.mark.parametrize(("change", "message"), [
    (lambda entries: entries[:-1], "10 parameter tensors, but the bundle has 9"),
    (lambda entries: [*entries[:3], ("features.1.bias", (5,)), *entries[4:]], "parameter 3.*(4,).*(5,)"),
    (lambda entries: [("conv.weight", entries[0][1]), *entries[1:]], "parameter 0.*features.0.weight.*conv"),
])  # fmt: skip
def test_first_difference_to_a_layout_is_named(network: networks.ConvNet, change, message: str) -> None:
    """Count, shape or name: the first parameter that differs, and both versions."""
    layout = trajfmt.ParamLayout.of(change(networks.parameters_of(network)))
    with pytest.raises(MismatchError, match=message):
        networks.check_layout(network, layout)

"""MTT's ConvNet."""

import math

import pytest

torch = pytest.importorskip("torch")
from mct.errors import ConfigError  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402


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


def test_depth_that_leaves_no_pixels_is_refused() -> None:
    """8x8 images cannot be halved four times."""
    with pytest.raises(ConfigError, match="smaller depth"):
        build("ConvNetD4", channels=1, size=8)


def test_group_norm_needs_four_groups() -> None:
    """A width that four does not divide is refused before torch complains."""
    with pytest.raises(ConfigError, match="4 groups"):
        build("ConvNetW6GN")

"""MTT's AlexNet."""

import pytest

torch = pytest.importorskip("torch")
from mct.models import networks  # noqa: E402
from tests.helpers.networks import shared  # noqa: E402


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


@pytest.mark.parametrize("name", ["AlexNet", "VGG11"])
def test_one_channel_of_28_pixels_is_padded_to_32(name: str) -> None:
    """MTT's padding of the first convolution; colour images keep their size."""
    for channels, size in ((1, 28), (3, 32)):
        first = shared(name, channels=channels, size=size).features[0]
        assert first(torch.zeros(1, channels, size, size)).shape[2:] == (32, 32)

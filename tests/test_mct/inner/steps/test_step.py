"""The choice between compiling and not."""

import pytest

torch = pytest.importorskip("torch")
from mct.inner.steps.step import choose  # noqa: E402
from mct.models import networks  # noqa: E402


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

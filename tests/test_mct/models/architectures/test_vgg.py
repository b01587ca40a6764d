"""MTT's VGG11."""

import pytest

torch = pytest.importorskip("torch")
from mct.models import networks  # noqa: E402
from tests.helpers.networks import shared  # noqa: E402


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

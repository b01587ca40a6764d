"""The choice of a step for a network."""

import pytest

torch = pytest.importorskip("torch")

from mct.inner.steps.autograd import AutogradStep  # noqa: E402
from mct.inner.steps.compiled import CompiledStep  # noqa: E402
from mct.inner.steps.table import choose, make_step  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402


@pytest.mark.parametrize("name", ["ConvNetD1W4", "AlexNet"])
@pytest.mark.parametrize(("engine", "kind"), [("eager", AutogradStep), ("compiled", CompiledStep)])
def test_engine_decides(name: str, engine, kind: type) -> None:
    """Autograd where nothing is compiled; by default nothing is."""
    model = networks.parse(name, channels=3, image_size=32, classes=5)
    network = networks.build(model, generator=generator(0))
    assert type(make_step(network, engine=engine)) is kind
    assert type(make_step(network)) is AutogradStep


def test_packed_order_is_the_convnets_own() -> None:
    """Compiled steps of the family lay kernels out channels last; packing loses nothing."""
    model = networks.parse("ConvNetD2W4", channels=3, image_size=8, classes=5)
    network = networks.build(model, generator=generator(0))
    theta = torch.arange(networks.flatten(network).numel(), dtype=torch.float32)
    step = make_step(network, engine="compiled")
    packed = step.pack(theta)
    assert not torch.equal(packed, theta)
    assert torch.equal(step.unpack(packed), theta)


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

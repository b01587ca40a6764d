"""The choice of a step for a network."""

import pytest

torch = pytest.importorskip("torch")

from mct.inner.steps.autograd import AutogradStep  # noqa: E402
from mct.inner.steps.compiled import CompiledStep  # noqa: E402
from mct.inner.steps.table import make_step  # noqa: E402
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

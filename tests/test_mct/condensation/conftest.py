"""Small scenes in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from mct.condensation.method import Scene


@pytest.fixture
def scene_of() -> Callable[..., Scene]:
    """Return a function that makes a scene of three classes of random 8x8 images, two synthetic ones each."""
    import torch

    from mct.condensation.method import Scene
    from mct.condensation.real import ClassImages
    from mct.models import networks
    from mct.runtime.clock import Clock
    from mct.settings.condensation import Condensation

    def make(model: str = "ConvNetD2W3", augment: Any = None, **settings: Any) -> Scene:
        random = torch.Generator().manual_seed(4)
        images = torch.randn(3 * 20, 2, 8, 8, generator=random, dtype=torch.float64)
        known = networks.parse(model, channels=2, image_size=8, classes=3)

        def fresh(generator: torch.Generator) -> torch.nn.Module:
            return networks.build(known, generator=generator).double().train()

        return Scene(
            real=ClassImages(images, torch.arange(60) % 3, 3),
            ipc=2,
            fresh=fresh,
            augment=augment,
            settings=Condensation(**{"class_batch": 5, "net_batch": 4, **settings}),
            clock=Clock(),
        )

    return make


@pytest.fixture
def synthetic() -> Any:
    """Return six synthetic images in float64, sorted by class."""
    import torch

    return torch.randn(6, 2, 8, 8, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


@pytest.fixture
def check_gradient() -> Callable[[Any, Scene, Any], None]:
    """Return a check of the gradient of a method against central differences, with the same draws."""
    import torch

    def check(method: Any, scene: Scene, synthetic: torch.Tensor) -> None:
        network = scene.fresh(torch.Generator().manual_seed(0))

        def at(images: torch.Tensor) -> Any:
            return method.gradient(scene, network, images, torch.Generator().manual_seed(2))

        _, slope = at(synthetic)
        way = torch.randn(synthetic.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        way *= 1e-5 / way.norm()
        expected = (at(synthetic + way)[0] - at(synthetic - way)[0]) / 2
        assert float((slope * way).sum()) == pytest.approx(float(expected), rel=1e-5)

    return check

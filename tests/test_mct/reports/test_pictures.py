"""Images as small pictures."""

import io

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from PIL import Image  # noqa: E402

from mct.reports.pictures import pictures  # noqa: E402


def _opened(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGBA"))


def test_pixels_are_those_of_the_images() -> None:
    """Side by side with a transparent line between them, clipped to [0, 1], grey as three channels."""
    pixels = torch.rand((4, 1, 5, 6), generator=torch.Generator().manual_seed(0)) * 1.4 - 0.2
    first, second = pictures(pixels, torch.tensor([0, 0, 1, 1]), classes=2)
    array = _opened(second.png)
    expected = (pixels.clamp(0, 1) * 255).round().numpy()
    assert array.shape == (5, 13, 4)
    for channel in range(3):
        np.testing.assert_array_equal(array[:, :6, channel], expected[2, 0])
        np.testing.assert_array_equal(array[:, 7:, channel], expected[3, 0])
    assert not array[:, 6, 3].any()
    assert (first.label, second.label, second.images) == (0, 1, 2)
    assert (second.width, second.height) == (13 * 13, 5 * 13)


def test_colours_keep_their_order() -> None:
    """Red stays red."""
    pixels = torch.zeros((1, 3, 4, 4))
    pixels[:, 0] = 1
    (found,) = pictures(pixels, torch.tensor([0]), classes=1)
    assert _opened(found.png)[0, 0].tolist() == [255, 0, 0, 255]


@pytest.mark.parametrize(("classes", "size"), [(100, 32), (40, 64), (10, 224)])
def test_pictures_keep_to_the_budget(classes: int, size: int) -> None:
    """Noise, which cannot be compressed, of many classes; at least one image of at least one class."""
    shape = (classes * 2, 3, size, size)
    pixels = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(classes).repeat_interleave(2)
    found = pictures(pixels, labels, classes=classes, budget=100_000)
    assert found[0].label == 0
    assert sum(len(picture.png) for picture in found) < 130_000
    assert len({picture.label for picture in found}) == len(found)

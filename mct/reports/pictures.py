"""The images of a run as small PNG pictures, one for each class."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image
from torch import Tensor

BUDGET: Final = 1_100_000
"""Bytes of a page that the images of all runs may take, approximately."""

_LARGEST: Final = 96
"""Images with more pixels in a row are shown at a lower resolution."""

_MOST: Final = 10
"""Images of a class that are shown at most."""

_GAP: Final = 1
"""Transparent pixels between images."""


@dataclass(frozen=True, slots=True)
class Picture:
    """The first images of a class, side by side."""

    label: int
    """Number of the class."""

    images: int
    """Number of images in the picture."""

    png: bytes
    width: int
    """Width in pixels of the page."""

    height: int


def pictures(pixels: Tensor, labels: Tensor, *, classes: int, budget: int = BUDGET) -> list[Picture]:
    """Return a picture for every class, or for as many as fit the budget, evenly spread.

    Args:
        pixels: `(N, C, H, W)` in [0, 1], with C = 1 or 3.
        labels: `(N,)` class numbers.
        classes: Number of classes.
        budget: Bytes that all pictures may take, approximately.
    """
    _, channels, height, width = pixels.shape
    shown = min(1.0, _LARGEST / max(height, width))
    each = max(1, int(1.4 * channels * height * width * shown**2) + 60)
    members = [(labels == label).nonzero()[:, 0].tolist() for label in range(classes)]
    most = min(_MOST, max(map(len, members), default=1))
    present = [label for label in range(classes) if members[label]]
    count = max(1, min(most, budget // (each * max(1, len(present)))))
    fitting = max(1, min(len(present), budget // (each * count)))
    chosen = [present[i * len(present) // fitting] for i in range(fitting)]
    return [_strip(pixels, label, members[label][:count], shown) for label in chosen]


def _strip(pixels: Tensor, label: int, members: Sequence[int], scale: float) -> Picture:
    images = [_image(pixels[member], scale) for member in members]
    width, height = images[0].size
    strip = Image.new("RGBA", (len(images) * (width + _GAP) - _GAP, height), (0, 0, 0, 0))
    for number, image in enumerate(images):
        strip.paste(image, (number * (width + _GAP), 0))
    buffer = io.BytesIO()
    strip.save(buffer, format="PNG", optimize=True)
    enlarged = max(1, round(80 / width))
    return Picture(label, len(images), buffer.getvalue(), strip.width * enlarged, strip.height * enlarged)


def _image(pixels: Tensor, scale: float) -> Image.Image:
    """Return one image `(C, H, W)` in [0, 1], at a lower resolution if it is large."""
    array = (pixels.clamp(0, 1) * 255).round().byte().cpu().numpy()
    array = np.broadcast_to(array, (3, *array.shape[1:])).transpose(1, 2, 0)
    image = Image.fromarray(np.ascontiguousarray(array), "RGB")
    if scale < 1:
        image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    return image.convert("RGBA")

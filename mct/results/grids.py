"""Arranging images in a grid, and encoding it as PNG."""

import io
import math

import numpy as np
from PIL import Image
from torch import Tensor

_TARGET = 64
"""Smallest width of an image in the grid, in pixels. Smaller images are enlarged by a whole factor."""

_GAP = 2
"""Width of the white lines between images, in pixels."""


def grid(pixels: Tensor, *, columns: int, smallest: int = _TARGET) -> Image.Image:
    """Arrange images in a grid, row by row, and enlarge small ones.

    Args:
        pixels: `(N, C, H, W)` in [0, 1], with C = 1 or 3.
        columns: Number of images in a row.
        smallest: Smallest width of an image, in pixels.

    Example:
        >>> import torch
        >>> grid(torch.zeros(10, 1, 8, 8), columns=1).size
        (68, 662)
    """
    count, channels, height, width = pixels.shape
    scale = max(1, math.ceil(smallest / width))
    array = (pixels.clamp(0, 1) * 255).round().byte().cpu().numpy()
    array = array.repeat(scale, axis=2).repeat(scale, axis=3)
    array = np.broadcast_to(array, (count, 3, *array.shape[2:])) if channels == 1 else array
    cell_h, cell_w = height * scale + _GAP, width * scale + _GAP
    rows = math.ceil(count / columns)
    canvas = np.full((rows * cell_h + _GAP, columns * cell_w + _GAP, 3), 255, dtype=np.uint8)
    for number, image in enumerate(array):
        top = _GAP + number // columns * cell_h
        left = _GAP + number % columns * cell_w
        canvas[top : top + height * scale, left : left + width * scale] = image.transpose(1, 2, 0)
    return Image.fromarray(canvas)


def png(picture: Image.Image) -> bytes:
    """Encode a picture as PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=False)
    return buffer.getvalue()

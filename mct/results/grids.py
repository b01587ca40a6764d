"""Pictures of image sets, for people: one row per class, enlarged so that 8x8 digits are visible."""

import io
import math

import numpy as np
from PIL import Image
from torch import Tensor

_TARGET = 64  # pixels on screen that an image should get at least
_GAP = 2


def grid(pixels: Tensor, *, columns: int) -> Image.Image:
    """Lay out images `(N, C, H, W)` in [0, 1], C = 1 or 3, in rows of `columns`.

    Example:
        >>> import torch
        >>> grid(torch.zeros(10, 1, 8, 8), columns=1).size
        (68, 662)
    """
    count, channels, height, width = pixels.shape
    scale = max(1, math.ceil(_TARGET / width))
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
    """Return a picture as the bytes of a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=False)
    return buffer.getvalue()

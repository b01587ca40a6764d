"""Decoding many image files into one uint8 array, with Pillow in a pool of threads.

Threads are sufficient because Pillow releases the global interpreter lock while it decodes.
"""

import os
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mct.errors import DataError

_GREY: Final = frozenset({"1", "L", "LA", "La"})
_TRANSPARENT: Final = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
_ORIENTATION: Final = 0x0112
"""The tag of EXIF that says how a camera was held."""

_DEEP: Final = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
_MORE: Final = re.compile(r";(?:1[0-6]|32|64)")
"""What Pillow's name of a stored form contains if it has more than 8 bits, which Pillow may cut off."""

_SHARE: Final = 64
"""Number of files that a thread decodes before it takes more."""


class Survey(NamedTuple):
    """What the headers of image files say."""

    size: int
    """The width of the first image in pixels."""

    channels: int
    """1 if all images are grey, else 3."""

    notes: tuple[str, ...]
    """What is in the files and not used: transparency, and a rotation that viewers apply."""


class _Header(NamedTuple):
    width: int
    height: int
    mode: str
    transparent: bool
    turned: bool


def survey(paths: Sequence[Path], *, resize: bool) -> Survey:
    """Read the headers of image files.

    Args:
        paths: Image files, at least one.
        resize: Whether the images will be resized, so that their sizes may differ.

    Raises:
        DataError: If a file cannot be decoded, or has several frames or more than 8 bits per channel, or,
            unless `resize`, an image is not square or differs in size from the first one.
    """
    found: list[_Header] = [_Header(0, 0, "", False, False)] * len(paths)

    def look(number: int) -> None:
        with _opened(paths[number]) as image:
            transparent = image.mode in _TRANSPARENT or "transparency" in image.info
            mode = _raw_mode(image) or image.mode
            # Without the first condition, Pillow would decode a whole PNG.
            turned = "exif" in image.info and image.getexif().get(_ORIENTATION, 1) != 1
            found[number] = _Header(*image.size, mode, transparent, turned)

    _all(len(paths), look)
    size = found[0].width
    for path, (width, height, mode, _, _) in zip(paths, found, strict=True):
        if mode in _DEEP or _MORE.search(mode):
            raise DataError(f"{path}: has more than 8 bits per channel (Pillow mode {mode}); save it with 8")
        if not resize and (width != height or width != size):
            wanted = f"{size}x{size} as in {paths[0].name}" if path != paths[0] else "a square image"
            raise DataError(
                f"{path}: is {width}x{height}, expected {wanted}; set an image size, or resize the files"
            )
    notes = [
        *_noted(paths, [header.transparent for header in found], "transparent pixels, whose transparency"),
        *_noted(paths, [header.turned for header in found], "a rotation in their EXIF data, which"),
    ]
    return Survey(size, 1 if all(header.mode in _GREY for header in found) else 3, tuple(notes))


def _noted(paths: Sequence[Path], having: Sequence[bool], what: str) -> Iterator[str]:
    """Yield a note on what some of the files have, naming the first of them."""
    some = [path for path, has in zip(paths, having, strict=True) if has]
    if some:
        yield f"{some[0]}: {len(some)} of {len(paths)} images have {what} is not used"


def decode(paths: Sequence[Path], *, size: int, channels: int, resize: bool = False) -> NDArray[np.uint8]:
    """Decode N image files.

    Args:
        paths: One file per image.
        size: Height and width of the result in pixels.
        channels: 1 for grey images, or 3 for RGB. Images are converted if necessary.
        resize: Scale the shorter side to `size` and crop the centre, as MTT does for ImageNet with
            torchvision's bilinear `Resize` and `CenterCrop`. If False, images must already have this size.

    Returns:
        Images `(N, channels, size, size)`.

    Raises:
        DataError: If a file cannot be decoded, or an image has another size and `resize` is False.
    """
    out = np.empty((len(paths), channels, size, size), np.uint8)

    def one(number: int) -> None:
        with _opened(paths[number]) as stored:
            width, height = stored.size
            if not resize and (width, height) != (size, size):
                raise DataError(f"{paths[number]}: is {width}x{height}, expected {size}x{size}")
            image = stored.convert("L" if channels == 1 else "RGB")
            image = _fitted(image, size) if resize else image
            out[number] = np.asarray(image).reshape(size, size, channels).transpose(2, 0, 1)

    _all(len(paths), one)
    return out


def _raw_mode(image: Image.Image) -> str | None:
    """Return Pillow's name of the stored form if it has more than 8 bits per channel, such as `RGB;16B`."""
    for kind, *_, arguments in getattr(image, "tile", ()):
        given = arguments if isinstance(arguments, tuple) else (arguments,)
        if kind.startswith("ppm") and any(type(each) is int and each > 255 for each in given):
            return f"{image.mode};16"
        if deep := next((each for each in given if isinstance(each, str) and _MORE.search(each)), None):
            return deep
    return None


def _fitted(image: Image.Image, size: int) -> Image.Image:
    short = min(image.size)
    width, height = (int(size * side / short) for side in image.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    scaled = image.resize((width, height), Image.Resampling.BILINEAR)
    return scaled.crop((left, top, left + size, top + size))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format != "MPO":  # a photograph with a preview
                raise DataError(f"{path}: has {frames} frames, expected a single image; save one of them")
            yield image
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, MemoryError,
            Image.DecompressionBombError) as exc:  # fmt: skip
        raise DataError(f"{path}: cannot be decoded as an image: {exc}; replace or remove it") from exc


def _all(count: int, work: Callable[[int], None]) -> None:
    """Call `work` for every number below `count`, in threads; stop at the first error and raise it."""

    def share(start: int) -> None:
        for number in range(start, min(start + _SHARE, count)):
            work(number)

    pool = ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1))
    try:
        for _ in pool.map(share, range(0, count, _SHARE)):
            pass
    finally:
        pool.shutdown(cancel_futures=True)

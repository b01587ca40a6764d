"""Differentiable augmentation (DSA) as MTT uses it: one family a call, its own draws for every image.

What is drawn and what it does are separate: `Draws` are plain numbers from the CPU, so that a seed
gives the same augmentation on every device and an inner loop can be run a second time. Source: MTT's
`utils.py` after Zhao and Bilen, "Dataset Condensation with Differentiable Siamese Augmentation".
kornia is not used: its saturation and contrast are about luma or in HSV rather than about the mean of the
channels, its affine warp goes through inverted matrices in pixels, off by 2e-5 in float32 and half as
fast, and what agrees (brightness, a flip) is one expression. When to augment is decided elsewhere.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, pad

from mct.errors import ConfigError, MismatchError

STRATEGY = "color_crop_cutout_flip_scale_rotate"
"""The families of MTT's recipe."""

BRIGHTNESS = 1.0
SATURATION = 2.0
CONTRAST = 0.5
CROP = 0.125
CUTOUT = 0.5
FLIP = 0.5
SCALE = 1.2
DEGREES = 15.0

_FAMILIES = frozenset(STRATEGY.split("_"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """The random numbers of one call: a family, and values for every image."""

    family: str
    """One of `color`, `crop`, `cutout`, `flip`, `scale`, `rotate`."""

    values: tuple[Tensor, ...]
    """Each `(B,)`. float32 in [0, 1) for brightness, saturation and contrast of `color`, for `flip`, for
    x and y of `scale`, for `rotate`; int64 for the shift of `crop` and the centre of `cutout`, rows
    before columns."""

    def to(self, device: torch.device | str) -> "Draws":
        """Return the same draws on `device`."""
        return Draws(family=self.family, values=tuple(value.to(device) for value in self.values))


@dataclass(frozen=True, slots=True)
class DSA:
    """Augmentation by one random family of `strategy` at a time.

    Raises:
        ConfigError: `strategy` names something else than families.
    """

    strategy: str = STRATEGY
    """Families joined by `_`; one that is named twice is chosen twice as often."""

    def __post_init__(self) -> None:
        if not _FAMILIES.issuperset(self.strategy.split("_")):
            raise ConfigError(
                f"`augment` must be none, dsa, or families of {STRATEGY} joined by _, got {self.strategy!r}"
            )

    def draw(self, count: int, size: int, generator: torch.Generator) -> Draws:
        """Draw a family, then its values for `count` images of `size` x `size` pixels.

        Args:
            count: B, the images of one call.
            size: Height and width, from which the ranges of shifts and centres follow.
            generator: On the CPU.
        """
        families = self.strategy.split("_")
        family = families[int(torch.randint(len(families), (), generator=generator))]

        def uniform(amount: int) -> tuple[Tensor, ...]:
            return tuple(torch.rand(count, dtype=torch.float32, generator=generator) for _ in range(amount))

        def integers(low: int, high: int) -> tuple[Tensor, ...]:
            return tuple(torch.randint(low, high, (count,), generator=generator) for _ in range(2))

        match family:
            case "crop":
                reach = int(size * CROP + 0.5)
                values = integers(-reach, reach + 1)
            case "cutout":  # for an even square the centre lies between pixels, and one place more
                values = integers(0, size + 1 - _hole(size) % 2)
            case "color":
                values = uniform(3)
            case "scale":
                values = uniform(2)
            case _:
                values = uniform(1)
        return Draws(family=family, values=values)

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Return `images` `(B, C, H, W)` augmented with `draws`, differentiable in the images.

        Args:
            images: Any floating dtype; the result has it too.
            draws: For B images, on the device of `images`.

        Raises:
            MismatchError: `draws` are for another number of images.
        """
        if len(draws.values[0]) != len(images):
            raise MismatchError(
                f"draws of `{draws.family}` are for {len(draws.values[0])} images, got {len(images)}"
            )
        match draws.family:
            case "color":
                return _color(images, *draws.values)
            case "crop":
                return _crop(images, *draws.values)
            case "cutout":
                return _cutout(images, *draws.values)
            case "flip":
                (side,) = draws.values
                return torch.where((side < FLIP).view(-1, 1, 1, 1), images.flip(3), images)
            case "scale":
                factors = torch.stack(draws.values, 1).to(images.dtype) * (SCALE - 1 / SCALE) + 1 / SCALE
                return _resample(images, torch.diag_embed(factors))
            case "rotate":
                (turn,) = draws.values
                angle = (turn.to(images.dtype) - 0.5) * 2 * DEGREES / 180 * math.pi
                cos, sin = angle.cos(), angle.sin()
                return _resample(images, torch.stack([cos, -sin, sin, cos], 1).view(-1, 2, 2))
        raise ConfigError(f"`family` of draws must be one of {STRATEGY}, got {draws.family!r}")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Draw on the CPU for square `images` `(B, C, H, H)`, and apply on their device."""
        draws = self.draw(len(images), images.shape[-1], generator)
        return self.apply(images, draws.to(images.device))


def augmentation(name: str) -> DSA | None:
    """Return the augmentation that a setting names: `none`, `dsa`, or families joined by `_`.

    Raises:
        ConfigError: It is none of these.

    Example:
        >>> augmentation("flip_crop")
        DSA(strategy='flip_crop')
        >>> augmentation("none") is None
        True
    """
    if name == "none":
        return None
    return DSA() if name == "dsa" else DSA(name)


def _hole(size: int) -> int:
    """Return the side of the square that `cutout` removes from a side of `size` pixels."""
    return int(size * CUTOUT + 0.5)


def _color(images: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    """Brightness, then saturation about the grey of each pixel, then contrast about the image's mean."""
    brightness, saturation, contrast = (
        value.to(images.dtype).view(-1, 1, 1, 1) for value in (brightness, saturation, contrast)
    )
    images = images + (brightness - 0.5) * BRIGHTNESS
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (saturation * SATURATION) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + CONTRAST) + mean


def _crop(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Look at the images `down` and `right` from where they are, with zeros around them."""
    channels, height, width = images.shape[1:]
    rows = torch.arange(height, device=images.device) + down[:, None]
    columns = torch.arange(width, device=images.device) + right[:, None]
    # Indices wrap around, so that every pixel is read once: the gradient has no two terms to add, and
    # hence one value on every device.
    source = ((rows % height)[:, :, None] * width + (columns % width)[:, None, :]).flatten(1)
    moved = images.flatten(2).gather(2, source[:, None].expand(-1, channels, -1)).view_as(images)
    seen = _within(rows, 0, height)[:, None, :, None] & _within(columns, 0, width)[:, None, None, :]
    return torch.where(seen, moved, 0)


def _cutout(images: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Set the square about `(row, column)` to zero, as far as it lies in the image."""
    height, width = images.shape[2:]
    rows, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    top, left = row[:, None] - _hole(height) // 2, column[:, None] - _hole(width) // 2
    across = _within(rows, top, top + _hole(height))[:, None, :, None]
    along = _within(columns, left, left + _hole(width))[:, None, None, :]
    return images.masked_fill(across & along, 0)


def _within(index: Tensor, low: Tensor | int, high: Tensor | int) -> Tensor:
    return (index >= low) & (index < high)


def _resample(images: Tensor, matrix: Tensor) -> Tensor:
    """Read the images at `matrix` `(B, 2, 2)` times every position, bilinearly, with zeros around them.

    Positions are (x, y) with the centres of the corner pixels at -1 and 1.
    """
    grid = affine_grid(pad(matrix, (0, 1)), list(images.shape), align_corners=True)
    if images.is_cuda and torch.are_deterministic_algorithms_enabled():
        return _sampled(images, grid)
    return grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def _sampled(images: Tensor, grid: Tensor) -> Tensor:
    """Return what `grid_sample` does up to rounding, by operators with a deterministic gradient on CUDA."""
    channels, height, width = images.shape[1:]
    across, along = ((grid[..., axis] + 1) * ((size - 1) / 2) for axis, size in ((0, width), (1, height)))
    left, top = across.floor(), along.floor()
    flat, total = images.flatten(2), torch.zeros_like(images)
    for down in (0, 1):
        for right in (0, 1):
            row, column = top + down, left + right
            share = (1 - (along - row).abs()) * (1 - (across - column).abs())
            inside = _within(row, 0, height) & _within(column, 0, width)
            place = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long()
            corner = flat.gather(2, place.flatten(1)[:, None].expand(-1, channels, -1)).view_as(images)
            total = total + corner * torch.where(inside, share, 0)[:, None]
    return total

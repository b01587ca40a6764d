"""Differentiable Siamese augmentation (DSA), as MTT uses it.

Each call picks one family of transformations at random and applies it with separate random numbers for
every image. Drawing these numbers and applying them are separate operations: `Draws` holds plain numbers
generated on the CPU, so a seed gives the same augmentation on every device, and an inner loop can be
repeated with the same augmentation.

kornia is not used because it computes something else. Its saturation and contrast adjust around the luma or
in HSV, not around the mean of the channels, and its affine warp inverts matrices in pixel coordinates, which
differs by 2e-5 in float32 and takes twice as long. The operations that agree (brightness and flip) need one
expression each.

References:
    Zhao and Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML 2021.
    MTT's `utils.py`: `DiffAugment` with `aug_mode == "M"`, and the ratios of `ParamDiffAug`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, pad

from mct.errors import ConfigError, MismatchError

STRATEGY = "color_crop_cutout_flip_scale_rotate"
"""The families that MTT uses by default."""

# The ratios of MTT's `ParamDiffAug`.
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
    """The random numbers of one augmentation: the chosen family, and its values for every image."""

    family: str
    """One of `color`, `crop`, `cutout`, `flip`, `scale`, `rotate`."""

    values: tuple[Tensor, ...]
    """Tensors of shape `(B,)`. Their number and meaning depend on `family`:

    * `color`: brightness, saturation, contrast; float32 in [0, 1).
    * `crop`: shift in rows, shift in columns; int64, in pixels.
    * `cutout`: row and column of the centre; int64, in pixels.
    * `flip`, `rotate`: one value; float32 in [0, 1).
    * `scale`: one value for x, one value for y; float32 in [0, 1).
    """

    def to(self, device: torch.device | str) -> "Draws":
        """Return these draws on `device`."""
        return Draws(family=self.family, values=tuple(value.to(device) for value in self.values))


@dataclass(frozen=True, slots=True)
class DSA:
    """An augmentation that applies one random family of `strategy` in each call.

    Raises:
        ConfigError: If `strategy` contains a name that is not a family.
    """

    strategy: str = STRATEGY
    """Names of families joined by `_`. A family that is named twice is drawn twice as often."""

    aligned: bool = True
    """Whether `scale` and `rotate` take the centres of the corner pixels as -1 and 1, as MTT's code does, or
    the outer edges, as the code of DSA, DM and CAFE does (`align_corners` of PyTorch)."""

    def __post_init__(self) -> None:
        if not _FAMILIES.issuperset(self.strategy.split("_")):
            raise ConfigError(
                f"`augment` must be none, dsa, or families of {STRATEGY} joined by _, got {self.strategy!r}"
            )

    def draw(self, count: int, size: int, generator: torch.Generator) -> Draws:
        """Draw a family, and its values for `count` images of `size` x `size` pixels.

        Args:
            count: Number of images B.
            size: Height and width of the images. It bounds the shifts of `crop` and the centres of `cutout`.
            generator: A generator on the CPU.
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
            case "cutout":  # the centre of an even square lies between pixels, so it has one more position
                values = integers(0, size + 1 - _hole(size) % 2)
            case "color":
                values = uniform(3)
            case "scale":
                values = uniform(2)
            case _:
                values = uniform(1)
        return Draws(family=family, values=values)

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Return the augmented images `(B, C, H, W)`, differentiable with respect to `images`.

        Args:
            images: `(B, C, H, W)`, of any floating dtype, which the result has too.
            draws: Random numbers for B images, on the device of `images`.

        Raises:
            MismatchError: If `draws` are for a different number of images.
            ConfigError: If the family of `draws` is unknown.
        """
        if len(draws.values[0]) != len(images):
            raise MismatchError(
                f"draws of `{draws.family}` are for {len(draws.values[0])} images, got {len(images)} images"
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
                return _resample(images, torch.diag_embed(factors), aligned=self.aligned)
            case "rotate":
                (turn,) = draws.values
                angle = (turn.to(images.dtype) - 0.5) * 2 * DEGREES / 180 * math.pi
                cos, sin = angle.cos(), angle.sin()
                matrix = torch.stack([cos, -sin, sin, cos], 1).view(-1, 2, 2)
                return _resample(images, matrix, aligned=self.aligned)
        raise ConfigError(f"`family` of draws must be one of {STRATEGY}, got {draws.family!r}")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augment square `images` `(B, C, H, H)` with numbers drawn on the CPU from `generator`."""
        draws = self.draw(len(images), images.shape[-1], generator)
        return self.apply(images, draws.to(images.device))


def augmentation(name: str) -> DSA | None:
    """Return the augmentation for the value of the setting `augment`.

    Args:
        name: `none`, `dsa` (all families of MTT), or names of families joined by `_`.

    Raises:
        ConfigError: If `name` is none of these.

    Example:
        >>> augmentation("flip_crop")
        DSA(strategy='flip_crop', aligned=True)
        >>> augmentation("none") is None
        True
    """
    if name == "none":
        return None
    return DSA() if name == "dsa" else DSA(name)


def _hole(size: int) -> int:
    """Return the side in pixels of the square that `cutout` removes from an image of `size` pixels."""
    return int(size * CUTOUT + 0.5)


def _color(images: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    """Change the brightness, the saturation around each pixel's grey, and the contrast around the mean."""
    brightness, saturation, contrast = (
        value.to(images.dtype).view(-1, 1, 1, 1) for value in (brightness, saturation, contrast)
    )
    images = images + (brightness - 0.5) * BRIGHTNESS
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (saturation * SATURATION) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + CONTRAST) + mean


def _crop(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Shift the visible window `down` and `right` by `(B,)` pixels; pixels outside the image are zero."""
    channels, height, width = images.shape[1:]
    rows = torch.arange(height, device=images.device) + down[:, None]
    columns = torch.arange(width, device=images.device) + right[:, None]
    # Indices wrap around so that every pixel is read exactly once. The gradient of a pixel is then a single
    # term instead of a sum, and does not depend on an order of summation.
    source = ((rows % height)[:, :, None] * width + (columns % width)[:, None, :]).flatten(1)
    moved = images.flatten(2).gather(2, source[:, None].expand(-1, channels, -1)).view_as(images)
    seen = _within(rows, 0, height)[:, None, :, None] & _within(columns, 0, width)[:, None, None, :]
    return torch.where(seen, moved, 0)


def _cutout(images: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Set the square centred at `(row, column)` to zero, as far as it lies within the image."""
    height, width = images.shape[2:]
    rows, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    top, left = row[:, None] - _hole(height) // 2, column[:, None] - _hole(width) // 2
    across = _within(rows, top, top + _hole(height))[:, None, :, None]
    along = _within(columns, left, left + _hole(width))[:, None, None, :]
    return images.masked_fill(across & along, 0)


def _within(index: Tensor, low: Tensor | int, high: Tensor | int) -> Tensor:
    return (index >= low) & (index < high)


def _resample(images: Tensor, matrix: Tensor, *, aligned: bool) -> Tensor:
    """Return images whose pixel at position p is `images` at `matrix @ p`, interpolated bilinearly.

    Positions are (x, y), with the centres of the corner pixels at -1 and 1, or the outer edges. The images
    are zero outside.

    Args:
        images: `(B, C, H, W)`.
        matrix: `(B, 2, 2)`.
        aligned: Whether the centres are at -1 and 1.
    """
    grid = affine_grid(pad(matrix, (0, 1)), list(images.shape), align_corners=aligned)
    if images.is_cuda and torch.are_deterministic_algorithms_enabled():
        return _sampled(images, grid, aligned=aligned)
    return grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=aligned)


def _sampled(images: Tensor, grid: Tensor, *, aligned: bool = True) -> Tensor:
    """Compute `grid_sample` with operators whose gradient is deterministic on CUDA; equal up to rounding."""
    channels, height, width = images.shape[1:]
    sides = ((0, width), (1, height))
    if aligned:
        across, along = ((grid[..., axis] + 1) * ((size - 1) / 2) for axis, size in sides)
    else:
        across, along = ((grid[..., axis] + 1) * (size / 2) - 0.5 for axis, size in sides)
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

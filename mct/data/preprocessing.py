"""What is done to images before a network sees them, how it is undone, and how it is recorded.

Three kinds, as in MTT: nothing, channel normalisation, ZCA whitening. Fitting needs the training
images in [0, 1]; applying and undoing need only what is stored here. Which dataset gets which kind
is decided elsewhere, and how a whitening is computed in `whitening`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor

import trajfmt
from mct.data import whitening
from mct.errors import ConfigError, DataError, MismatchError

ZCA_EPS: Final = 0.1
"""MTT's eps, added to the eigenvalues of the covariance."""

_BLOCK: Final = 64 << 20
"""Bytes of images that are transformed at a time."""


class Transform(Protocol):
    """A fitted preprocessing."""

    @property
    def record(self) -> trajfmt.Preprocessing:
        """What a bundle or a result states about it."""
        ...

    def forward(self, images: Tensor) -> Tensor:
        """Map `(N, C, H, W)` images in [0, 1] to what networks are trained on."""
        ...

    def inverse(self, images: Tensor) -> Tensor:
        """Map network inputs `(N, C, H, W)` back; the result may leave [0, 1]."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Return the arrays that `record` has no room for, by name."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """Images as they are."""

    record: trajfmt.Preprocessing

    def forward(self, images: Tensor) -> Tensor:
        """Return `images`."""
        return images

    def inverse(self, images: Tensor) -> Tensor:
        """Return `images`."""
        return images

    def tensors(self) -> dict[str, Tensor]:
        """Return nothing."""
        return {}


@dataclass(frozen=True, slots=True)
class Normalize:
    """Channel normalisation: `(x - mean) / std`."""

    record: trajfmt.Preprocessing
    mean: Tensor
    std: Tensor

    def forward(self, images: Tensor) -> Tensor:
        """Return `(images - mean) / std`, per channel."""
        return (images - self.mean.to(images.device)) / self.std.to(images.device)

    def inverse(self, images: Tensor) -> Tensor:
        """Return `images * std + mean`, per channel."""
        return images * self.std.to(images.device) + self.mean.to(images.device)

    def tensors(self) -> dict[str, Tensor]:
        """Return nothing: mean and standard deviation are in the record."""
        return {}


@dataclass(frozen=True, slots=True)
class Whiten:
    """ZCA whitening: `(x - mean) @ matrix`, over all pixels and channels of an image at once."""

    record: trajfmt.Preprocessing
    mean: Tensor
    matrix: Tensor
    restore: Tensor

    def forward(self, images: Tensor) -> Tensor:
        """Return the whitened images."""
        mean, matrix = self.mean.to(images.device), self.matrix.to(images.device)
        return _by_blocks(lambda flat: (flat - mean) @ matrix, images)

    def inverse(self, images: Tensor) -> Tensor:
        """Return the images that whiten to `images`."""
        mean, restore = self.mean.to(images.device), self.restore.to(images.device)
        return _by_blocks(lambda flat: flat @ restore + mean, images)

    def tensors(self) -> dict[str, Tensor]:
        """Return `zca.mean` (D,) and `zca.matrix` (D, D): whitening cannot be redone without."""
        return {"zca.mean": self.mean, "zca.matrix": self.matrix}


def _rows(images: Tensor) -> int:
    return max(1, _BLOCK // max(1, images[:1].nbytes))


def _by_blocks(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Apply a function of `(B, D)` to images `(N, C, H, W)`, so that only a block is ever held twice."""
    rows = _rows(images)
    if len(images) <= rows:
        return function(images.flatten(1)).reshape(images.shape)
    out = torch.empty_like(images)
    for start in range(0, len(images), rows):
        block = images[start : start + rows]
        out[start : start + rows] = function(block.flatten(1)).reshape(block.shape)
    return out


def apply_(transform: Transform, images: Tensor) -> Tensor:
    """Replace images `(N, C, H, W)` by `transform.forward` of them, in place, and return them."""
    rows = _rows(images)
    for start in range(0, len(images), rows):
        block = images[start : start + rows]
        block.copy_(transform.forward(block))
    return images


def fit(wanted: trajfmt.Preprocessing, images: Tensor) -> Transform:
    """Fit the preprocessing `wanted` to training images, using what it already states.

    Args:
        wanted: Kind, and optionally mean and std, eps, or the hash of the images a whitening was fitted on.
        images: All training images, `(N, C, H, W)` float32 in [0, 1].

    Raises:
        MismatchError: The images are not those whose hash `wanted` states.
    """
    match wanted.kind:
        case "none":
            return Identity(wanted)
        case "normalize":
            return _fit_normalize(wanted, images)
        case "zca":
            return _fit_zca(wanted, images)
    raise ConfigError(f"`preprocessing` must be none, normalize or zca, got {wanted.kind!r}")


def _fit_normalize(wanted: trajfmt.Preprocessing, images: Tensor) -> Normalize:
    channels = images.shape[1]
    found = wanted.images_sha256 and _require_same(wanted, images)
    if wanted.mean is not None and wanted.std is not None:
        mean, std = list(wanted.mean), list(wanted.std)
    else:
        mean, std, found = [], [], hash_images(images)
        for channel in range(channels):
            pixels = images[:, channel].double()
            mean.append(float(pixels.mean()))
            std.append(float(pixels.std(correction=0)))
    if len(mean) != channels or len(std) != channels:
        raise MismatchError(f"normalisation is recorded for {len(mean)} channels, the images have {channels}")
    if not all(value > 0 for value in std):
        raise DataError(f"`std` of every channel must be > 0, got {std!r}: a channel is constant")
    return Normalize(
        trajfmt.Preprocessing(kind="normalize", mean=mean, std=std, images_sha256=found),
        torch.tensor(mean, dtype=torch.float32).reshape(-1, 1, 1),
        torch.tensor(std, dtype=torch.float32).reshape(-1, 1, 1),
    )


def _fit_zca(wanted: trajfmt.Preprocessing, images: Tensor) -> Whiten:
    eps = ZCA_EPS if wanted.eps is None else wanted.eps
    if len(images) < 2:
        raise DataError(f"whitening needs at least 2 training images, got {len(images)}")
    found = _require_same(wanted, images)
    fitted = whitening.cached(images, eps, images_sha256=found)
    return Whiten(
        trajfmt.Preprocessing(kind="zca", eps=eps, images_sha256=found),
        fitted.mean,
        fitted.matrix,
        fitted.restore,
    )


def _require_same(wanted: trajfmt.Preprocessing, images: Tensor) -> str:
    """Return the hash of the images, if it is the one on record or none is."""
    found = hash_images(images)
    if wanted.images_sha256 not in (None, found):
        raise MismatchError(
            f"these training images have the hash {found[:16]}…, the preprocessing on record was fitted on "
            f"images with {str(wanted.images_sha256)[:16]}…: give the data set that the experts saw"
        )
    return found


def hash_images(images: Tensor) -> str:
    """Return the SHA-256 of images `(N, C, H, W)` in [0, 1] as little-endian float32.

    They define the whitening together with its eps. The matrix itself would not do: an
    eigendecomposition differs in its last bits from machine to machine.
    """
    pixels = images.detach().cpu().float().contiguous().numpy()
    return hashlib.sha256(pixels.astype("<f4", copy=False).data).hexdigest()

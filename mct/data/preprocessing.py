"""Preprocessing of images, its inverse, and its record in bundles and results.

There are three kinds, as in MTT: none, channel normalisation and ZCA whitening. A fourth, `unit-zca`, whitens
the directions of images, as RaT-BPTT does; bundles cannot record it (see `record`). `fit` needs all training
images in [0, 1] and returns a `Transform`, which applies and inverts the preprocessing without them.
`mct.data.whitening` computes a ZCA whitening.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
import torch
from torch import Tensor

import trajfmt
from mct.data import record, whitening
from mct.errors import ConfigError, DataError, MismatchError
from mct.runtime.phases import phase

ZCA_EPS: Final = 0.1
"""Value that is added to the eigenvalues of the covariance, as in MTT. Of `unit-zca` it is a share of their
mean, as in RaT-BPTT."""

_BLOCK: Final = 64 << 20
"""Bytes of images transformed at a time."""


class Transform(Protocol):
    """A fitted preprocessing."""

    @property
    def record(self) -> trajfmt.Preprocessing:
        """The description of this preprocessing that bundles and results store."""
        ...

    def forward(self, images: Tensor) -> Tensor:
        """Map images in [0, 1] to inputs of a network, both `(N, C, H, W)`."""
        ...

    def inverse(self, images: Tensor) -> Tensor:
        """Map inputs of a network to images, both `(N, C, H, W)`. The result may leave [0, 1]."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Return the arrays that are too large for `record`, by name."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """The preprocessing `none`, which leaves images unchanged."""

    record: trajfmt.Preprocessing

    def forward(self, images: Tensor) -> Tensor:
        """Return `images` unchanged."""
        return images

    def inverse(self, images: Tensor) -> Tensor:
        """Return `images` unchanged."""
        return images

    def tensors(self) -> dict[str, Tensor]:
        """Return an empty dictionary."""
        return {}


@dataclass(frozen=True, slots=True)
class Normalize:
    """Channel normalisation: `(x - mean) / std`, with `mean` and `std` of shape `(C, 1, 1)`."""

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
        """Return an empty dictionary, as the record contains the mean and the standard deviation."""
        return {}


@dataclass(frozen=True, slots=True)
class Whiten:
    """ZCA whitening: `(x - mean) @ matrix`, where x is an image flattened to D = C*H*W elements.

    `mean` has the shape `(D,)`. `matrix` and its inverse `restore` have the shape `(D, D)`.
    """

    record: trajfmt.Preprocessing
    mean: Tensor
    matrix: Tensor
    restore: Tensor

    def forward(self, images: Tensor) -> Tensor:
        """Whiten `images`."""
        mean, matrix = self.mean.to(images.device), self.matrix.to(images.device)
        return _by_blocks(lambda flat: (flat - mean) @ matrix, images)

    def inverse(self, images: Tensor) -> Tensor:
        """Invert the whitening of `images`."""
        mean, restore = self.mean.to(images.device), self.restore.to(images.device)
        return _by_blocks(lambda flat: flat @ restore + mean, images)

    def tensors(self) -> dict[str, Tensor]:
        """Return `zca.mean` `(D,)` and `zca.matrix` `(D, D)`, without which the whitening is lost."""
        return {"zca.mean": self.mean, "zca.matrix": self.matrix}


@dataclass(frozen=True, slots=True)
class WhitenDirections(Whiten):
    """Whitening of directions: `directions(x) @ matrix`, see `whitening.directions`.

    `matrix @ restore` is the mean norm of the images times the identity. The inverse gives every image this
    norm and the mean of all images, since its own are lost.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Whiten the directions of `images`."""
        matrix = self.matrix.to(images.device)
        return _by_blocks(lambda flat: whitening.directions(flat) @ matrix, images)

    def inverse(self, images: Tensor) -> Tensor:
        """Return images with the directions that were whitened, the mean norm and the mean of all images."""
        mean, restore = self.mean.to(images.device), self.restore.to(images.device)
        norm = float(self.matrix[0] @ self.restore[:, 0])
        return _by_blocks(lambda flat: whitening.scaled(flat @ restore) * norm + mean, images)

    def tensors(self) -> dict[str, Tensor]:
        """Return `unit_zca.matrix` `(D, D)`, without which the whitening is lost."""
        return {"unit_zca.matrix": self.matrix}


def _rows(images: Tensor) -> int:
    return max(1, _BLOCK // max(1, images[:1].nbytes))


def _by_blocks(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Apply a function of `(B, D)` to images `(N, C, H, W)` in blocks, to limit temporary memory."""
    rows = _rows(images)
    if len(images) <= rows:
        return function(images.flatten(1)).reshape(images.shape)
    out = torch.empty_like(images)
    for start in range(0, len(images), rows):
        block = images[start : start + rows]
        out[start : start + rows] = function(block.flatten(1)).reshape(block.shape)
    return out


def apply_(transform: Transform, images: Tensor) -> Tensor:
    """Apply `transform.forward` to images `(N, C, H, W)` in place, and return them."""
    rows = _rows(images)
    for start in range(0, len(images), rows):
        block = images[start : start + rows]
        block.copy_(transform.forward(block))
    return images


def fit(wanted: trajfmt.Preprocessing, images: Tensor) -> Transform:
    """Fit a preprocessing to training images, keeping the values that `wanted` already states.

    Args:
        wanted: The kind of preprocessing. It may state the mean and the standard deviation, eps, or the hash
            of the images to which it was fitted.
        images: All training images, `(N, C, H, W)` float32 in [0, 1].

    Raises:
        ConfigError: If the kind is unknown.
        DataError: If the images cannot be preprocessed, for example because a channel is constant.
        MismatchError: If `wanted` states the hash of other images, or values for another number of channels.
    """
    match wanted.kind:
        case "none":
            return Identity(msgspec.structs.replace(wanted, images_sha256=_require_same(wanted, images)))
        case "normalize":
            return _fit_normalize(wanted, images)
        case "zca":
            return _fit_zca(wanted, images)
        case record.UNIT_ZCA:
            return _fit_directions(wanted, images)
    raise ConfigError(f"`preprocessing` must be none, normalize, zca or unit-zca, got {wanted.kind!r}")


def _fit_normalize(wanted: trajfmt.Preprocessing, images: Tensor) -> Normalize:
    channels = images.shape[1]
    found = _require_same(wanted, images)
    if wanted.mean is not None and wanted.std is not None:
        mean, std = list(wanted.mean), list(wanted.std)
    else:
        mean, std = [], []
        for channel in range(channels):
            pixels = images[:, channel].double()
            mean.append(float(pixels.mean()))
            std.append(float(pixels.std(correction=0)))
    if len(mean) != channels or len(std) != channels:
        raise MismatchError(
            f"the recorded normalisation has {len(mean)} channels, but the images have {channels}"
        )
    if not all(value > 0 for value in std):
        raise DataError(f"`std` must be > 0 for every channel, got {std!r}: a channel is constant")
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


def _fit_directions(wanted: trajfmt.Preprocessing, images: Tensor) -> WhitenDirections:
    eps = ZCA_EPS if wanted.eps is None else wanted.eps
    found = _require_same(wanted, images)
    fitted = whitening.cached(images, eps, images_sha256=found, kind=record.UNIT_ZCA)
    return WhitenDirections(
        record.Preprocessing(kind="unit-zca", eps=eps, images_sha256=found),
        fitted.mean,
        fitted.matrix,
        fitted.restore,
    )


def _require_same(wanted: trajfmt.Preprocessing, images: Tensor) -> str:
    """Return the hash of the images, requiring that it is the recorded one if there is one."""
    found = hash_images(images)
    if wanted.images_sha256 not in (None, found):
        raise MismatchError(
            f"the training images have the hash {found[:16]}…, but the recorded ones have the hash "
            f"{str(wanted.images_sha256)[:16]}…; give the dataset that the experts saw"
        )
    return found


def hash_images(images: Tensor) -> str:
    """Return the SHA-256 of images `(N, C, H, W)` in [0, 1], as little-endian float32.

    It is recorded with every preprocessing, so that no run goes on with other images of the same name.
    Together with eps, it identifies a whitening. A hash of the matrix would not identify it, because the last
    bits of an eigendecomposition differ between machines.
    """
    pixels = images.detach().cpu().float().contiguous().numpy()
    with phase("hashing the images"):
        return hashlib.sha256(pixels.astype("<f4", copy=False).data).hexdigest()


def hash_labels(labels: Tensor) -> str:
    """Return the SHA-256 of labels `(N,)`, as little-endian int64."""
    return hashlib.sha256(labels.detach().cpu().numpy().astype("<i8", copy=False).tobytes()).hexdigest()

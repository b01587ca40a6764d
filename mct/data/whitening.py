"""Computing a whitening, and caching it on disk under the hash of its images.

There are two kinds. `zca` is that of MTT. If kornia's float64 copies of the images are small enough, kornia
computes it, as in MTT. For larger datasets, the same formula is evaluated from a mean and a covariance that
are accumulated in blocks. `unit-zca` is that of RaT-BPTT: every image is made a direction, and the second
moments of all directions are whitened. `mct.data.preprocessing` applies a whitening to images.

References:
    kornia.enhance.ZCAWhitening: matrix = U diag((S + eps)^(-1/2)) U^T, with the eigenvectors U and the
    eigenvalues S of the covariance with divisor N - 1.
    Feng et al., "Embarrassingly Simple Dataset Distillation", ICLR 2024, and its code, `preprocess` in
    framework/config.py: the same with the second moments with divisor N, and eps times the mean of S.
"""

import contextlib
from dataclasses import dataclass
from typing import Final

import torch
from kornia.enhance import ZCAWhitening
from torch import Tensor

from mct.errors import MctError
from mct.runtime import tensorfile
from mct.runtime.phases import phase
from trajfmt.storage import cache_folder

KORNIA_LIMIT: Final = 4_000_000_000
"""Largest number of bytes for which kornia is used: two copies of the images and D x D matrices, in float64.

CIFAR needs 3.1e9 bytes and is fitted by kornia. Tiny-ImageNet would need 29e9 and is fitted in blocks.
"""

_BLOCK: Final = 256 << 20
"""Bytes of float64 images that enter the covariance at a time."""

_COLUMNS: Final = 2048
"""Columns in a block of the covariance. Blocks below the diagonal are not computed."""

_KIND: Final = "whitening"


@dataclass(frozen=True, slots=True, kw_only=True)
class Whitening:
    """A fitted whitening of images that are flattened to D = C*H*W elements, in this order."""

    mean: Tensor
    """`(D,)`: mean image."""

    matrix: Tensor
    """`(D, D)`: the whitened image is `(x - mean) @ matrix`."""

    restore: Tensor
    """`(D, D)`: inverse of `matrix`."""


def cached(images: Tensor, eps: float, *, images_sha256: str, kind: str = "zca") -> Whitening:
    """Return the float32 whitening of images, loading it from the cache or computing and storing it.

    A cache that cannot be read or written is not an error; the whitening is then computed.

    Args:
        images: `(N, C, H, W)` float32 in [0, 1].
        eps: Added to the eigenvalues; of `unit-zca`, a share of their mean.
        images_sha256: Hash of `images`. With `kind` and `eps`, it is the key of the cache.
        kind: `zca` or `unit-zca`.
    """
    folder = cache_folder()
    path = None if folder is None else folder / f"{kind}-{images_sha256}-{eps!r}.safetensors"
    facts = {"kind": _KIND, "version": 1, "images_sha256": images_sha256, "eps": eps}
    size = images[0].numel()
    if path is not None:
        with contextlib.suppress(MctError, OSError):
            tensors, found = tensorfile.load(path, kind=_KIND, version=1)
            shapes = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
            square = (torch.float32, (size, size))
            wanted = {"mean": (torch.float32, (size,)), "matrix": square, "restore": square}
            if found == facts and shapes == wanted:
                return Whitening(**tensors)
    with phase("whitening the images"):
        fitted = fit(images, eps) if kind == "zca" else fit_directions(images, eps)
    own = {name: getattr(fitted, name).float() for name in ("mean", "matrix", "restore")}
    del fitted
    if path is not None:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            tensorfile.save(path, own, facts)
    return Whitening(**own)


def fit(images: Tensor, eps: float) -> Whitening:
    """Fit a float64 whitening to images `(N, C, H, W)`.

    In float32, the covariance of 50,000 images would be too inaccurate.

    Args:
        images: `(N, C, H, W)` in [0, 1].
        eps: Added to the eigenvalues of the covariance.
    """
    if 8 * (2 * images.numel() + 8 * images[0].numel() ** 2) <= KORNIA_LIMIT:
        return fit_whole(images, eps)
    return fit_in_blocks(images, eps)


def fit_whole(images: Tensor, eps: float) -> Whitening:
    """Fit a whitening with kornia, which needs two float64 copies of the images."""
    fitted = ZCAWhitening(eps=eps, compute_inv=True).fit(images.double())
    return Whitening(
        mean=fitted.mean_vector.flatten(), matrix=fitted.transform_matrix, restore=fitted.transform_inv
    )


def fit_in_blocks(images: Tensor, eps: float, *, rows: int | None = None) -> Whitening:
    """Fit a whitening from blocks of images, converting one block to float64 at a time.

    Besides the images, this needs four D x D matrices in float64 (measured: 4.8 GiB for D = 12,288).

    Args:
        images: `(N, C, H, W)` in [0, 1].
        eps: Added to the eigenvalues of the covariance.
        rows: Images in a block; None for as many as 256 MiB hold.
    """
    flat = images.flatten(1)
    count, size = flat.shape
    blocks = torch.split(flat, rows or max(1, _BLOCK // (8 * size)))
    mean = torch.zeros(size, dtype=torch.float64)
    for block in blocks:
        mean += block.sum(0, dtype=torch.float64)
    mean /= count
    covariance = torch.zeros(size, size, dtype=torch.float64)
    for block in blocks:
        centred = block.double() - mean
        for column in range(0, size, _COLUMNS):
            upper = slice(column, column + _COLUMNS)
            covariance[upper, column:].addmm_(centred[:, upper].T, centred[:, column:])
    covariance /= count - 1
    values, vectors = torch.linalg.eigh(covariance, UPLO="U")
    del covariance
    root = (values.clamp(min=0) + eps).sqrt()
    return Whitening(mean=mean, matrix=(vectors / root) @ vectors.T, restore=(vectors * root) @ vectors.T)


def directions(flat: Tensor) -> Tensor:
    """Return images `(N, D)` without their own means, and with norm 1; an image of one colour becomes 0."""
    return scaled(flat - flat.mean(1, keepdim=True))


def scaled(rows: Tensor) -> Tensor:
    """Return rows `(N, D)` divided by their norms; a row of zeros stays as it is."""
    norms = rows.norm(dim=1, keepdim=True)
    return torch.where(norms > 0, rows / norms.clamp(min=torch.finfo(rows.dtype).tiny), 0)


def fit_directions(images: Tensor, eps: float, *, rows: int | None = None) -> Whitening:
    """Fit a float64 whitening of the directions of images, from blocks of them.

    `matrix` is U diag((S + eps mean(S))^(-1/2)) U^T with the second moments X^T X / N = U diag(S) U^T of the
    directions X. Means and norms of the images are lost. `restore` therefore scales directions by the mean
    norm, and `mean` is the mean of all pixels, so that results can be looked at.

    Args:
        images: `(N, C, H, W)` in [0, 1].
        eps: Added to the eigenvalues, as a share of their mean.
        rows: Images in a block; None for as many as 256 MiB hold.
    """
    flat = images.flatten(1)
    count, size = flat.shape
    moments, length, level = torch.zeros(size, size, dtype=torch.float64), 0.0, 0.0
    for block in torch.split(flat, rows or max(1, _BLOCK // (8 * size))):
        wide = block.double()
        level += float(wide.mean(1).sum())
        length += float((wide - wide.mean(1, keepdim=True)).norm(dim=1).sum())
        own = directions(wide)
        moments.addmm_(own.T, own)
    values, vectors = torch.linalg.eigh(moments / count)
    values = values.clamp(min=0)
    root = (values + eps * values.mean()).sqrt()
    return Whitening(
        mean=torch.full((size,), level / count, dtype=torch.float64),
        matrix=(vectors / root) @ vectors.T,
        restore=(vectors * (root * (length / count))) @ vectors.T,
    )

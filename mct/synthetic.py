"""The synthetic dataset: images, labels, a learned learning rate, and where they come from.

One safetensors file holds all that is needed to use it elsewhere: `images` as networks see them,
`labels`, `learning_rate`, `pixels` (the images with the preprocessing undone, in [0, 1]), for ZCA
the whitening itself, and as metadata one key with JSON. Momentum buffers are in `state`.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from torch import Tensor

import trajfmt
from mct import tensorfile
from mct.config import LARGEST, DistillConfig
from mct.data import Dataset
from mct.errors import ConfigError, CorruptError, ResultError

RESULT_NAME = "synthetic.safetensors"
"""File of the result in the folder of a run."""

_KIND = "synthetic dataset"
_WHITENING_LIMIT = 64 << 20
"""Bytes: a larger whitening is left out of the file; it is fitted again from the dataset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a synthetic dataset was distilled from, and how."""

    dataset: str
    """Name of the real dataset."""

    class_names: tuple[str, ...]
    """One per class."""

    preprocessing: trajfmt.Preprocessing
    """What `images` went through."""

    model: trajfmt.Model
    """The network that was matched."""

    config: DistillConfig
    """Every setting, resolved."""

    artifact_sha256: str
    """Identity of the bundle."""

    outer_step: int
    """Outer steps done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticDataset:
    """Learned images; immutable, every update makes a new one."""

    images: Tensor
    """`(K*ipc, C, H, W)` float32, preprocessed, sorted by class."""

    labels: Tensor
    """`(K*ipc,)` int64."""

    learning_rate: float
    """The learned step size of the student."""

    origin: Origin

    @property
    def ipc(self) -> int:
        """Images per class."""
        return len(self.labels) // len(self.origin.class_names)


def pick_per_class(labels: Tensor, classes: int, ipc: int, generator: torch.Generator) -> Tensor:
    """Return the indices `(classes*ipc,)` of random images, sorted by class, without repetition.

    Raises:
        ConfigError: A class has fewer than `ipc` images.
    """
    chosen = []
    for label in range(classes):
        members = (labels == label).nonzero()[:, 0]
        if len(members) < ipc:
            raise ConfigError(f"`ipc` is {ipc}, but class {label} has only {len(members)} training images")
        order = torch.randperm(len(members), generator=generator)[:ipc]
        chosen.append(members[order.to(members.device)])
    return torch.cat(chosen)


def from_real(dataset: Dataset, origin: Origin, *, generator: torch.Generator) -> SyntheticDataset:
    """Return a synthetic dataset that starts as random real images, `origin.config.ipc` a class."""
    config = origin.config
    chosen = pick_per_class(dataset.train_labels, dataset.classes, config.ipc, generator)
    return SyntheticDataset(
        images=dataset.train_images[chosen].clone(),
        labels=dataset.train_labels[chosen].clone(),
        learning_rate=config.lr_init,
        origin=origin,
    )


def save(path: Path, synthetic: SyntheticDataset, dataset: Dataset) -> None:
    """Write a synthetic dataset, atomically; the same content gives the same bytes.

    Args:
        path: A `.safetensors` file; an existing one is replaced.
        synthetic: What to write.
        dataset: The real dataset, whose preprocessing is undone for `pixels`.
    """
    images = synthetic.images.detach().cpu()
    tensors = {
        "images": images,
        "labels": synthetic.labels.cpu(),
        "learning_rate": torch.tensor(synthetic.learning_rate, dtype=torch.float64),
        "pixels": dataset.pixels(images),
    }
    extra = dataset.transform.tensors()
    if sum(tensor.nbytes for tensor in extra.values()) <= _WHITENING_LIMIT:
        tensors |= extra
    facts = {"kind": _KIND, "version": 1, "origin": msgspec.to_builtins(synthetic.origin)}
    tensorfile.save(path, tensors, facts)


def load(path: Path) -> SyntheticDataset:
    """Read a synthetic dataset that `save` wrote.

    Raises:
        ResultError: The file is something else.
        CorruptError: It is damaged.
    """
    tensors, facts = tensorfile.load(path, kind=_KIND, version=1)
    try:
        origin = msgspec.convert(facts["origin"], Origin)
        images, labels = tensors["images"], tensors["labels"]
        rate = float(tensors["learning_rate"])
    except (KeyError, msgspec.ValidationError, RuntimeError) as exc:
        raise ResultError(f"{path}: not a synthetic dataset of this version: {exc}") from exc
    found = SyntheticDataset(images=images, labels=labels, learning_rate=rate, origin=origin)
    check(path, found)
    return found


def check(path: Path, found: SyntheticDataset) -> None:
    """Require that the parts of a stored dataset fit together.

    Raises:
        CorruptError: They do not.
    """
    images, labels, rate, origin = found.images, found.labels, found.learning_rate, found.origin
    classes, model = len(origin.class_names), origin.model
    if images.ndim != 4 or labels.shape != images.shape[:1] or len(labels) == 0:
        raise CorruptError(
            f"{path}: images {tuple(images.shape)} and labels {tuple(labels.shape)} do not fit"
        )
    if images.dtype != torch.float32 or labels.dtype != torch.int64 or not bool(images.isfinite().all()):
        raise CorruptError(f"{path}: images must be finite float32 and labels int64")
    if not bool(((labels >= 0) & (labels < classes)).all()) or not 0 < rate <= LARGEST:
        raise CorruptError(f"{path}: a label is not a class, or the learning rate {rate:g} is not > 0")
    if len(set(torch.bincount(labels, minlength=classes).tolist())) != 1:
        raise CorruptError(f"{path}: every class must have as many images")
    wanted = (model.channels, model.image_size, model.image_size, model.classes)
    if wanted != (*images.shape[1:], classes):
        raise CorruptError(f"{path}: the model is not one for images {tuple(images.shape[1:])}")

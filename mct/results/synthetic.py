"""The synthetic dataset: images, labels, a learned learning rate, and where they come from.

One safetensors file holds all that is needed to use it elsewhere: `images` as networks see them,
`labels`, `soft_labels` if there are some, `learning_rate`, `pixels` (the images with the preprocessing
undone, in [0, 1]), for ZCA the whitening itself, and as metadata one key with JSON. Momentum buffers
are in `state`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import torch
from torch import Tensor

from mct.data.datasets import Dataset
from mct.errors import ConfigError, CorruptError, ResultError
from mct.results.origin import Change, ForeignOrigin, Origin, Selection
from mct.runtime import tensorfile
from mct.settings.config import LARGEST

__all__ = [
    "BEST_NAME", "RESULT_NAME", "Change", "ForeignOrigin", "Origin", "Selection", "SyntheticDataset",
    "from_real", "from_tensors", "load", "pick_per_class", "save",
]  # fmt: skip

RESULT_NAME = "synthetic.safetensors"
"""File of the result in the folder of a run."""

BEST_NAME = "best.safetensors"
"""File of the images with the best evaluation so far, where there were evaluations."""

_BEFORE: Final = {"augment": "none", "select": "test"}
"""What runs did before these were settings."""

_KIND = "synthetic dataset"
_WHITENING_LIMIT = 64 << 20
"""Bytes: a larger whitening is left out of the file; it is fitted again from the dataset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticDataset:
    """Learned images; immutable, every update makes a new one."""

    images: Tensor
    """`(N, C, H, W)` float32, preprocessed; of a run of mct sorted by class."""

    labels: Tensor
    """`(N,)` int64: the classes; of a foreign set with `soft_labels` the likeliest."""

    soft_labels: Tensor | None = None
    """`(N, K)` float32: probabilities to train with instead of the classes."""

    learning_rate: float
    """The step size of the student, learned."""

    origin: Origin | ForeignOrigin

    @property
    def run(self) -> Origin:
        """Where it comes from, as the result of a run of mct.

        Raises:
            ResultError: It was read from files of another codebase.
        """
        if isinstance(self.origin, ForeignOrigin):
            raise ResultError(f"images of the layout {self.origin.layout}, which no run of mct distilled")
        return self.origin

    @property
    def counts(self) -> tuple[int, ...]:
        """Images of each class; as many of each where soft labels do not tell and the number allows it."""
        classes = len(self.origin.class_names)
        if self.soft_labels is not None and len(self.labels) % classes == 0:
            return (len(self.labels) // classes,) * classes
        return tuple(torch.bincount(self.labels, minlength=classes).tolist())

    @property
    def ipc(self) -> int | None:
        """Images per class; None where classes have different numbers of them."""
        counts = self.counts
        return counts[0] if len(set(counts)) == 1 else None

    @property
    def targets(self) -> Tensor:
        """What networks are trained with: `soft_labels` if there are some, else `labels`."""
        return self.labels if self.soft_labels is None else self.soft_labels

    def to(self, device: str | torch.device) -> "SyntheticDataset":
        """Return the dataset with its tensors on `device`."""
        soft = None if self.soft_labels is None else self.soft_labels.to(device)
        return replace(self, images=self.images.to(device), labels=self.labels.to(device), soft_labels=soft)

    def tensors(self) -> dict[str, Tensor]:
        """Return what a file holds of it, by name, on the CPU; `from_tensors` is the inverse."""
        tensors = {
            "images": self.images.detach().cpu(),
            "labels": self.labels.cpu(),
            "learning_rate": torch.tensor(self.learning_rate, dtype=torch.float64),
        }
        return tensors if self.soft_labels is None else tensors | {"soft_labels": self.soft_labels.cpu()}


def pick_per_class(
    labels: Tensor, classes: int, ipc: int | Sequence[int], generator: torch.Generator
) -> Tensor:
    """Return the indices of random images, `ipc` a class or that many of each, sorted by class, each once.

    Raises:
        ConfigError: A class has fewer images.
    """
    chosen = []
    for label, count in enumerate((ipc,) * classes if isinstance(ipc, int) else ipc):
        members = (labels == label).nonzero()[:, 0]
        if len(members) < count:
            raise ConfigError(f"`ipc` is {count}, but class {label} has only {len(members)} training images")
        order = torch.randperm(len(members), generator=generator)[:count]
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
    tensors = synthetic.tensors()
    tensors["pixels"] = dataset.pixels(tensors["images"])
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
    return from_tensors(path, tensors, facts.get("origin"))


def from_tensors(path: Path, tensors: Mapping[str, Tensor], origin: Any) -> SyntheticDataset:
    """Return the synthetic dataset of a file's tensors and of the JSON of its origin.

    Raises:
        ResultError: Something is missing.
        CorruptError: The parts do not fit together.
    """
    try:
        found = SyntheticDataset(
            images=tensors["images"],
            labels=tensors["labels"],
            soft_labels=tensors.get("soft_labels"),
            learning_rate=float(tensors["learning_rate"]),
            origin=_origin(dict(origin)),
        )
    except (KeyError, ValueError, TypeError, OverflowError, RuntimeError) as exc:
        raise ResultError(f"{path}: not a synthetic dataset of this version: {exc}") from exc
    _check(path, found)
    return found


def _origin(facts: dict[str, Any]) -> Origin | ForeignOrigin:
    if "layout" in facts:
        return msgspec.convert(facts, ForeignOrigin)
    return msgspec.convert(facts | {"config": _BEFORE | facts["config"]}, Origin)


def _check(path: Path, found: SyntheticDataset) -> None:
    """Require that the parts of a stored dataset fit together."""
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
    balanced = len(set(torch.bincount(labels, minlength=classes).tolist())) == 1
    if isinstance(origin, Origin) and not balanced:
        raise CorruptError(f"{path}: every class must have as many images")
    soft = found.soft_labels
    if soft is not None and (
        soft.shape != (len(labels), classes)
        or soft.dtype != torch.float32
        or not bool(((soft >= 0) & (soft <= 1)).all() and ((soft.sum(1) - 1).abs() < 1e-3).all())
    ):
        raise CorruptError(f"{path}: soft labels must be {len(labels)} float32 distributions over {classes}")
    wanted = (model.channels, model.image_size, model.image_size, model.classes)
    if wanted != (*images.shape[1:], classes):
        raise CorruptError(f"{path}: the model is not one for images {tuple(images.shape[1:])}")

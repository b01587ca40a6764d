"""Synthetic datasets: images, labels, the synthetic learning rate, and the record of their origin.

A synthetic dataset is stored in one safetensors file, which contains everything that is needed to use it
elsewhere:

* `images`, preprocessed, as networks see them;
* `labels`, and `soft_labels` if there are any;
* `label_logits`, whose softmax is `soft_labels`, if the labels were learned as logits; labels that were
  learned as rows are `soft_labels` themselves;
* `learning_rate`;
* `pixels`: the images in [0, 1] without preprocessing;
* `zca.mean` and `zca.matrix`, if the images are whitened and the matrix is not too large;
* the origin, as JSON in the metadata.

The optimizer state of a run is in another file, see `mct.distillation.state`.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import torch
from torch import Tensor

from mct.data import record
from mct.data.datasets import Dataset
from mct.errors import MissingError, ResultError
from mct.learned.labels import probabilities
from mct.learned.value import IMAGES, LABELS, RATE, Name, Value
from mct.results import preview, stages
from mct.results.consistency import check
from mct.results.examples import Examples
from mct.results.origin import Change, ForeignOrigin, Origin, Selection
from mct.results.stages import Stage
from mct.runtime import tensorfile

__all__ = [
    "BEST_NAME", "RESULT_NAME", "Change", "ForeignOrigin", "Origin", "Selection", "SyntheticDataset",
    "from_tensors", "load", "save",
]  # fmt: skip

RESULT_NAME = "synthetic.safetensors"
"""Name of the result in the folder of a run."""

BEST_NAME = "best.safetensors"
"""Name of the file with the best images so far, which exists if there were evaluations."""

_BEFORE: Final = {"augment": "none", "select": "test"}
"""Values of settings that files of earlier versions do not contain."""

KIND: Final = "synthetic dataset"
"""The kind of these files."""

_WHITENING_LIMIT = 64 << 20
"""Largest whitening in bytes that is stored in the file. A larger one must be fitted again to the dataset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticDataset:
    """A synthetic dataset of N images in K classes. It is immutable: every update creates a new one."""

    images: Tensor
    """`(N, C, H, W)` float32, preprocessed. Images that mct distilled are sorted by class, stage by stage."""

    labels: Tensor
    """`(N,)` int64: class numbers. In a foreign dataset with `soft_labels`, they are the most probable
    classes."""

    soft_labels: Tensor | None = None
    """`(N, K)` float32: class probabilities, on which networks are trained instead of `labels`; or rows of
    non-negative numbers that were learned (`is_rows`); or None."""

    label_logits: Tensor | None = None
    """`(N, K)` float32: learned labels as logits, whose softmax is `soft_labels`; or None."""

    learning_rate: float
    """The synthetic learning rate, with which networks are trained on the images; that of the last stage."""

    origin: Origin | ForeignOrigin
    """How the dataset was made."""

    @property
    def run(self) -> Origin:
        """The origin of a dataset that mct distilled.

        Raises:
            ResultError: If the dataset was read from files of another codebase.
        """
        if isinstance(self.origin, ForeignOrigin):
            raise ResultError(
                f"these images were read from the layout {self.origin.layout}; expected images that mct "
                "distilled"
            )
        return self.origin

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of images of each class.

        With soft labels, N/K is returned for every class if that is a whole number, as the most probable
        classes of the images need not be the classes for which they were distilled.
        """
        classes = len(self.origin.class_names)
        if self.soft_labels is not None and len(self.labels) % classes == 0:
            return (len(self.labels) // classes,) * classes
        return tuple(torch.bincount(self.labels, minlength=classes).tolist())

    @property
    def ipc(self) -> int | None:
        """Images per class, or None if this number differs between classes."""
        counts = self.counts
        return counts[0] if len(set(counts)) == 1 else None

    @property
    def targets(self) -> Tensor:
        """The labels on which networks are trained: `soft_labels` if there are any, else `labels`."""
        return self.labels if self.soft_labels is None else self.soft_labels

    @property
    def fixed(self) -> int:
        """Number of images of earlier stages, which come first and are not learned."""
        return stages.fixed(self.origin)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The parts of an evaluation in sequence; empty for images of a single stage."""
        return stages.sequence(self.origin, len(self.labels), self.learning_rate)

    @property
    def is_rows(self) -> bool:
        """Whether labels are learned as rows, whose sums need not be 1."""
        config = self.origin.config if isinstance(self.origin, Origin) else None
        return config is not None and (config.labels, config.label_form) == ("learned", "rows")

    @property
    def probabilities(self) -> Tensor | None:
        """`soft_labels` with sums of 1: rows are divided by theirs, and one without any becomes uniform."""
        if self.soft_labels is None or not self.is_rows:
            return self.soft_labels
        sums = self.soft_labels.sum(1, keepdim=True)
        return torch.where(sums > 0, self.soft_labels / sums, 1 / self.soft_labels.shape[1])

    @property
    def learned_images(self) -> Tensor | None:
        """Which images were learned, `(N,)` bool on the CPU, if a run has left the others as they were; else
        None."""
        return stages.learned(self.origin, len(self.labels))

    @property
    def values(self) -> dict[Name, Value]:
        """The learned values by name: images, learning rate, and labels if they are learned.

        Images and labels are those of the last stage.
        """
        found: dict[Name, Value] = {IMAGES: self._own(self.images), RATE: self.learning_rate}
        labels = self.soft_labels if self.is_rows else self.label_logits
        return found if labels is None else found | {LABELS: self._own(labels)}

    def _own(self, rows: Tensor) -> Tensor:
        """Return those of the last stage, of rows `(N, ...)` of all images."""
        return rows[self.fixed :] if self.fixed else rows

    def learned(self, values: Mapping[Name, Value]) -> "SyntheticDataset":
        """Return the dataset with other learned values, by the names of `values`."""
        found = replace(self, learning_rate=float(values.get(RATE, self.learning_rate)))
        images, logits = values.get(IMAGES), values.get(LABELS)
        if isinstance(images, Tensor):
            found = replace(found, images=self._whole(self.images, images))
        if not isinstance(logits, Tensor):
            return found
        if self.is_rows:
            return replace(found, soft_labels=self._whole(self.soft_labels, logits))
        soft = probabilities(logits)
        if self.label_logits is not None:
            soft, logits = self._whole(self.soft_labels, soft), self._whole(self.label_logits, logits)
        return replace(found, label_logits=logits, soft_labels=soft)

    def _whole(self, before: Tensor | None, own: Tensor) -> Tensor:
        """Return rows `(N, ...)` of all images: of earlier stages as before, and new ones of the last."""
        return own if before is None or not self.fixed else torch.cat([before[: self.fixed], own])

    def dataset(self, *, transform: Callable[[Tensor], Tensor] | None = None) -> Examples:
        """Return images and labels as a torch `Dataset` on the CPU, for a `DataLoader`.

        The images are preprocessed already, as `Examples` says. The labels are those of `targets`.

        Args:
            transform: Called with each image `(C, H, W)` when it is taken, for augmentation.
        """
        return Examples(
            self.images.detach().cpu(),
            self.targets.detach().cpu(),
            preprocessing=self.origin.preprocessing,
            class_names=self.origin.class_names,
            transform=transform,
        )

    def __repr__(self) -> str:
        return preview.line(self)

    def _repr_html_(self) -> str:
        return preview.html(self)

    def to(self, device: str | torch.device) -> "SyntheticDataset":
        """Return the dataset with its tensors on `device`."""
        soft, logits = (
            None if rows is None else rows.to(device) for rows in (self.soft_labels, self.label_logits)
        )
        images, classes = self.images.to(device), self.labels.to(device)
        return replace(self, images=images, labels=classes, soft_labels=soft, label_logits=logits)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of this dataset on the CPU, by name; `from_tensors` is the inverse."""
        tensors = {
            "images": self.images.detach().cpu(),
            "labels": self.labels.cpu(),
            "learning_rate": torch.tensor(self.learning_rate, dtype=torch.float64),
        }
        rows = {"soft_labels": self.soft_labels, "label_logits": self.label_logits}
        return tensors | {name: value.detach().cpu() for name, value in rows.items() if value is not None}


def save(path: Path, synthetic: SyntheticDataset, dataset: Dataset) -> None:
    """Write a synthetic dataset to a file, atomically. Equal datasets give equal bytes.

    Args:
        path: A `.safetensors` file; an existing one is replaced.
        synthetic: The dataset to write.
        dataset: The real dataset, whose preprocessing is inverted to compute `pixels`.
    """
    tensors = synthetic.tensors()
    tensors["pixels"] = dataset.pixels(tensors["images"])
    extra = dataset.transform.tensors()
    if sum(tensor.nbytes for tensor in extra.values()) <= _WHITENING_LIMIT:
        tensors |= extra
    facts = {"kind": KIND, "version": 1, "origin": msgspec.to_builtins(synthetic.origin)}
    tensorfile.save(path, tensors, facts)


def load(path: str | os.PathLike[str]) -> SyntheticDataset:
    """Read a synthetic dataset that `save` wrote.

    Args:
        path: The file, such as `two-distilled/best.safetensors`.

    Raises:
        MissingError: If the file does not exist.
        ResultError: If the file is not a synthetic dataset of this version.
        CorruptError: If the file is damaged.
    """
    path = Path(path)
    if path.is_dir():
        names = [name for name in (BEST_NAME, RESULT_NAME) if (path / name).is_file()]
        hint = f"give one of its files: {', '.join(names)}" if names else "it holds no synthetic dataset"
        raise MissingError(f"{path} is a folder; {hint}")
    tensors, facts = tensorfile.load(path, kind=KIND, version=1)
    return from_tensors(path, tensors, facts.get("origin"))


def from_tensors(path: Path, tensors: Mapping[str, Tensor], origin: Any) -> SyntheticDataset:
    """Create a synthetic dataset from the content of a file.

    Args:
        path: The file, for error messages.
        tensors: The tensors of `SyntheticDataset.tensors`; others are ignored.
        origin: The origin, as decoded from JSON.

    Raises:
        ResultError: If a tensor or a field of the origin is missing or invalid.
        CorruptError: If tensors and origin contradict each other.
    """
    try:
        found = SyntheticDataset(
            images=tensors["images"],
            labels=tensors["labels"],
            soft_labels=tensors.get("soft_labels"),
            label_logits=tensors.get("label_logits"),
            learning_rate=float(tensors["learning_rate"]),
            origin=_origin(dict(origin)),
        )
    except (KeyError, ValueError, TypeError, OverflowError, RuntimeError) as exc:
        raise ResultError(f"{path}: not a synthetic dataset of this version: {exc}") from exc
    check(path, found)
    return found


def _origin(facts: dict[str, Any]) -> Origin | ForeignOrigin:
    kind: type[Origin | ForeignOrigin] = ForeignOrigin
    if "layout" not in facts:
        kind, facts = Origin, facts | {"config": _BEFORE | facts["config"]}
    done = record.narrowed(msgspec.convert(facts["preprocessing"], record.Preprocessing))
    found = msgspec.convert(facts | {"preprocessing": {"kind": "none"}}, kind)  # what it says is in `done`
    return replace(found, preprocessing=done)

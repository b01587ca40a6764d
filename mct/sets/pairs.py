"""Layouts that consist of a file of images, a file of labels, and possibly a file with the learning rate."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from torch import Tensor

from mct.errors import ConfigError
from mct.results.origin import Meaning
from mct.sets import tensors
from mct.sets.base import DistilledSet, Reading, Written
from mct.sets.names import Picked, pick, picked

_LOOK: Final[Mapping[Meaning, str]] = {
    "classes": "labels are class numbers",
    "probabilities": "labels are probabilities, as every row has values from 0 to 1 that sum to 1",
    "logits": "labels are logits",
    "representations": "labels are representations",
}
"""The remark about labels of each meaning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Names of the files, with `{}` in place of a tag, and the meaning of labels that are rows of floats."""

    images: str = "images_{}.pt"
    labels: str = "labels_{}.pt"
    rate: str | None = None
    """Name of the file with the learning rate; None if the layout has none."""

    tags: str = r"best|\d+"
    """Regular expression of possible tags."""

    rows: Meaning | None = None
    """Meaning of labels that are rows of floats; None if the layout does not determine it.

    Rows that are probability distributions are taken as probabilities instead, unless the user named the
    layout or `always` is set.
    """

    always: bool = False
    """Whether rows of floats have the meaning `rows` even if they are probability distributions."""

    beside: tuple[str, ...] = field(default=())
    """Files that must exist beside the images for the layout to be detected."""

    def find(self, path: Path) -> Picked | None:
        """Return the set at a path, or None if there is none or a file of `beside` is missing."""
        found = pick(path, self.images, self.tags)
        if found is None or not all(found.file(name).is_file() for name in self.beside):
            return None
        return found

    def recognise(self, path: Path) -> str | None:
        """Return why a path has this layout, or None if it has another."""
        found = self.find(path)
        if found is None:
            return None
        names = [name.format(found.tag) for name in (self.images, *(self.beside or (self.labels,)))]
        why = f"{', '.join(names[:-1])} and {names[-1]} are in {found.folder}"
        return f"{why}, the best or last of {found.others + 1}" if found.others else why

    def read(self, path: Path, how: Reading) -> DistilledSet:
        """Read the files.

        Raises:
            MctError: If a file is missing or invalid, or the meaning of the labels is unknown.
        """
        found = picked(path, self.images, self.tags)
        images, labels = found.file(self.images), found.file(self.labels)
        found.require(self.labels, f"the labels of {images.name} must be beside it")
        pixels = tensors.images(tensors.read(images, trust_pickle=how.trust_pickle), images)
        own = tensors.labels(tensors.read(labels, trust_pickle=how.trust_pickle), len(pixels), labels)
        meaning = self.meaning(own, labels, how)
        files, rate = [images, labels], None
        if self.rate is not None and (place := found.file(self.rate)).is_file():
            rate = tensors.rate(tensors.read(place, trust_pickle=how.trust_pickle), place)
            files.append(place)
        return DistilledSet(
            images=pixels,
            labels=own,
            meaning=meaning,
            files=tuple(tensors.source(file) for file in files),
            learning_rate=rate,
            classes=own.shape[1] if meaning in ("probabilities", "logits") else None,
            known_from={} if rate is None else {"learning_rate": "file"},
            remarks=(_LOOK[meaning],),
        )

    def meaning(self, labels: Tensor, where: Path, how: Reading) -> Meaning:
        """Return the meaning of labels, from their values and this layout.

        Args:
            labels: `(N,)` int64 or `(N, K)` float32.
            where: File of the labels, for error messages.
            how: The options for reading.

        Raises:
            ConfigError: If neither the values nor the layout determine the meaning.
        """
        seen = tensors.meaning(labels)
        if seen == "classes" or (
            seen == "probabilities" and not self.always and not (how.layout_given and self.rows)
        ):
            return seen
        if self.rows is None:
            raise ConfigError(
                f"{where}: the labels are {tensors.described(labels)} and not probabilities; give their "
                "meaning: --from datm for logits, --from mkdt for representations"
            )
        return self.rows


def written(
    found: DistilledSet, pair: Pair, tag: str, labels: Tensor, remarks: tuple[str, ...] = ()
) -> Written:
    """Return the files of a pair.

    Args:
        found: The set.
        pair: The names of the files.
        tag: The tag in the names.
        labels: The labels to write.
        remarks: Remarks to which those about the learning rate are added.

    Raises:
        ConfigError: If the layout has a file for the learning rate, and the learning rate is unknown.
    """
    files = {
        pair.images.format(tag): tensors.saved(found.images.clone()),
        pair.labels.format(tag): tensors.saved(labels.clone()),
    }
    if pair.rate is None:
        if found.learning_rate is not None:
            remarks += (f"this layout cannot store the learning rate, {found.learning_rate:g}; note it down",)
    elif found.learning_rate is None:
        raise ConfigError("the files do not state the learning rate, which this layout needs; give --lr")
    else:
        files[pair.rate.format(tag)] = tensors.scalar(found.learning_rate)
    return Written(files=files, remarks=remarks)

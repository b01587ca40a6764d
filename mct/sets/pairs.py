"""What most codebases write: a file of images, one of labels, and perhaps one of the step size."""

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
    "probabilities": "labels are probabilities, as all rows are from 0 to 1 and sum to 1",
    "logits": "labels are logits",
    "representations": "labels are representations",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Names of the files, with `{}` for a tag, and what rows of floats mean in them."""

    images: str = "images_{}.pt"
    labels: str = "labels_{}.pt"
    rate: str | None = None
    tags: str = r"best|\d+"
    rows: Meaning | None = None
    """Of labels that are floats and no probabilities, or of all floats where the layout was named."""

    always: bool = False
    """Rows mean that even if they look like probabilities."""

    beside: tuple[str, ...] = field(default=())
    """Files that must be there for the layout to be recognised."""

    def find(self, path: Path) -> Picked | None:
        """Return the set at a path if all of its files are there that tell the layout."""
        found = pick(path, self.images, self.tags)
        if found is None or not all(found.file(name).is_file() for name in self.beside):
            return None
        return found

    def recognise(self, path: Path) -> str | None:
        """Say why a path is of this layout, naming the files."""
        found = self.find(path)
        if found is None:
            return None
        names = [name.format(found.tag) for name in (self.images, *(self.beside or (self.labels,)))]
        why = f"{', '.join(names[:-1])} and {names[-1]} lie in {found.folder}"
        return f"{why}, the best or last of {found.others + 1}" if found.others else why

    def read(self, path: Path, how: Reading) -> DistilledSet:
        """Read the files.

        Raises:
            MctError: One is missing, or is not what it should be.
        """
        found = picked(path, self.images, self.tags)
        images, labels = found.file(self.images), found.file(self.labels)
        found.require(self.labels, f"the labels of {images.name} lie beside it")
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
        """Return what labels are.

        Raises:
            ConfigError: Rows of floats, and neither looking nor the layout tells.
        """
        seen = tensors.meaning(labels)
        if seen == "classes" or (
            seen == "probabilities" and not self.always and not (how.layout_given and self.rows)
        ):
            return seen
        if self.rows is None:
            raise ConfigError(
                f"{where}: the labels are {tensors.described(labels)} and no probabilities; say what they "
                "are: --from datm for logits, --from mkdt for representations"
            )
        return self.rows


def written(
    found: DistilledSet, pair: Pair, tag: str, labels: Tensor, remarks: tuple[str, ...] = ()
) -> Written:
    """Return the files of a pair, with the step size where it has a file for it.

    Raises:
        ConfigError: It has, and the step size is not known.
    """
    files = {
        pair.images.format(tag): tensors.saved(found.images.clone()),
        pair.labels.format(tag): tensors.saved(labels.clone()),
    }
    if pair.rate is None:
        if found.learning_rate is not None:
            remarks += (f"no file for the step size, {found.learning_rate:g}: keep it yourself",)
    elif found.learning_rate is None:
        raise ConfigError("the files do not say the step size, which this layout needs: --lr")
    else:
        files[pair.rate.format(tag)] = tensors.scalar(found.learning_rate)
    return Written(files=files, remarks=remarks)

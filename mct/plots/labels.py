"""The labels of a synthetic dataset as a map of probabilities, one row for each image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mct.errors import ConfigError
from mct.results import files, synthetic
from trajfmt.errors import display
from trajfmt.plots import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAME: Final = 14
"""Longest name of a class that is shown, in characters."""

_NAMED: Final = 40
"""Most classes whose names are shown; more have their numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The soft labels of a synthetic dataset, sorted by class."""

    probabilities: NDArray[np.float32]
    """`(N, K)`: one row for each image."""

    labels: NDArray[np.int64]
    """`(N,)`: the classes for which the images were distilled."""

    class_names: tuple[str, ...]
    """One name for each class."""

    dataset: str
    """Name of the dataset."""

    @property
    def title(self) -> str:
        """The name of the dataset."""
        return f"{self.dataset}, labels"

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches."""
        count, classes = self.probabilities.shape
        width = 3.5 if classes <= _NAMED // 2 else 7.0
        return width, min(max(2.0, 0.9 + (width - 1.6) * count / classes), 9.0)

    def paint(self, figure: Figure) -> None:
        """Draw the map, with the classes of the images at its side and those of the labels below."""
        axes = figure.subplots()
        order = np.argsort(self.labels, kind="stable")
        shown = axes.imshow(
            self.probabilities[order], vmin=0, vmax=1, cmap="viridis", aspect="auto", interpolation="nearest"
        )
        classes = len(self.class_names)
        names = [self._name(label) for label in range(classes)]
        axes.set_xticks(range(classes) if classes <= _NAMED else range(0, classes, classes // 10))
        if classes <= _NAMED:
            axes.set_xticklabels(names, rotation=90, fontsize=min(7, 150 / classes))
        axes.set_xlabel("class")
        firsts = [int((self.labels < label).sum()) for label in range(classes)]
        counts = np.bincount(self.labels, minlength=classes)
        if classes <= _NAMED:
            middles = [first + (count - 1) / 2 for first, count in zip(firsts, counts, strict=True)]
            axes.set_yticks(middles)
            axes.set_yticklabels(names, fontsize=min(7, 150 / classes))
        axes.set_ylabel("image, by class")
        for tick in (*axes.get_xticklabels(), *axes.get_yticklabels()):
            tick.set_parse_math(False)
        figure.colorbar(shown, ax=axes, label="probability")

    def _name(self, label: int) -> str:
        name = display(self.class_names[label])
        return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"

    def table(self) -> Table:
        """Return one row for every image and class."""
        rows = [
            (image, int(self.labels[image]), label, name, float(self.probabilities[image, label]))
            for image in range(len(self.labels))
            for label, name in enumerate(self.class_names)
        ]
        return Table(("image", "image_class", "class_number", "class_name", "probability"), rows)


def labels(path: Path) -> Labels:
    """Read the soft labels of a run, or of a file of mct.

    Args:
        path: The folder of a run, from which the best labels are read if there are any, else the last ones;
        or a
            `.safetensors` file of mct.

    Raises:
        ConfigError: If the labels are class numbers.
        MissingError: If there is no such file, or no result in the folder.
        ResultError: If the file is not a synthetic dataset.
        CorruptError: If the file is damaged.
    """
    file = files.result_file(path)
    found = synthetic.load(file)
    if found.probabilities is None:
        raise ConfigError(
            f"{file}: its labels are class numbers, of which there is nothing to draw; labels are learned "
            "with mct distill --labels learned"
        )
    return Labels(
        probabilities=found.probabilities.numpy(),
        labels=found.labels.numpy(),
        class_names=found.origin.class_names,
        dataset=found.origin.dataset,
    )

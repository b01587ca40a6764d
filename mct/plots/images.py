"""The images of a synthetic dataset with the names of their classes, as in figure 5 of the MCT paper."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mct.errors import ConfigError
from mct.results import files
from trajfmt.errors import display
from trajfmt.plots import Table, literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Float = NDArray[np.float32]

_FEW: Final = 10
"""Most classes of one image each that are shown in a narrow figure."""

_STRIP: Final = 0.3
"""Height of the name below an image, as a share of the image's height."""

_DETAIL: Final = 96
"""Smallest width of an image in a file, in pixels. Smaller images are enlarged by a whole factor."""

_NAME: Final = 22
"""Longest name of a class that is shown, in characters. Some data sets list all synonyms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """The images of a synthetic dataset by class.

    If a class has several images, each class has a row that begins with its name. Otherwise the names are
    below the images.
    """

    pixels: Float
    """`(N, C, H, W)` float32 with C = 1 or 3: images without preprocessing. Values outside [0, 1] are shown
    as 0 or 1."""

    labels: NDArray[np.int64]
    """`(N,)`: class numbers. With soft labels, they are the most probable classes."""

    class_names: tuple[str, ...]
    """One name for each class."""

    dataset: str
    """Name of the dataset."""

    @property
    def title(self) -> str:
        """The name of the dataset."""
        return self.dataset

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches: one or two columns of a paper, and as high as the images need."""
        rows = self._rows()
        wide = len(rows[0]) > _FEW or (self._single and len(rows) > 2)
        width, names = (7.0 if wide else 3.5), (0.0 if self._single else 0.9)
        _, _, h, w = self.pixels.shape
        cell = (width - names) / max(map(len, rows)) * h / w
        return width, min(max(1.0, 0.3 + cell * len(rows) * (1 + _STRIP * self._single)), 100.0)

    @property
    def _single(self) -> bool:
        """Whether no class has several images."""
        return len(set(self.labels.tolist())) == len(self.labels)

    def _rows(self) -> list[list[int]]:
        """Return the numbers of the images in each row."""
        order = np.argsort(self.labels, kind="stable").tolist()
        if self._single:
            columns = math.ceil(len(order) / 2) if len(order) <= _FEW else _FEW
            return [order[k : k + columns] for k in range(0, len(order), columns)]
        labels = self.labels.tolist()
        return [[k for k in order if labels[k] == label] for label in sorted(set(labels))]

    def _name(self, image: int) -> str:
        name = display(self.class_names[int(self.labels[image])])
        return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"

    def paint(self, figure: Figure) -> None:
        """Draw the images and the names of their classes."""
        axes = figure.subplots()
        rows = self._rows()
        _, _, h, w = self.pixels.shape
        columns, high = max(map(len, rows)), h / w
        pitch = high * (1 + _STRIP) if self._single else high
        for number, row in enumerate(rows):
            top = number * pitch
            axes.imshow(_strip(self.pixels[row]), extent=(0, len(row), top + high, top), interpolation="none")
        axes.set(xlim=(0, columns), ylim=(len(rows) * pitch, 0), aspect="equal")
        axes.set_xticks([])
        axes.spines[:].set_visible(False)
        width, height = figure.get_size_inches()
        cell = min(width / columns, height / len(rows))
        if self._single:
            axes.set_yticks([])
            self._name_images(axes, rows, pitch, high, points=72 * width / columns)
        else:
            axes.set_yticks([number * pitch + high / 2 for number in range(len(rows))])
            axes.set_yticklabels([self._name(row[0]) for row in rows], fontsize=min(7, 60 * cell))
            axes.tick_params(axis="y", length=0)
            for tick in axes.get_yticklabels():
                tick.set_parse_math(False)

    def _name_images(
        self, axes: Axes, rows: list[list[int]], pitch: float, high: float, points: float
    ) -> None:
        """Write the name of its class below every image, in letters that are small enough for all names."""
        longest = max(len(self._name(image)) for row in rows for image in row)
        size = min(7.0, points * _STRIP * 0.65, points / longest / 0.62)
        for number, row in enumerate(rows):
            for column, image in enumerate(row):
                text = axes.text(
                    column + 0.5, number * pitch + high * 1.03, "", ha="center", va="top", fontsize=size
                )
                literal(text, self._name(image))

    def table(self) -> Table:
        """Return one row for every image: its class, and its pixels by channel, row and column."""
        _, c, h, w = self.pixels.shape
        names = tuple(f"pixel_{k}_{y}_{x}" for k, y, x in product(range(c), range(h), range(w)))
        rows = [
            (number, int(label), self.class_names[int(label)], *image.reshape(-1).tolist())
            for number, (label, image) in enumerate(zip(self.labels, self.pixels, strict=True))
        ]
        return Table(("image", "class_number", "class_name", *names), rows)


def _strip(images: Float) -> NDArray[np.uint8]:
    """Return images `(n, C, H, W)` side by side as `(H, n W, 3)`, enlarged, with white lines between."""
    count, channels, _, width = images.shape
    factor = max(1, math.ceil(_DETAIL / width))
    array = (images.clip(0, 1) * 255).round().astype(np.uint8).repeat(factor, 2).repeat(factor, 3)
    array = np.broadcast_to(array, (count, 3, *array.shape[2:])) if channels == 1 else array
    array = array.transpose(0, 2, 3, 1).copy()
    gap = max(1, array.shape[2] // 32)
    array[:, :gap], array[:, -gap:], array[:, :, :gap], array[:, :, -gap:] = 255, 255, 255, 255
    return np.concatenate(list(array), axis=1)


def images(path: Path, *, per_class: int | None = None) -> Images:
    """Read the images of a run, or of a file of mct.

    Args:
        path: The folder of a run, from which the best images are read if there are any, else the last ones;
            or a `.safetensors` file of mct.
        per_class: Number of images of each class, the first ones; None for all.

    Raises:
        ConfigError: If `per_class` is less than 1.
        MissingError: If there is no such file, or no result in the folder.
        ResultError: If the file is not a synthetic dataset.
        CorruptError: If the file is damaged.
    """
    if per_class is not None and per_class < 1:
        raise ConfigError(f"`per_class` must be >= 1, got {per_class}")
    found, pixels = files.load_pixels(files.result_file(path))
    labels = found.labels.numpy()
    kept = list(_first(labels, per_class))
    return Images(
        pixels=pixels.numpy()[kept],
        labels=labels[kept],
        class_names=found.origin.class_names,
        dataset=found.origin.dataset,
    )


def _first(labels: NDArray[np.int64], per_class: int | None) -> Iterator[int]:
    """Yield the numbers of the first images of each class."""
    seen: dict[int, int] = {}
    for number, label in enumerate(labels.tolist()):
        seen[label] = seen.get(label, 0) + 1
        if per_class is None or seen[label] <= per_class:
            yield number

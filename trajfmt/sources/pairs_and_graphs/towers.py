"""Pairs of an image tower and a text tower: `img_replay_buffer_{n}.pt` and `txt_replay_buffer_{n}.pt`.

Files with the same number are a pair. Two trajectories of a pair become one trajectory of both networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trajfmt.errors import SourceError, counted
from trajfmt.schema.layout import Dtype
from trajfmt.schema.models import PathFacts
from trajfmt.schema.provenance import KnownFrom, Provenance, TimestepUnit
from trajfmt.sources.base import unused
from trajfmt.sources.base.collection import FilePart, Found, OpenOptions, Part
from trajfmt.sources.base.targets import named_by
from trajfmt.sources.base.trajectories import ForeignTrajectory, Plain, Shapes
from trajfmt.sources.mtt_family.paths import parts_of
from trajfmt.sources.mtt_family.replay import ReplayPart, not_files, numbered, remarks_on_numbers
from trajfmt.trajectory.source import Values

__all__ = ["TowerPart", "TowerTrajectory", "Towers", "open_towers", "pairs_in"]

_IMAGE: Final = "img_replay_buffer_"
_TEXT: Final = "txt_replay_buffer_"
_PROJECTION: Final = [
    f"{module}.{kind}" for module in ("projection", "fc", "layer_norm") for kind in ("weight", "bias")
]
"""The names of the six parameters of the text tower that both codebases train."""


@dataclass(frozen=True, slots=True)
class Towers:
    """The facts in the path of a pair."""

    dataset: str
    image_encoder: str
    text_encoder: str
    more: dict[str, Any]


def pairs_in(path: Path) -> str | None:
    """Return the reason if a folder contains files of towers, and no replay buffers of whole networks."""
    if not path.is_dir() or numbered(path):
        return None
    found = numbered(path, _IMAGE) or numbered(path, _TEXT)
    return "there are img_replay_buffer_<n>.pt and txt_replay_buffer_<n>.pt" if found else None


def open_towers(
    path: Path, options: OpenOptions, codebase: str, read: Callable[[tuple[str, ...]], Towers | None]
) -> Found:
    """Return the pairs in a folder, by number. Files without their other half come first.

    Args:
        path: the folder.
        options: how to open the source.
        codebase: the name of the codebase.
        read: returns the facts in the components of a path, or None if the path has another form.

    Raises:
        SourceError: the path is a single file, or the folder contains no files of towers.
    """
    if not path.is_dir():
        raise SourceError(
            "unpaired_file", "a single tower is no trajectory; give the folder that contains both", path=path
        )
    images, texts = numbered(path, _IMAGE), numbered(path, _TEXT)
    both = sorted(images.keys() & texts.keys())
    trust = options.trust_pickle
    parts: list[Part] = []
    for found, missing in ((images, _TEXT), (texts, _IMAGE)):
        parts += [_Unpaired(found[n], f"{missing}{n}.pt") for n in found if n not in both]
    parts += [TowerPart(images[n], texts[n], trust_pickle=trust) for n in both]
    if not parts:
        raise SourceError("nothing_to_convert", "no img_replay_buffer_<n>.pt in this folder", path=path)
    used = [file for part in parts for file in (part.path, *part.also)]
    named, remarks = named_by(path, used, lambda folder: _facts(read(parts_of(folder))))
    facts = read(parts_of(named))
    recipe: dict[str, Any] | None = None
    if options.chosen or facts is not None:
        recipe = {"codebase": codebase}
    if facts is not None:
        recipe = {**(recipe or {}), "image_encoder": facts.image_encoder, "text_encoder": facts.text_encoder}
        recipe |= facts.more
    origin: dict[str, KnownFrom] = {"timestep": "layout"}
    if recipe is not None:
        origin["recipe"] = "flag" if options.chosen else "path"
    broken = not_files(path, _IMAGE) + not_files(path, _TEXT)
    return Found(
        folder=path,
        layout_name=f"pair of towers ({codebase})",
        recognised=options.why,
        parts=parts,
        notices=remarks_on_numbers(both, codebase) + broken + unused.remarks(path, used) + remarks,
        facts=PathFacts(dataset=facts.dataset if facts else None),
        provenance=Provenance(recipe=recipe, timestep=TimestepUnit(kind="epoch"), known_from=origin),
    )


def _facts(said: Towers | None) -> PathFacts:
    """Return the facts in a path, with those of the recipe in the place of the model."""
    if said is None:
        return PathFacts()
    encoders = {"image_encoder": said.image_encoder, "text_encoder": said.text_encoder}
    return PathFacts(dataset=said.dataset, model=encoders | said.more)


class _Unpaired(FilePart):
    """A file of one tower whose other half is missing."""

    def __init__(self, path: Path, missing: str) -> None:
        super().__init__(path)
        self._missing = missing

    def open(self, scratch: Path) -> Sequence[ForeignTrajectory]:
        """Refuse the file.

        Raises:
            SourceError: always.
        """
        del scratch
        raise SourceError(
            "unpaired_file",
            f"its other half {self._missing} is missing; add it to the folder, or skip this file with"
            " --keep-going",
            path=self.path,
        )


class TowerPart(FilePart):
    """The two files of one number."""

    def __init__(self, image: Path, text: Path, *, trust_pickle: bool = False) -> None:
        super().__init__(image, text)
        self.trust_pickle = trust_pickle
        self._halves = [ReplayPart(file, trust_pickle=trust_pickle) for file in (image, text)]

    def open(self, scratch: Path) -> Sequence[ForeignTrajectory]:
        """Return the trajectories of both files, combined in pairs.

        Raises:
            SourceError: the files have different numbers of trajectories.
            FormatError: a file is damaged, or unsafe to read.
        """
        images, texts = (half.open(scratch) for half in self._halves)
        if len(images) != len(texts):
            raise SourceError(
                "pair_mismatch",
                f"holds {counted(len(images), 'trajectory')}, {self.also[0].name} holds"
                f" {len(texts)}: they are of"
                " different runs",
                path=self.path,
            )
        pairs = zip(images, texts, strict=True)
        return [TowerTrajectory(image, text, self.path, self.also[0].name) for image, text in pairs]


class TowerTrajectory(Plain):
    """An image tower and a text tower as one trajectory.

    The parameters of the image tower come first, followed by those of the text tower.
    """

    def __init__(self, image: ForeignTrajectory, text: ForeignTrajectory, path: Path, other: str) -> None:
        self._image, self._text = image, text
        self._path, self._other = path, other

    @property
    def timesteps(self) -> int:
        """The number of timesteps, T + 1."""
        return self._image.timesteps

    @property
    def shapes(self) -> Shapes:
        """The shapes of the parameters of both towers."""
        return self._image.shapes + self._text.shapes

    @property
    def names(self) -> list[str]:
        """`image.{number}` and `text.{number}`, or the known names of the text projection."""
        text = self._text.shapes
        projection = len(text) == 6 and [len(shape) for shape in text] == [2, 1, 2, 1, 1, 1]
        ends = _PROJECTION if projection else [f"{index:03d}" for index in range(len(text))]
        images = [f"image.{index:03d}" for index in range(len(self._image.shapes))]
        return [*images, *(f"text.{end}" for end in ends)]

    @property
    def dtype(self) -> Dtype:
        """The common dtype of both towers.

        Raises:
            SourceError: the towers have different dtypes.
        """
        image, text = self._image.dtype, self._text.dtype
        if image != text:
            raise SourceError(
                "mixed_dtypes", f"the image tower is {image}, the text tower {text}", path=self._path
            )
        return image

    def read(self, t: int, parameter: int) -> Values:
        """Return one parameter at timestep t, flattened."""
        first = len(self._image.shapes)
        tower, index = (self._image, parameter) if parameter < first else (self._text, parameter - first)
        return tower.read(t, index)

    def check(self) -> None:
        """Refuse towers that are no pair.

        Raises:
            SourceError: the towers have different numbers of timesteps, or their files are swapped.
        """
        self._image.check()
        self._text.check()
        self.remarks = (*self._image.remarks, *self._text.remarks)
        image, text = self._image.timesteps, self._text.timesteps
        if image != text:
            raise SourceError(
                "pair_mismatch",
                f"has {counted(image, 'timestep')}, its other half {self._other} {text}: they are"
                " of different runs",
                path=self._path,
            )
        if _dimensions(self._text.shapes) > 2 >= _dimensions(self._image.shapes):
            raise SourceError(
                "pair_mismatch",
                f"has no convolution, its other half {self._other} has: the towers' files are swapped",
                path=self._path,
            )

    def close(self) -> None:
        """Free the memory and the maps of both towers."""
        self._image.close()
        self._text.close()


def _dimensions(shapes: Shapes) -> int:
    return max((len(shape) for shape in shapes if math.prod(shape)), default=0)

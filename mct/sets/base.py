"""What every layout of distilled images offers: recognising, reading and writing it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

import trajfmt
from mct.results.origin import Meaning, SourceFile, Teller
from mct.results.synthetic import SyntheticDataset


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilledSet:
    """What files of distilled images say, and nothing that they do not."""

    images: Tensor
    """`(N, C, H, W)` float32 on the CPU, finite, as they are in the file: preprocessed."""

    labels: Tensor
    """`(N,)` int64, or `(N, K)` float32."""

    meaning: Meaning
    """What `labels` are."""

    files: tuple[SourceFile, ...]
    """What was read."""

    learning_rate: float | None = None
    dataset: str | None = None
    """The name that this project has for it."""

    model: str | None = None
    """As `networks.parse` takes it."""

    preprocessing: trajfmt.Preprocessing | None = None
    classes: int | None = None
    known_from: Mapping[str, Teller] = field(default_factory=dict)
    """Of the facts above: who states it."""

    experiment: int | None = None
    remarks: tuple[str, ...] = ()
    """What was found by looking, one clause each."""

    synthetic: SyntheticDataset | None = None
    """The same with its origin, where the file is ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How to read."""

    layout_given: bool = False
    """Whether the user named the layout; the labels then mean what its codebase means by them."""

    experiment: int | None = None
    trust_pickle: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The files of a set in some layout, not on disk yet."""

    files: Mapping[str, bytes]
    """By name in the folder; the single one of a layout that is a file has the name ""."""

    remarks: tuple[str, ...] = ()
    """What the layout has no room for, and what its own code makes of it; one clause each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLayout:
    """A file layout of distilled images, and how it is recognised, read and written."""

    name: str
    """For `--from` and `--to`."""

    title: str
    """Whose."""

    files: str
    """What lies on disk, in one line."""

    recognise: Callable[[Path], str | None]
    """Why a path is of this layout, or None; looks at names only."""

    read: Callable[[Path, Reading], DistilledSet]
    """Raises an error of mct or trajfmt that says in one line what is wrong."""

    write: Callable[[DistilledSet], Written] | None = None
    """None: it can only be read."""

    hints: Mapping[str, str] = field(default_factory=dict)
    """Of a fact that the files leave open: where the codebase has it; a clause."""

    constants: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]] | str] = field(default_factory=dict)
    """Data set → mean and standard deviation of the codebase's own normalisation, where they are not those
    of `data`; a text with the options to choose from, where codebases of the layout differ."""

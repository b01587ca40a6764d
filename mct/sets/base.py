"""The type of a file layout of distilled images, with functions that recognise, read and write it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

import trajfmt
from mct.results.origin import Meaning, SourceFile, Teller
from mct.results.synthetic import SyntheticDataset


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilledSet:
    """The facts that files of distilled images state, and no others."""

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
    """For each of the facts above, who states it."""

    experiment: int | None = None
    remarks: tuple[str, ...] = ()
    """Facts that were inferred from the files, one clause each."""

    synthetic: SyntheticDataset | None = None
    """The set with its origin, if the file is ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How files are to be read."""

    layout_given: bool = False
    """Whether the user named the layout; the labels then mean what its codebase means by them."""

    experiment: int | None = None
    trust_pickle: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The files of a set in some layout, before they are written."""

    files: Mapping[str, bytes]
    """By name in the folder; the single one of a layout that is a file has the name ""."""

    remarks: tuple[str, ...] = ()
    """What the layout cannot store, and what its own code does instead; one clause each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLayout:
    """A file layout of distilled images, and how it is recognised, read and written."""

    name: str
    """Its name for `--from` and `--to`."""

    title: str
    """The codebases that use it."""

    files: str
    """Its files on disk, in one line."""

    recognise: Callable[[Path], str | None]
    """Returns why a path has this layout, or None; it looks at file names only."""

    read: Callable[[Path, Reading], DistilledSet]
    """Reads the files, or raises an error of mct or trajfmt whose message is one line."""

    write: Callable[[DistilledSet], Written] | None = None
    """Makes the files of a set; None if the layout can only be read."""

    hints: Mapping[str, str] = field(default_factory=dict)
    """For each fact that the files do not state, a clause about where the codebase has it."""

    constants: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]] | str] = field(default_factory=dict)
    """Dataset to mean and standard deviation of the codebase's own normalisation, if they are not those of
    `mct.data`. If codebases with this layout differ, a text with the options to choose from."""

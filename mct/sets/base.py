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
    """`(N, C, H, W)` float32 on the CPU, finite, and preprocessed as in the file."""

    labels: Tensor
    """`(N,)` int64 class numbers, or `(N, K)` float32, on the CPU."""

    meaning: Meaning
    """Meaning of `labels`."""

    files: tuple[SourceFile, ...]
    """The files that were read."""

    learning_rate: float | None = None
    dataset: str | None = None
    """Name of the real dataset, as a key of `mct.data.datasets.SOURCES`."""

    model: str | None = None
    """Name of the network, in the form of `mct.models.networks.parse`."""

    preprocessing: trajfmt.Preprocessing | None = None
    classes: int | None = None
    """Number of classes K."""

    known_from: Mapping[str, Teller] = field(default_factory=dict)
    """For each of the facts above, who states it."""

    experiment: int | None = None
    """Number of the experiment, from 0, if the file contains several."""

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
    """Number of the experiment to read, from 0; None if the user gave none."""

    trust_pickle: bool = False
    """Whether to load pickles that name classes or functions, which can execute any code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The files of a set in some layout, before they are written."""

    files: Mapping[str, bytes]
    """Content of each file by its name in a folder. If the layout is a single file, its name is ""."""

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

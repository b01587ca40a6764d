"""The interface of a file layout of distilled images, and the content that all layouts share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

import trajfmt
from mct.results.origin import Meaning, SourceFile, Teller
from mct.results.synthetic import SyntheticDataset


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilledSet:
    """The content of files of distilled images. Facts that the files do not state are None."""

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
    """For each of the facts above that is known, how it is known."""

    experiment: int | None = None
    """Number of the experiment, from 0, if the file contains several."""

    remarks: tuple[str, ...] = ()
    """What was detected when the files were read, one clause each, for a note to the user."""

    synthetic: SyntheticDataset | None = None
    """The complete synthetic dataset if the file is one of mct."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Options for reading files."""

    layout_given: bool = False
    """Whether the user named the layout. Labels then have the meaning that its codebase gives them."""

    experiment: int | None = None
    """Number of the experiment to read, from 0; None if the user gave none."""

    trust_pickle: bool = False
    """Whether to load pickles that name classes or functions, which can execute any code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The files of a set in some layout, before they are written to disk."""

    files: Mapping[str, bytes]
    """Content of each file by its name in a folder. If the layout is a single file, its name is ""."""

    remarks: tuple[str, ...] = ()
    """What the layout cannot store or its codebase cannot use, one clause each, for notes to the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLayout:
    """A file layout: the names and the structure of files of distilled images."""

    name: str
    """Name of the layout for `--from` and `--to`."""

    title: str
    """The codebases that use the layout."""

    files: str
    """The files in one line."""

    recognise: Callable[[Path], str | None]
    """Returns why a path has this layout, or None if it has another. It checks names only."""

    read: Callable[[Path, Reading], DistilledSet]
    """Reads a path of this layout. It raises an error of mct or trajfmt if the files are invalid."""

    write: Callable[[DistilledSet], Written] | None = None
    """Returns the files of a set in this layout; None if the layout can only be read."""

    hints: Mapping[str, str] = field(default_factory=dict)
    """For facts that the files do not state, a clause about where to find them."""

    constants: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]] | str] = field(default_factory=dict)
    """For each dataset that the codebase normalises with constants of its own, the mean and the standard
    deviation. If the codebases that share the layout use different constants, a text with the possible
    options."""

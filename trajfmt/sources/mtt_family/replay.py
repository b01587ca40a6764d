"""Replay buffers: numbered files of pickled trajectories, `replay_buffer_{n}.pt`, of MTT and its relatives.

The peculiarities of each codebase are in a `Writer`, in the module of its name. Tensors stay in the mapped
file.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trajfmt.errors import SourceError, TrajfmtError, display
from trajfmt.schema.models import PathFacts, facts_of_path
from trajfmt.schema.provenance import KnownFrom, Provenance, TimestepUnit
from trajfmt.sources.base import unused
from trajfmt.sources.base.collection import Collection, FileLayout, FilePart, Found, OpenOptions
from trajfmt.sources.base.targets import named_by
from trajfmt.sources.base.trajectories import ForeignTrajectory
from trajfmt.sources.base.unused import left_out, shortened
from trajfmt.sources.mtt_family.paths import folder_named
from trajfmt.sources.torchfile import pickled, zipped
from trajfmt.sources.torchfile.members import Members, Unusual
from trajfmt.sources.torchfile.nesting import check_nesting
from trajfmt.sources.torchfile.tensors import TensorTrajectory
from trajfmt.sources.torchfile.unpickle import load
from trajfmt.storage.holes import holes_of
from trajfmt.storage.inputs import InputFile

__all__ = [
    "ReplayPart",
    "Writer",
    "layout_of",
    "not_files",
    "numbered",
    "open_replay",
    "provenance_of",
    "recognise",
    "remarks_on_numbers",
]

_SHOWN: Final = 8
"""Missing numbers that a remark lists."""


def _nothing(folder: Path) -> dict[str, Any]:
    del folder
    return {}


def _no_reason(folder: Path) -> str | None:
    del folder
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """The replay buffers of one codebase."""

    codebase: str
    """The short name of the codebase, such as FTD."""

    title: str
    files: str = "replay_buffer_{n}.pt, 10 trajectories each, in {dataset}[_NO_ZCA][/{subset}/{res}]/{model}"
    folders: tuple[str, ...] = ()
    """Names of folders, in lower case, that identify the codebase."""

    form: Callable[[Path], str | None] = _no_reason
    """Return another sign of the codebase in the names of folders and files, in one clause, or None."""

    facts: Callable[[Path], PathFacts] = facts_of_path
    """Return the facts in the names of the folders."""

    recipe: Callable[[Path], dict[str, Any]] = _nothing
    """Return the training recipe in the names of the folders."""

    every: int = 1
    """Epochs between two timesteps."""

    first: int = 0
    """Number of the first file that the codebase reads."""

    repeats: bool = False
    """Whether the codebase may save a trajectory twice, with another number or in another file."""

    known_from: KnownFrom = "path"
    """The origin of the codebase for the provenance: names of folders, or (`layout`) other files there."""


def numbered(folder: Path, prefix: str = "replay_buffer_") -> dict[int, Path]:
    """Return the regular files `{prefix}{n}.pt` of a folder by number, in order. `7` is preferred to `07`."""
    pattern = re.compile(re.escape(prefix) + r"(\d+)\.pt")
    found = [(match, file) for file in folder.iterdir() if (match := pattern.fullmatch(file.name))]
    files: dict[int, Path] = {}
    for number, _, file in sorted((int(m[1]), len(m[1]), file) for m, file in found if file.is_file()):
        files.setdefault(number, file)
    return files


def not_files(folder: Path, prefix: str = "replay_buffer_") -> list[str]:
    """Return a remark on every entry of a folder that has the name of a numbered file and is no file."""
    pattern = re.compile(re.escape(prefix) + r"\d+\.pt")
    remarks = []
    for entry in sorted(folder.iterdir()):
        if pattern.fullmatch(entry.name) and not entry.is_file():
            dangling = entry.is_symlink() and not entry.exists()
            remarks.append(left_out(entry, "a broken link" if dangling else "no regular file"))
    return remarks


def recognise(path: Path) -> str | None:
    """Return why a path contains replay buffers, judging by the names of its files, or None."""
    if path.is_file():
        fits = re.fullmatch(r"replay_buffer_\d+\.pt", path.name)
        return "the file is called replay_buffer_<n>.pt" if fits else None
    return "there are replay_buffer_<n>.pt" if path.is_dir() and numbered(path) else None


def layout_of(writer: Writer) -> FileLayout:
    """Return the file layout of one codebase. It is recognised by the names of folders."""

    def recognised(path: Path) -> str | None:
        folder = path.parent if path.is_file() else path
        called = folder_named(folder, writer.folders) if writer.folders else None
        why = f"a folder is called {called}" if called else writer.form(folder)
        files = recognise(path) if why else None
        return f"{files}, and {why}" if files else None

    def opened(path: Path, options: OpenOptions) -> Collection:
        return open_replay(path, options, writer)

    name = writer.codebase.lower()
    return FileLayout(name=name, title=writer.title, files=writer.files, recognise=recognised, open=opened)


def open_replay(path: Path, options: OpenOptions, writer: Writer, *also: Path) -> Found:
    """Return the replay buffers of a folder, or one file.

    Args:
        path: the folder, or the file.
        options: how to open the source.
        writer: the codebase.
        also: further files, which follow those of the folder.

    Raises:
        SourceError: the folder contains no replay buffers.
    """
    notices: list[str] = []
    if path.is_file():
        folder, files = path.parent, [path]
    else:
        folder, found = path, numbered(path)
        files = [*found.values(), *also]
        if not files:
            raise SourceError("nothing_to_convert", "no replay_buffer_<n>.pt in this folder", path=path)
        notices += remarks_on_numbers(list(found), writer.codebase, writer.first)
        notices += not_files(path) + unused.remarks(path, files)
    notices += filter(None, map(_unwritten, files))
    named, remarks = named_by(folder, files, writer.facts)
    notices += remarks
    return Found(
        folder=folder,
        layout_name=f"{writer.codebase} buffer",
        recognised=options.why,
        parts=[ReplayPart(file, trust_pickle=options.trust_pickle) for file in files],
        notices=notices,
        facts=writer.facts(named),
        provenance=provenance_of(writer, named, options),
        repeats=writer.repeats,
    )


def _unwritten(file: Path) -> str | None:
    """Return a remark on a file with holes, unless its checksums tell whether zeros are right there."""
    if not (holes := holes_of(file.resolve())):
        return None
    try:
        if Members(InputFile(file.resolve(), least=0), file).summed:
            return None
    except (Unusual, TrajfmtError):
        pass  # of torch's older kind, or opening it tells
    start, stop = holes[0]
    return (
        f"bytes {start} to {stop} of {display(file.name)} are zeros that were never written; if these are no"
        " zeros of the network, the file is incomplete: fetch or save it again"
    )


def provenance_of(writer: Writer, folder: Path, options: OpenOptions) -> Provenance:
    """Return the provenance that the codebase implies: its name, its recipe, and the unit of a timestep."""
    recipe = {"codebase": writer.codebase, **writer.recipe(folder)}
    unit = TimestepUnit(kind="epoch", every=writer.every)
    origin: dict[str, KnownFrom] = {"recipe": "flag" if options.chosen else writer.known_from}
    return Provenance(recipe=recipe, timestep=unit, known_from={**origin, "timestep": "layout"})


def remarks_on_numbers(numbers: list[int], codebase: str = "MTT", first: int = 0) -> list[str]:
    """Return remarks on a numbering with which the codebase's own reader would miss files."""
    missing: list[int] = []
    expected = first
    for number in numbers:
        missing += range(expected, min(number, expected + _SHOWN + 1 - len(missing)))
        expected = max(number + 1, first)
    notices = []
    if numbers and numbers[0] < first:
        notices.append(
            f"{codebase}'s reader begins at file {first}: it would miss file {numbers[0]}, which is used here"
        )
    if missing:
        shown = shortened(missing, _SHOWN)
        gaps = any(b - a > 1 for a, b in itertools.pairwise(numbers))
        what = "has gaps" if gaps else f"does not start at {first}"
        notices.append(
            f"the numbering {what} (no file {shown}): {codebase}'s reader would miss files, all are used here"
        )
    return notices


class ReplayPart(FilePart):
    """One replay buffer."""

    def __init__(self, path: Path, *, trust_pickle: bool = False) -> None:
        super().__init__(path)
        self._trust = trust_pickle

    def open(self, scratch: Path) -> Sequence[ForeignTrajectory]:
        """Return the trajectories of the file, read in place, or by torch if it is unusual.

        Raises:
            CorruptError: the file is damaged, or no replay buffer.
            SourceError: the file is of another kind.
            UnsafeError: the pickle contains other objects, and `trust_pickle` is False.
            MissingDependencyError: the file is unusual, and torch is not installed.
        """
        del scratch
        try:
            return zipped.read(self.path)
        except zipped.Unusual:
            pass
        try:
            buffer = pickled.read(self.path)
        except pickled.Unusual:
            buffer = load(self.path, trust_pickle=self._trust)
        check_nesting(buffer, self.path)
        return [TensorTrajectory(item, self.path) for item in buffer]

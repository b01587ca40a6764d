"""What can be converted: one module per layout, one table of them.

A layout is recognised by looking, or named. `open_source` gives a `Collection`: files, each with its
trajectories.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from trajfmt.errors import MissingError, SourceError, UsageError, display
from trajfmt.sources import bundles
from trajfmt.sources.base.collection import Buffers, Collection, FileLayout, OpenOptions, Part
from trajfmt.sources.checkpoints import huggingface, pytorch
from trajfmt.sources.checkpoints.search import candidates
from trajfmt.sources.mtt_family import mtt
from trajfmt.sources.mtt_family.replay import not_files
from trajfmt.sources.table import LAYOUTS
from trajfmt.storage.address import Address, Place

__all__ = [
    "LAYOUTS",
    "Collection",
    "FileLayout",
    "Located",
    "OpenOptions",
    "Part",
    "layout_named",
    "open_source",
    "recognise",
]

_DEPTH: Final = 4
"""How far below a folder without trajectories they are looked for."""

_FOLDERS: Final = 64
"""How many folders are looked at there, on each level."""


class Located(NamedTuple):
    """Where trajectories lie, and what says so."""

    path: Path
    layout: FileLayout
    why: str


def layout_named(name: str) -> FileLayout:
    """Return a layout by the name that the user gives, in any case.

    Raises:
        UsageError: there is none of that name.
    """
    for layout in LAYOUTS:
        if layout.name == name.lower():
            return layout
    raise UsageError(f"no layout is called {name!r}; `traj sources` lists them")


def recognise(path: Path) -> Located:
    """Find trajectories: what lies at `path`, or else in the only folder below it that holds any.

    The first layout counts that recognises it; a single file of no known name counts as MTT's.

    Raises:
        SourceError: no layout recognises it, or there are several folders below.
    """
    found = _first(LAYOUTS, path)
    if found and (path.is_file() or not _is_loose(found)):
        return found
    if path.is_file():
        return Located(path, mtt.LAYOUT, "a single file of no known name")
    if not path.is_dir():
        what = "neither a folder nor a regular file; give the file itself, or the folder that it is in"
        raise SourceError("nothing_to_convert", what, path=path)
    below, looked_everywhere = _below(path)
    if found and not below:
        return found
    if not found and len(below) == 1 and looked_everywhere and not not_files(path):
        where = display(below[0].path.relative_to(path))
        return below[0]._replace(why=f"{below[0].why} in {where}, the only such folder")
    raise SourceError("nothing_to_convert", _nothing_in(path, found, below, looked_everywhere), path=path)


def _is_loose(found: Located) -> bool:
    """Tell checkpoints that lie further down, or a single one: other trajectories may be meant."""
    kinds = {pytorch.LAYOUT: pytorch.KIND, huggingface.LAYOUT: huggingface.KIND}
    kind = kinds.get(found.layout)
    return kind is not None and len(candidates(found.path, kind)) < 2


def _first(layouts: Iterable[FileLayout], path: Path) -> Located | None:
    for layout in layouts:
        if (why := layout.recognise(path)) is not None:
            return Located(path, layout, why)
    return None


def open_source(
    path: Place,
    *,
    layout: str | None = None,
    trust_pickle: bool = False,
    keep_going: bool = False,
    buffers: Buffers = "keep",
) -> Collection:
    """Open what lies at `path`, which is of the layout that is named, else of the first that recognises it.

    Raises:
        MissingError: there is nothing.
        UsageError: no layout has that name.
        SourceError: there is nothing that can be converted.
    """
    if isinstance(path, Address):
        if layout not in (None, bundles.LAYOUT.name):
            raise UsageError(f"{display(path)}: only bundles are read from an address; copy other files here")
        return bundles.open_at(path)
    if not path.exists():
        raise MissingError(f"{display(path)}: no such file or folder")
    options = OpenOptions(trust_pickle, keep_going=keep_going, buffers=buffers)
    if layout is not None:
        named = layout_named(layout)
        return named.open(path, replace(options, told=True, why=f"--from {named.name} says so"))
    found = recognise(path)
    return found.layout.open(found.path, replace(options, why=found.why))


def _nothing_in(path: Path, found: Located | None, below: Sequence[Located], looked_everywhere: bool) -> str:
    """Say what was looked for in a folder, and what to do."""
    some = [display(other.path.relative_to(path)) for other in below[:3]]
    shown = ", ".join(some) + (", …" if len(below) > len(some) else "")
    if found:
        return f"{found.why}; and other trajectories in {shown}: give the folder that is meant"
    looked = (
        "no layout fits this folder: neither manifest.json nor replay_buffer_<n>.pt, waypoint_buffer*_<n>.pt,"
        " img_replay_buffer_<n>.pt or numbered checkpoints are in it; "
    )
    if below:
        return f"{looked}give one of the folders that have them: {shown}"
    if broken := not_files(path):
        return looked + broken[0]
    if not looked_everywhere:
        looked += f"only {_FOLDERS} folders a level were looked at, {_DEPTH} levels down; "
    return looked + "`traj sources` lists what is known"


def _below(path: Path) -> tuple[list[Located], bool]:
    """Return the folders with trajectories below one without, and whether all folders were looked at."""
    shallow = [layout for layout in LAYOUTS if layout not in (huggingface.LAYOUT, pytorch.LAYOUT)]
    found: list[Located] = []  # those two have looked further down themselves
    level, everywhere = [path], True
    for _ in range(_DEPTH):
        children = [child for folder in level for child in _folders(folder)]
        level = []
        for child in children[:_FOLDERS]:
            if located := _first(shallow, child):
                found.append(located)
            else:
                level.append(child)
        everywhere = everywhere and len(children) <= _FOLDERS
    return found, everywhere and not any(_folders(folder) for folder in level)


def _folders(path: Path) -> list[Path]:
    try:
        with os.scandir(path) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
            return sorted(Path(entry) for entry in found if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []

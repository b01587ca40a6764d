"""What can be converted: one module per layout, one table of them.

A layout is recognised by looking, or named. `open_source` gives a `Collection`: files, each with its
trajectories.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from trajfmt.address import Address, Place
from trajfmt.errors import MissingError, SourceError, UsageError, display
from trajfmt.sources import bundles, checkpoints, huggingface, mtt
from trajfmt.sources.base import Buffers, Collection, Layout, OpenOptions, Part
from trajfmt.sources.replay import not_files
from trajfmt.sources.table import LAYOUTS

__all__ = [
    "LAYOUTS",
    "Collection",
    "Layout",
    "OpenOptions",
    "Part",
    "layout_named",
    "nothing_in",
    "open_source",
    "recognise",
]

_DEPTH: Final = 4
_FOLDERS: Final = 64
"""How far below a folder without trajectories they are looked for."""


def layout_named(name: str) -> Layout:
    """Return a layout by the name that the user gives, in any case.

    Raises:
        UsageError: there is none of that name.
    """
    for layout in LAYOUTS:
        if layout.name == name.lower():
            return layout
    raise UsageError(f"no layout is called {name!r}; `traj sources` lists them")


def recognise(path: Path) -> tuple[Layout, str] | None:
    """Return the first layout that recognises what lies at a path, and why it does; None if none does."""
    return _first(LAYOUTS, path) or (
        (mtt.LAYOUT, "a single file of no known name") if path.is_file() else None
    )


def _first(layouts: Iterable[Layout], path: Path) -> tuple[Layout, str] | None:
    for layout in layouts:
        if (why := layout.recognise(path)) is not None:
            return layout, why
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
    if found is None:
        raise SourceError("nothing_to_convert", nothing_in(path), path=path)
    return found[0].open(path, replace(options, why=found[1]))


def nothing_in(path: Path) -> str:
    """Say what was looked for in a folder that no layout recognises, and what to do."""
    if not path.is_dir():
        return "neither a folder nor a regular file; give the file itself, or the folder that it is in"
    looked = (
        "no layout fits this folder: neither manifest.json nor replay_buffer_<n>.pt, waypoint_buffer*_<n>.pt,"
        " img_replay_buffer_<n>.pt or numbered checkpoints are in it; "
    )
    found, level = [], [path]
    for _ in range(_DEPTH):
        level = [child for folder in level for child in _folders(folder)][:_FOLDERS]
        found += level
    shallow = [layout for layout in LAYOUTS if layout not in (huggingface.LAYOUT, checkpoints.LAYOUT)]
    for folder in found[:_FOLDERS]:  # those two have looked further down themselves
        if (below := _first(shallow, folder)) is not None:
            return f"{looked}give {display(folder.relative_to(path))}, where {below[1]}"
    if broken := not_files(path):
        return looked + broken[0]
    return looked + "`traj sources` lists what is known"


def _folders(path: Path) -> list[Path]:
    try:
        with os.scandir(path) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
            return sorted(Path(entry) for entry in found if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []

"""Finding the file layout of a path, and opening the source there.

A file layout is recognised from names and a few bytes, or named by the user. `open_source` returns a
`Collection`: parts, each with its trajectories.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from trajfmt.errors import MissingError, SourceError, UsageError, display
from trajfmt.sources import bundles
from trajfmt.sources.base.collection import BufferMode, Collection, FileLayout, OpenOptions, Part
from trajfmt.sources.base.unused import is_hidden, shortened
from trajfmt.sources.checkpoints import folders, pytorch
from trajfmt.sources.checkpoints.beside import outside
from trajfmt.sources.checkpoints.elsewhere import known, known_below
from trajfmt.sources.checkpoints.search import candidates
from trajfmt.sources.checkpoints.selected import open_selected
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
"""Levels of folders that are searched below a folder without trajectories."""

_FOLDERS: Final = 64
"""Folders that are searched on each level."""


class Located(NamedTuple):
    """The path of trajectories, their file layout, and the reason why it was recognised."""

    path: Path
    layout: FileLayout
    why: str


def layout_named(name: str) -> FileLayout:
    """Return the file layout with a name, in upper or lower case.

    Raises:
        UsageError: no file layout has this name.
    """
    for layout in LAYOUTS:
        if layout.name == name.lower():
            return layout
    raise UsageError(f"no file layout is called {name!r}; `traj sources` lists them")


def recognise(path: Path) -> Located:
    """Find trajectories at `path`, or otherwise in the only folder below it that contains any.

    The first file layout in the table that recognises the path is taken. A single file of an unknown name is
    taken for a replay buffer of MTT.

    Raises:
        SourceError: no file layout recognises the path, or several folders below it contain trajectories.
    """
    found = _first(LAYOUTS, path)
    if found and (path.is_file() or not _is_loose(found)):
        return found
    if path.is_file():
        if (named := known(path)) is not None:
            raise SourceError("nothing_to_convert", named, path=path)
        return Located(path, mtt.LAYOUT, "a single file with an unknown name")
    if not path.is_dir():
        what = "neither a folder nor a regular file; give the file itself, or the folder that it is in"
        raise SourceError("nothing_to_convert", what, path=path)
    below, limit = _below(path)
    if found and all(other.layout is bundles.LAYOUT for other in below):  # those are named as left out
        return found
    if not found and len(below) == 1 and not limit and not not_files(path):
        where = display(below[0].path.relative_to(path))
        return below[0]._replace(why=f"{below[0].why} in {where}, the only such folder")
    raise SourceError("nothing_to_convert", _nothing_in(path, found, below, limit), path=path)


def _is_loose(found: Located) -> bool:
    """Return whether only checkpoints in folders below were found, or a single one.

    The user may then mean other trajectories in those folders.
    """
    kinds = {pytorch.LAYOUT: pytorch.KIND, folders.LAYOUT: folders.KIND}
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
    buffers: BufferMode = "keep",
    buffer_names: tuple[str, ...] = (),
    key: str | None = None,
    select: str | None = None,
) -> Collection:
    """Open the source at `path`.

    Args:
        path: a file or folder, or the address of a bundle.
        layout: the name of the file layout. By default the first that recognises the path is taken.
        trust_pickle: unpickle without restriction, which runs any code in the files.
        keep_going: skip checkpoints of a run that cannot be read instead of failing.
        buffers: the treatment of module buffers.
        buffer_names: patterns of names of tensors to treat as module buffers.
        key: the key of the weights in each checkpoint of a run.
        select: a pattern of the paths of the checkpoints to use, relative to `path`; `{step}`, `{epoch}` and
            `{any}` in it are described in `checkpoints.stated`.

    Raises:
        MissingError: there is no such file or folder.
        UsageError: no file layout has this name, it cannot be read from an address, or an option does not
            apply to it.
        SourceError: there is nothing that can be converted.
        FormatError: a bundle, or the description of a run, is damaged or unsafe to read.
    """
    options = OpenOptions(
        trust_pickle,
        keep_going=keep_going,
        buffers=buffers,
        buffer_names=buffer_names,
        key=key,
        select=select,
    )
    if isinstance(path, Address):
        if layout not in (None, bundles.LAYOUT.name):
            raise UsageError(f"{display(path)}: only bundles are read from an address; copy other files here")
        _check_options(path, bundles.LAYOUT, options)
        return bundles.open_at(path)
    if not path.exists():
        raise MissingError(f"{display(path)}: no such file or folder")
    if layout is not None:
        named = layout_named(layout)
        found = Located(path, named, f"named with --from {named.name}")
    elif select is not None:
        found = Located(path, pytorch.LAYOUT, f"selected with --select {select}")
    else:
        found = recognise(path)
    _check_options(found.path, found.layout, options)
    if select is not None:
        return open_selected(found.path, replace(options, why=found.why))
    return found.layout.open(found.path, replace(options, chosen=layout is not None, why=found.why))


def _check_options(path: Place, layout: FileLayout, options: OpenOptions) -> None:
    """Refuse options that do not apply to a file layout.

    Raises:
        UsageError: the options are for checkpoints of a run and these are other files, or for pickles and
            this is a bundle.
    """
    given = {
        "--select": options.select,
        "--key": options.key,
        "--buffer": options.buffer_names,
        f"--buffers {options.buffers}": options.buffers != "keep",
    }
    names = [name for name, value in given.items() if value]
    if names and layout not in (pytorch.LAYOUT, folders.LAYOUT):
        raise UsageError(
            f"{display(path)}: {names[0]} is for checkpoints of a training run, and this is {layout.title}"
        )
    if options.trust_pickle and layout is bundles.LAYOUT:
        raise UsageError(f"{display(path)}: --trust-pickle is for pickles, and a bundle has none; omit it")


def _nothing_in(path: Path, found: Located | None, below: Sequence[Located], limit: str) -> str:
    """Return an error message: what was searched for in a folder, and what to do."""
    shown = shortened([other.path.relative_to(path) for other in below], 3)
    if found:
        return f"{found.why}; and other trajectories in {shown}: give the folder that is meant"
    looked = (
        "no file layout fits this folder: neither manifest.json nor replay_buffer_<n>.pt,"
        " waypoint_buffer*_<n>.pt, img_replay_buffer_<n>.pt or numbered checkpoints are in it; "
    )
    if below:
        return f"{looked}give one of the folders that have them: {shown}"
    if broken := not_files(path):
        return looked + broken[0]
    if (named := known_below(path)) is not None:
        return named
    if not limit and (there := outside(path, [])):
        return f"{looked}{'; '.join(there)}; --select chooses checkpoints with other names"
    return f"{looked}{limit}" + (
        "`traj sources` lists the known file layouts, and --select chooses checkpoints with other names"
    )


def _below(path: Path) -> tuple[list[Located], str]:
    """Return the folders with trajectories below `path`, and a clause on folders that were not searched."""
    shallow = [layout for layout in LAYOUTS if layout not in (folders.LAYOUT, pytorch.LAYOUT)]
    # The file layouts of checkpoints have searched the folders below already.
    found: list[Located] = []
    level, limit = [path], ""
    for _ in range(_DEPTH):
        children = [child for folder in level for child in _folders(folder)]
        level = []
        for child in children[:_FOLDERS]:
            if located := _first(shallow, child):
                found.append(located)
            else:
                level.append(child)
        if len(children) > _FOLDERS:
            limit = f"only {_FOLDERS} folders on each level were searched, {_DEPTH} levels down; "
    if not limit and any(map(_folders, level)):
        limit = f"only {_DEPTH} levels of folders were searched; "
    return found, limit


def _folders(path: Path) -> list[Path]:
    try:
        with os.scandir(path) as entries:
            found = [entry for entry in entries if not is_hidden(entry.name)]
            return sorted(Path(entry) for entry in found if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []

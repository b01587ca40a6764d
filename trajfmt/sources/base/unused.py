"""Remarks on files in the folder of a source that are not used, with the reason.

The patterns cover the files that the field's scripts leave in a folder of trajectories.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePath
from typing import Final

from trajfmt.errors import display

__all__ = ["is_hidden", "left_out", "remarks", "shortened"]

_REASONS: Final = (
    (r"(waypoint|step)_buffer_.*\.pt", "MCT's convexified form of other files (--from mct-authors)"),
    (r"convexified.*\.pt", "MCT's dense convexified form of other files (--from mct-dense)"),
    (r"(img|txt)_replay_buffer_\d+\.pt", "one tower of a pair (--from vl or lors)"),
    (r"replay_buffer_\d+\.pt", "a second file with its number, or of another file layout (--from mtt)"),
    (
        r".*\.(tmp|part|partial|filepart|incomplete|download|crdownload|aria2|bak|old|swp|lock)([._-].*)?|"
        r".*gstmp|.*~|\..*|copy of .*|.* copy( \d+)?\.pt|.* \(\d+\)\.pt|.*\.sync-conflict-.*",
        "unfinished, or a copy",
    ),
    (r"(images|labels|lr|synlr|best_lr|ema_\w+)(_\w+)?\.pt", "a distilled set, not trajectories"),
    (r"checkpoint\.pt", "no list of trajectories (EDF keeps unsaved experts in a file of this name)"),
    (r".*\.(pt|pth|ckpt|pkl|safetensors)(\.(gz|bz2|xz|zst|zip|tar|\d+))?", "not one of the numbered files"),
)
"""The pattern of a whole file name, and why such a file is not used. The first pattern that fits counts."""

_SYSTEM: Final = frozenset({"__MACOSX", "lost+found", "$RECYCLE.BIN", "System Volume Information", "@eaDir"})
"""Folders in which systems keep copies and remains of files."""

_NO_REMARK: Final = frozenset({".DS_Store", ".directory", ".gitignore", ".gitattributes"})
"""Hidden files that hold no weights."""

_BUFFER: Final = re.compile(r"(?:[A-Za-z0-9_]*replay|waypoint|step)_buffer\w*_\d+\.pt")
"""Names of files of trajectories, which are looked for in the folders below."""

_SEARCHED: Final = 2000
"""Entries below a folder among which they are looked for."""

_SHOWN: Final = 3
"""Names of one kind that a remark lists."""


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, or one that systems and notebooks keep for themselves.

    >>> is_hidden(".ipynb_checkpoints"), is_hidden("__MACOSX"), is_hidden("run1")
    (True, True, False)
    """
    return name.startswith(".") or name in _SYSTEM


def remarks(folder: Path, used: Collection[Path]) -> list[str]:
    """Return a remark for each kind of file in a folder that could contain trajectories and is not used.

    Folders with files of trajectories get one, too. Other folders, and files such as logs, tables and
    pictures, get none.

    Args:
        folder: the folder of the source.
        used: the files that are used.
    """
    kinds: dict[str, list[str]] = {}
    names = {path.name for path in used}
    for name in sorted(entry.name for entry in folder.iterdir() if entry.is_file()):
        reason = next(
            (why for pattern, why in _REASONS if re.fullmatch(pattern, name, re.DOTALL | re.IGNORECASE)), None
        )
        if reason is not None and name not in names and name not in _NO_REMARK:
            kinds.setdefault(reason, []).append(name)
    found = [f"left out: {_listed(names)}: {why}" for why, names in kinds.items()]
    below = _buffers_below(folder, used)
    if below:
        places = dict.fromkeys(path.parent.relative_to(folder).as_posix() + "/" for path in below)
        found.append(
            f"left out: {_listed(places)}: folders with buffers of their own, such as"
            f" {display(below[0].name)}; convert each by itself, with --append to add it to this bundle"
        )
    return found


def _buffers_below(folder: Path, used: Collection[Path]) -> list[Path]:
    """Return one file of trajectories of each folder below a folder, as far as some entries tell."""
    found, left = [], _SEARCHED
    ours = {path.parent for path in used}
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        here = Path(place)
        if here not in ours and here != folder:
            found += [here / name for name in sorted(names) if _BUFFER.fullmatch(name)][:1]
        left -= len(names) + 1
        if left <= 0:
            break
    return found


def _listed(names: Iterable[str]) -> str:
    every = [display(name) for name in names]
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more


def left_out(path: PurePath, why: str) -> str:
    """Return the remark on a file that is not used. A relative path is shown whole."""
    return f"left out: {display(path.name if path.is_absolute() else path)}: {why}"


def shortened(items: Sequence[object], most: int) -> str:
    """Return the first items as a list for a message, with an ellipsis if there are more.

    >>> shortened(["a", "b", "c"], 2)
    'a, b, …'
    """
    return ", ".join(display(item) for item in items[:most]) + (", …" if len(items) > most else "")

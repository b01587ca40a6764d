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

__all__ = ["is_hidden", "is_text", "left_out", "remarks", "shortened"]

_OTHER: Final = "not one of the numbered files"

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
    (r".*\.(pt|pth|ckpt|pkl|safetensors)(\.(gz|bz2|xz|zst|zip|tar|\d+))?", _OTHER),
)
"""The pattern of a whole file name, and why such a file is not used. The first pattern that fits counts."""

_TEXT: Final = re.compile(
    r".*(?<!\.index)\.json|.*\.(?:jsonl|txt|ya?ml|toml|md|log|csv|tsv|py|sh|png|jpe?g|gif|svg|html|lock|out|err)",
    re.I,
)
"""Names of texts and pictures."""

_STEM: Final = re.compile(r"(?<![a-z])(?:(?:replay)?buffer|waypoint|convexified)(?![a-z])", re.I)
"""A word in the names of files of trajectories."""

_PACKED: Final = (b"PK", b"\x80", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf")
"""The first bytes of files of torch, of pickles, and of what programs that compress files write."""

_SHARE: Final = 0.1
"""A file of an unknown name with a smaller share of the bytes of a used file is no file of trajectories."""

_SYSTEM: Final = frozenset({"__MACOSX", "lost+found", "$RECYCLE.BIN", "System Volume Information", "@eaDir"})
"""Folders in which systems keep copies and remains of files."""

_NO_REMARK: Final = frozenset({".DS_Store", ".directory", ".gitignore", ".gitattributes"})
"""Hidden files that hold no weights."""

_BUFFER: Final = re.compile(r"(?:[a-z0-9_]*replay|waypoint|step)_buffer\w*[_-]\d+(?![a-z0-9]).*", re.I | re.S)
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


def is_text(name: str) -> bool:
    """Return whether a file holds no weights by its name: it is called a text or a picture.

    >>> is_text("train.log"), is_text("model.safetensors.index.json"), is_text("replay_buffer_0")
    (True, False, False)
    """
    return _TEXT.fullmatch(name) is not None


def remarks(folder: Path, used: Collection[Path]) -> list[str]:
    """Return a remark for each kind of file in a folder that could contain trajectories and is not used.

    The name, the size or the first bytes tell. Folders with files of trajectories get a remark, too. Other
    folders, and files such as logs, tables and pictures, get none.

    Args:
        folder: the folder of the source.
        used: the files that are used.
    """
    kinds: dict[str, list[str]] = {}
    names = {path.name for path in used}
    least = max(_SHARE * min((path.stat().st_size for path in used if path.is_file()), default=0), 1)
    for path in sorted(path for path in folder.iterdir() if path.is_file() and path.name not in names):
        reason = next((why for pattern, why in _REASONS if _fits(pattern, path.name)), None)
        if reason is None and _may_hold_trajectories(path, least):
            reason = _OTHER
        if reason is not None and path.name not in _NO_REMARK:
            kinds.setdefault(reason, []).append(path.name)
    found = [f"left out: {_listed(names)}: {why}" for why, names in kinds.items()]
    below = _buffers_below(folder, used)
    if below:
        places = dict.fromkeys(path.parent.relative_to(folder).as_posix() + "/" for path in below)
        found.append(
            f"left out: {_listed(places)}: folders with buffers of their own, such as"
            f" {display(below[0].name)}; convert each by itself, with --append to add it to this bundle"
        )
    return found


def _fits(pattern: str, name: str) -> bool:
    return re.fullmatch(pattern, name, re.DOTALL | re.IGNORECASE) is not None


def _may_hold_trajectories(path: Path, least: float) -> bool:
    """Return whether a file of an unknown name may hold trajectories: a word, its size or its bytes tell."""
    if is_text(path.name):
        return False
    if _STEM.search(path.name):
        return True
    try:
        if path.stat().st_size >= least:
            return True
        with path.open("rb") as file:
            return file.read(8).startswith(_PACKED)
    except OSError:
        return False


def _buffers_below(folder: Path, used: Collection[Path]) -> list[Path]:
    """Return one file of trajectories of each folder below a folder, as far as some entries tell."""
    found, left = [], _SEARCHED
    ours = {path.parent for path in used}
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        here = Path(place)
        if here not in ours and here != folder:
            found += [here / name for name in sorted(names) if _is_buffer(name)][:1]
        left -= len(names) + 1
        if left <= 0:
            break
    return found


def _is_buffer(name: str) -> bool:
    return _BUFFER.fullmatch(name) is not None and not is_text(name)


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

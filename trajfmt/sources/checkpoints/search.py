"""Finding checkpoints, and the training runs below a folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from trajfmt.errors import display
from trajfmt.sources.base.unused import is_hidden, is_text, left_out
from trajfmt.sources.checkpoints.elsewhere import known
from trajfmt.sources.checkpoints.kind import Kind
from trajfmt.sources.checkpoints.labels import is_labelled
from trajfmt.sources.checkpoints.names import Name, has_number, natural
from trajfmt.sources.checkpoints.roles import is_alias, is_training_state, is_unfinished
from trajfmt.sources.checkpoints.walk import folders_below, is_bundle, listed

__all__ = [
    "Group",
    "by_folder",
    "candidates",
    "find_runs",
    "first_run",
    "looks_like_weights",
    "matching",
    "may_be_weights",
]

_DEPTH: Final = 6
"""Levels of folders that are searched below a source."""

_MOST_FOLDERS: Final = 16_384
"""Folders that are searched at most."""

_ENDING: Final = re.compile(
    r".*\.(?:pt|pth|ckpt|safetensors|bin|th|torch|tar)(?:\.(?:gz|bz2|xz|zst|zip|tar|[0-9]+))?", re.I
)
"""Names of files that hold weights."""


class Group(NamedTuple):
    """The checkpoints of one training run."""

    folder: Path
    checkpoints: list[Path]
    """In natural order."""


def candidates(folder: Path, kind: Kind) -> list[Path]:
    """Return the checkpoints in a folder, in natural order.

    A file whose name has the form of a checkpoint beside it is one, whatever its first bytes are: opening it
    tells what is wrong with it.
    """
    names = listed(folder)
    found = [path for path in names if kind.is_checkpoint(path)]
    forms = {Name.of(path.name).texts for path in found if has_number(path.name)}
    others = [path for path in names if path not in set(found) and kind.may_be(path)] if forms else []
    found += [path for path in others if Name.of(path.name).texts in forms]
    return sorted(found, key=lambda path: natural(path.name))


def first_run(path: Path, kind: Kind) -> tuple[list[Path], str] | None:
    """Return the checkpoints of the first training run below a folder, and where they lie in it.

    The place is empty for `path` itself, and otherwise reads " in SUBFOLDER". Return None if there is no run.
    """
    runs = find_runs(path, kind, []) if path.is_dir() else []
    if not runs:
        return None
    folder, found = runs[0]
    return found, "" if folder == path else f" in {display(folder.relative_to(path))}"


def find_runs(folder: Path, kind: Kind, notices: list[str]) -> list[Group]:
    """Return every folder below which there are checkpoints with numbers, and the checkpoints in it.

    Folders inside a run are not searched. A single file with a number that may be no step, such as
    `resnet50.pth`, is no run. If there is no run, folders with other checkpoints are returned.

    Args:
        folder: the folder to search.
        kind: the kind of checkpoint.
        notices: receives remarks on folders that were not searched.
    """
    search = _Search(folder, kind, notices)
    numbered = list(search.runs(folder, _DEPTH))
    return numbered or search.unnumbered


class _Search:
    """A search for runs."""

    def __init__(self, root: Path, kind: Kind, notices: list[str]) -> None:
        self.unnumbered: list[Group] = []
        """Folders with checkpoints that are no runs by their names."""

        self._root, self._kind, self._notices = root, kind, notices
        self._left = _MOST_FOLDERS
        self._seen: set[Path] = set()

    def runs(self, folder: Path, depth: int) -> Iterator[Group]:
        """Yield the runs in a folder, at most `depth` levels down."""
        self._left -= 1
        if self._left == -1:
            self._notices.append(f"only {_MOST_FOLDERS} folders were searched for checkpoints")
        if self._left < 0:
            return
        found = candidates(folder, self._kind)
        numbered = [path for path in found if has_number(path.name) and not is_alias(path.name)]
        if len(numbered) > 1 or any(is_labelled(path.name) for path in numbered):
            yield Group(folder, found)
            return
        if found:
            self.unnumbered.append(Group(folder, found))
        below = [path for path in self._folders(folder) if path not in found]
        if below and not depth:
            where = display(below[0].relative_to(self._root))
            self._notices.append(f"left out: {where}: only {_DEPTH} levels of folders were searched")
        for path in below if depth else ():
            yield from self.runs(path, depth - 1)

    def _folders(self, folder: Path) -> Iterator[Path]:
        """Yield the folders to search, in natural order: no bundle, nothing hidden, and none twice."""
        try:
            paths = [path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name)]
        except OSError as exc:
            self._notices.append(left_out(folder, f"a folder that cannot be read: {exc.strerror}"))
            return
        for path in sorted(paths, key=lambda path: natural(path.name)):
            place = path.resolve()
            if is_bundle(path) or place in self._seen:
                continue
            self._seen.add(place)
            if not is_unfinished(path.name):  # others are named with all that is not used
                yield path


def looks_like_weights(path: Path, least: float) -> bool:
    """Return whether a file may hold weights, judging by the ending of its name, or else by its size.

    Args:
        path: a path that is no folder.
        least: the bytes from which on a file of an unknown name may be weights.
    """
    if not path.is_file():
        return False
    if _ENDING.fullmatch(path.name) or known(path) is not None:
        return True
    return may_be_weights(path) and path.stat().st_size >= least


def may_be_weights(path: Path) -> bool:
    """Return whether a file may hold weights by its name: it is neither a text nor training state."""
    return not is_training_state(path.name) and not is_text(path.name)


def matching(
    folder: Path,
    matches: Callable[[Path], bool],
    is_step: Callable[[Path], bool],
    rejected: list[Path],
    *,
    chosen: bool = False,
) -> list[Path]:
    """Return the files and the folders of steps below a folder that match a pattern.

    Args:
        folder: the folder to search.
        matches: returns whether a path below the folder, relative to it, matches.
        is_step: returns whether a folder is that of a step.
        rejected: receives what matches and is no checkpoint, other than texts.
        chosen: whether the pattern itself has the name of a text or of the state of training.
    """
    found = []
    for path in (path for _, entries in folders_below(folder) for path in entries):
        if not matches(path.relative_to(folder)):
            continue
        if path.is_file() if not path.is_dir() else is_step(path):
            if path.is_dir() or chosen or may_be_weights(path):
                found.append(path)
            elif is_training_state(path.name):
                rejected.append(path)
        else:
            rejected.append(path)
    return found


def by_folder(folder: Path, paths: Sequence[Path]) -> list[Group]:
    """Return paths below a folder by run. A run is a folder below which there are at least two of them."""
    groups: dict[Path, list[Path]] = {}
    for path in paths:
        groups.setdefault(path.parent, []).append(path)
    while any(len(group) == 1 and run != folder for run, group in groups.items()):
        merged: dict[Path, list[Path]] = {}
        for run, group in groups.items():
            place = run.parent if len(group) == 1 and run != folder else run
            merged.setdefault(place, []).extend(group)
        groups = merged
    return [Group(run, groups[run]) for run in sorted(groups, key=lambda run: natural(run.as_posix()))]

"""The checkpoints that the user has selected by a pattern: files, and folders of steps."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Final

from trajfmt.errors import SourceError, UsageError, counted, display
from trajfmt.sources.base.collection import Found, OpenOptions
from trajfmt.sources.base.unused import left_out
from trajfmt.sources.checkpoints import folders, pytorch
from trajfmt.sources.checkpoints.beside import least_size, weights_below
from trajfmt.sources.checkpoints.elsewhere import sibling_part
from trajfmt.sources.checkpoints.facts import chosen
from trajfmt.sources.checkpoints.kind import Kind, Run
from trajfmt.sources.checkpoints.names import natural
from trajfmt.sources.checkpoints.numbering import Numbered
from trajfmt.sources.checkpoints.opening import in_order_of, opened, ordered, readable
from trajfmt.sources.checkpoints.roles import is_training_state, is_unfinished
from trajfmt.sources.checkpoints.search import by_folder, matching, may_be_weights
from trajfmt.sources.checkpoints.sharded import files_of, open_weights
from trajfmt.sources.checkpoints.stated import Reading, Stated
from trajfmt.sources.torchfile.stored import State

__all__ = ["open_selected"]

_SHOWN: Final = 3
"""Files that are not chosen and named one by one."""


def _weights(path: Path) -> Path:
    return folders.weights_of(path) if path.is_dir() else path


def _files(path: Path) -> tuple[Path, ...]:
    return files_of(_weights(path))


def _open_one(path: Path, options: OpenOptions) -> State:
    return open_weights(_weights(path), options)


def _config(path: Path) -> dict[str, str]:
    return folders.config_of(path) if path.is_dir() else {}


def _remarks(path: Path) -> list[str]:
    return folders.remarks_on(path) if path.is_dir() else []


def _role(path: Path) -> str:
    return folders.role_of(path) if path.is_dir() else ""


KIND: Final = Kind(
    is_checkpoint=folders.is_checkpoint,
    files=_files,
    open=_open_one,
    config=_config,
    remarks=_remarks,
    role=_role,
    what="selected checkpoints",
)


def open_selected(folder: Path, options: OpenOptions) -> Found:
    """Return the runs whose checkpoints are what the user has selected by a pattern.

    The numbers are those that the pattern states, and otherwise those in the paths.

    Raises:
        UsageError: the pattern states several numbers, or it selects replay buffers.
        SourceError: nothing matches, or the runs cannot be opened.
    """
    if not folder.is_dir():
        raise SourceError("nothing_to_convert", "--select needs a folder of checkpoints", path=folder)
    pattern = options.select or ""
    stated = Stated.of(pattern)
    rejected: list[Path] = []
    by_name = not may_be_weights(Path(re.sub(r"[*?]|\{any\}", "_", PurePath(pattern).name) or "_"))
    if stated is None:
        kind, is_step = KIND, KIND.is_checkpoint
        paths = matching(folder, lambda path: _matches(path, pattern), is_step, rejected, chosen=by_name)
    else:
        kind, is_step = replace(KIND, origin="flag"), folders.holds_weights
        paths = matching(folder, stated.nearly, is_step, rejected, chosen=by_name)
    if not paths:
        known = "" if "{" not in pattern else " ({step} or {epoch} stands for digits, {any} for other text)"
        raise SourceError(
            "nothing_to_convert", f"no checkpoint matches --select {display(pattern)!r}{known}", path=folder
        )
    _refuse_parts(folder, paths)
    if all(map(pytorch.is_buffer, paths)):
        raise UsageError(
            f"{display(paths[0])}: --select is for checkpoints of a training run, and this is a buffer of"
            " whole trajectories; convert it without --select"
        )
    notices: list[str] = []
    matched = [*paths, *rejected]
    paths = _inside_runs(folder, paths, pattern, notices)
    notices += [left_out(path.relative_to(folder), _why_not(path)) for path in rejected]
    if stated is None:
        runs = [ordered(run, found, kind, options, notices) for run, found in by_folder(folder, paths)]
    else:
        runs = _runs(folder, stated, readable(paths, kind, options, notices), notices)
    found = opened(folder, runs, options, kind, "selected checkpoints", notices)
    if others := _not_chosen(folder, pattern, found, kind, {*matched}):
        found.notices += others
        found.provenance = chosen(found.provenance, "checkpoints", pattern)
    return found


def _not_chosen(folder: Path, pattern: str, found: Found, kind: Kind, matched: set[Path]) -> list[str]:
    """Return a remark on what looks like weights below a folder and matches no pattern.

    Args:
        folder: the folder of the source.
        pattern: the pattern.
        found: the source.
        kind: the kind of checkpoint.
        matched: what matches. It is used, or other remarks name it.
    """
    used = {path for part in found.parts for path in (part.path, *part.also)}
    least = min((least_size([part.path], kind) for part in found.parts), default=float("inf"))
    rest = [
        path
        for path in weights_below(folder, least)
        if path not in used and matched.isdisjoint((path, *path.parents))
    ]
    if not rest:
        return []
    more = f" and {len(rest) - _SHOWN} more" if len(rest) > _SHOWN else ""
    names = ", ".join(display(path.relative_to(folder)) for path in rest[:_SHOWN])
    return [f"left out: {names}{more}: not chosen by --select {display(pattern)}"]


def _refuse_parts(folder: Path, paths: Sequence[Path]) -> None:
    """Refuse files whose names say that they are parts of the weights, if other parts are beside them.

    Raises:
        SourceError: there is such a file.
    """
    for path in paths:
        if path.is_file() and (other := sibling_part(path)) is not None:
            raise SourceError(
                "nothing_to_convert",
                f"{display(path.relative_to(folder))} and {display(other.relative_to(folder))} are parts of"
                " the weights, by their names; select the index of shards, or merge the parts first, or move"
                " the others elsewhere if each of them holds all weights",
                path=folder,
            )


def _inside_runs(folder: Path, paths: Sequence[Path], pattern: str, notices: list[str]) -> list[Path]:
    """Return the selected paths without those inside the folder of a run, or in unfinished folders.

    The place of a path is the folder that the pattern begins in. A place below another one is inside a run:
    `ema/epoch_1.pth` beside `epoch_1.pth` is another set of weights. Folders that are unfinished or backups,
    by their names, are used if the pattern names them.
    """
    parts = PurePath(pattern).parts
    places = {path: path.parents[len(parts) - 1] for path in paths}
    every = set(places.values())
    left: dict[tuple[Path, str], int] = {}
    used = []
    for path, place in places.items():
        inner = path.relative_to(folder).parts[:-1]
        named = [*[""] * len(inner), *parts[:-1]][-len(inner) :] if inner else []
        unfinished = [
            depth
            for depth, (name, part) in enumerate(zip(inner, named, strict=True))
            if is_unfinished(name) and not is_unfinished(part)
        ]
        if any(parent in every for parent in place.parents):
            where, why = place, "inside the folder of a run; name the folder in --select to choose them"
        elif unfinished:
            where = folder.joinpath(*inner[: unfinished[0] + 1])
            why = "in a folder that is unfinished or a backup; name the folder in --select to choose them"
        else:
            used.append(path)
            continue
        left[where, why] = left.get((where, why), 0) + 1
    notices += [
        left_out(place.relative_to(folder), f"{counted(count, 'checkpoint')} {why}")
        for (place, why), count in left.items()
    ]
    return used


def _why_not(path: Path) -> str:
    if path.is_dir():
        return folders.why_not(path) or "no step"
    if is_training_state(path.name) and path.is_file():
        return "the state of training, by its name; a pattern with this word in it selects it"
    return "a broken link, or no file"


def _matches(path: Path, pattern: str) -> bool:
    try:
        return path.match(pattern)
    except ValueError:  # an empty pattern
        return False


def _runs(folder: Path, stated: Stated, paths: Sequence[Path], notices: list[str]) -> list[Run]:
    """Return checkpoints by run, in the order of the numbers that a pattern states.

    A run has the same text everywhere in its paths, except in the places of the number and of `{any}`.
    """
    runs: dict[str, list[tuple[Path, Reading]]] = {}
    for path in paths:
        reading = stated.read(path.relative_to(folder))
        if reading is None:
            notices.append(left_out(path, f"no whole number in the place of {{{stated.unit}}}"))
        else:
            runs.setdefault(reading.run, []).append((path, reading))
    if len(runs) > 1 and all(len(found) == 1 for found in runs.values()):
        first, second = (found[0][0].relative_to(folder) for found in list(runs.values())[:2])
        raise SourceError(
            "too_few_timesteps",
            f"{display(first)} and {display(second)} are of two runs, since more than the {stated.unit}"
            " differs in their paths; write {any} in --select for what may differ within a run",
            path=folder,
        )
    found = []
    for name in sorted(runs, key=natural):
        files = [path for path, _ in runs[name]]
        numbered = Numbered(tuple(reading.number for _, reading in runs[name]), stated.unit)
        found.append(in_order_of(numbered, Path(os.path.commonpath([path.parent for path in files])), files))
    return found

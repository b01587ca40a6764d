"""Questions that the places of runs leave open. Each ends the conversion, with what answers it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from trajfmt.errors import SourceError, display
from trajfmt.sources.checkpoints.elsewhere import sibling_rank
from trajfmt.sources.checkpoints.kind import Kind, Run
from trajfmt.sources.checkpoints.labels import is_labelled, is_step_folder
from trajfmt.sources.checkpoints.names import literal
from trajfmt.sources.checkpoints.roles import is_set
from trajfmt.sources.checkpoints.search import find_runs
from trajfmt.sources.checkpoints.walk import listed

__all__ = ["check_accelerate", "check_nested", "check_ranks", "check_sets", "hinted"]

_NUMBERED_MODEL: Final = re.compile(r"((?:pytorch_)?model)_[0-9]+(\.(?:safetensors|bin))")


def hinted(run: Run, kind: Kind) -> Run:
    """Return a run. If its names give no order, its error names a run below it, which may be meant."""
    exc = run.numbered
    if not isinstance(exc, SourceError):
        return run
    for folder in (path for path in listed(run.folder) if path.is_dir()):
        for group in find_runs(folder, kind, []) if folder not in run.checkpoints else ():
            if len(group.checkpoints) > 1 and is_labelled(group.checkpoints[0].name):
                where = display(group.folder.relative_to(run.folder))
                message = f"{exc.message}; a run is in {where}: give that folder, if it is meant"
                return replace(run, numbered=SourceError(exc.reason, message, path=exc.path))
    return run


def check_accelerate(runs: Sequence[Run]) -> None:
    """Refuse the files of several models that accelerate numbers, beside that of the first model.

    Raises:
        SourceError: a run consists of such files.
    """
    for run in runs:
        for path in run.checkpoints:
            stem = _NUMBERED_MODEL.fullmatch(path.name)
            if stem and (run.folder / f"{stem[1]}{stem[2]}").is_file():
                raise SourceError(
                    "nothing_to_convert",
                    f"{display(stem[1] + stem[2])} and {display(path.name)} are several models of one step,"
                    " not steps of one model; give the folder above",
                    path=run.folder,
                )


def check_nested(runs: Sequence[Run]) -> None:
    """Refuse runs whose folders are called epochs or steps of one run.

    Raises:
        SourceError: there are two such folders beside each other.
    """
    seen: dict[Path, Path] = {}
    for run in runs:
        if is_step_folder(run.folder.name, alone=True):
            other = seen.setdefault(run.folder.parent, run.folder)
            if other != run.folder:
                raise SourceError(
                    "nothing_to_convert",
                    f"{display(other.name)} and {display(run.folder.name)} are called parts of one run, and"
                    " each holds several checkpoints; move all into one folder, or convert each by itself",
                    path=run.folder.parent,
                )


def check_ranks(runs: Sequence[Run], origin: Path) -> list[str]:
    """Refuse runs in the folders of ranks. If the source is one such folder, return a remark on it.

    Raises:
        SourceError: there are two such folders beside each other.
    """
    remarks = []
    for run in runs:
        if (other := sibling_rank(run.folder)) is None:
            continue
        names = f"{display(run.folder.name)} and {display(other.name)}"
        if run.folder != origin:
            raise SourceError(
                "nothing_to_convert",
                f"{names} are folders of several ranks by their names; if each has a part of the weights,"
                " merge the parts first; if each has all weights, give one of the folders as SOURCE",
                path=run.folder.parent,
            )
        remarks.append(
            f"{names} are folders of several ranks by their names; if each has a part of the weights, this is"
            " no whole network"
        )
    return remarks


def check_sets(runs: Sequence[Run], origin: Path) -> None:
    """Refuse runs some of whose folders are called averages of the weights, or states of the optimizer.

    Raises:
        SourceError: there is such a folder beside that of another run.
    """
    beside: dict[Path, list[Path]] = {}
    for run in runs:
        beside.setdefault(run.folder.parent, []).append(run.folder)
    for folders in beside.values():
        sets = [folder for folder in folders if is_set(folder.name)]
        if 0 < len(sets) < len(folders):
            other = next(folder for folder in folders if folder not in sets)
            pattern = shlex.quote(display(f"{literal(other.relative_to(origin).as_posix())}/*"))
            raise SourceError(
                "nothing_to_convert",
                f"{display(sets[0].name)} and {display(other.name)} may be several sets of weights of one"
                f" run, and not several runs; choose one, e.g. with --select {pattern}"
                " (a pattern that fits both takes both)",
                path=sets[0].parent,
            )

"""A look at the checkpoints of a source, without their weights: what is a parameter in every one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from trajfmt.errors import UsageError, display
from trajfmt.sources.base.collection import OpenOptions
from trajfmt.sources.checkpoints.kind import Kind, Run, attempt
from trajfmt.sources.checkpoints.numbering import Numbered
from trajfmt.sources.checkpoints.progress import Counts, contradiction, standing_still
from trajfmt.sources.checkpoints.schema import Rules, may_be_fixed, same
from trajfmt.sources.torchfile.stored import State

__all__ = ["Survey", "survey"]


class Survey(NamedTuple):
    """What the checkpoints of a source have in common."""

    rules: Rules
    first: State | None
    """The first checkpoint that can be opened; None if there is none."""

    path: Path | None
    """The path of this checkpoint."""

    notices: list[str]
    """Remarks for the user."""

    ignored: tuple[str, ...] = ()
    """What the first and the last checkpoint of each run hold besides."""


def survey(runs: Sequence[Run], kind: Kind, options: OpenOptions) -> Survey:
    """Find the rules that tell parameters from other tensors.

    The first and the last checkpoint of each run are opened, and all of them if these have different tensors,
    or tensors that are module buffers if they never change. Checkpoints that cannot be opened are passed
    over; the conversion reports them.

    Args:
        runs: all runs of the source.
        kind: the kind of checkpoint.
        options: how to open the source.

    Raises:
        UsageError: no tensor has a name that the user calls a module buffer.
    """
    every = [path for run in runs for path in run.checkpoints]
    ends = [path for run in runs for path in (*run.checkpoints[:1], *run.checkpoints[1:][-1:])]
    states = _opened(ends, kind, options)
    path, first = next(states, (None, None))
    if path is None or first is None:
        return Survey(Rules(options.buffers, options.buffer_names), None, None, [])
    for pattern in options.buffer_names:
        if not any(fnmatchcase(name, pattern) for name in first.tensors):
            raise UsageError(f"--buffer {display(pattern)}: no tensor of {display(path)} has such a name")
    ignored, differ, stated = dict.fromkeys(first.ignored), False, dict.fromkeys(first.remarks)
    counts = {path: first.counts}
    for other, state in states:
        ignored |= dict.fromkeys(state.ignored)
        stated |= dict.fromkeys(state.remarks)
        counts[other] = state.counts
        differ = differ or state.tensors.keys() != first.tensors.keys()
    tied = _tied(every, kind, options) if differ else {}
    fixed = _fixed(first, every, kind, options)
    notices = [
        f"`{display(name)}` never changes, and its values are complex or not finite: a module buffer"
        for name in sorted(fixed)
    ]
    notices += [
        f"`{display(name)}` repeats `{display(other)}`, and not all checkpoints have it: left out"
        for name, other in tied.items()
    ]
    notices += [*stated, *_progress(runs, counts, kind, options)]
    first.release()
    rules = Rules(options.buffers, options.buffer_names, frozenset(fixed), tied)
    return Survey(rules, first, path, notices, tuple(ignored))


def _progress(
    runs: Sequence[Run], ends: Mapping[Path, Counts], kind: Kind, options: OpenOptions
) -> list[str]:
    """Return remarks on runs whose checkpoints store other numbers than their names say.

    Numbers of another order are an error of the conversion, unless the user has selected the checkpoints.
    """
    found = []
    for run in runs:
        one, other = run.checkpoints[0], run.checkpoints[-1]
        if one == other or not isinstance(run.numbered, Numbered) or not (ends.get(one) and ends.get(other)):
            continue
        if (shared := standing_still(ends[one], ends[other], run.numbered.unit)) is not None:
            both = f"{display(one.name)} and {display(other.name)}"
            found.append(f"{both} both store {shared}: they may be copies, or have the wrong names")
        if options.select is not None:
            stored = {path: state.counts for path, state in _opened(run.checkpoints, kind, options)}
            names = [path.relative_to(run.folder).as_posix() for path in stored]
            differs = contradiction(names, list(stored.values()), run.numbered.unit)
            if differs is not None:
                found.append(f"{differs}: the names are followed, since --select chooses by them")
    return found


def _opened(paths: Sequence[Path], kind: Kind, options: OpenOptions) -> Iterator[tuple[Path, State]]:
    """Yield the checkpoints that can be opened, one after the other. Each is released afterwards."""
    for path in paths:
        state = attempt(kind, path, options)
        if isinstance(state, State):
            yield path, state
            state.release()


def _fixed(first: State, paths: Sequence[Path], kind: Kind, options: OpenOptions) -> set[str]:
    """Return the tensors that cannot be weights and have the same bits in all checkpoints."""
    fixed = {name for name, tensor in first.tensors.items() if may_be_fixed(name, tensor)}
    for _, state in _opened(paths, kind, options) if fixed else ():
        tensors = state.tensors
        fixed = {name for name in fixed if name in tensors and same(tensors[name], first.tensors[name])}
        if not fixed:
            break
    return fixed


def _tied(paths: Sequence[Path], kind: Kind, options: OpenOptions) -> dict[str, str]:
    """Return the tensors that only some checkpoints contain and that repeat another one in all of these."""
    names = [set(state.tensors) for _, state in _opened(paths, kind, options)]
    common = set.intersection(*names)
    repeats = dict.fromkeys(sorted(set.union(*names) - common), common)
    for _, state in _opened(paths, kind, options):
        tensors = state.tensors
        for name, others in list(repeats.items()):
            if name in tensors:
                shape = tensors[name].shape
                left = {other for other in others if tensors[other].shape == shape}
                repeats[name] = {other for other in left if same(tensors[name], tensors[other])}
        repeats = {name: others for name, others in repeats.items() if others}
        if not repeats:
            break
    return {name: min(others) for name, others in repeats.items()}

"""Opening the training runs of a source: which checkpoints are used, in which order, and what is said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from trajfmt.errors import SourceError, display
from trajfmt.sources.base.collection import BufferMode, Found, OpenOptions
from trajfmt.sources.base.unused import left_out, shortened
from trajfmt.sources.checkpoints.beside import another_kind, is_single, least_size, outside, passed_over
from trajfmt.sources.checkpoints.elsewhere import known_below
from trajfmt.sources.checkpoints.facts import (
    alike,
    chosen,
    completed,
    in_order,
    layout_of,
    mixed_units,
    shared,
    times,
)
from trajfmt.sources.checkpoints.kind import Kind, Run, attempt, hint_of
from trajfmt.sources.checkpoints.labels import doubt_of
from trajfmt.sources.checkpoints.names import has_number
from trajfmt.sources.checkpoints.numbering import Numbered, numbers_of
from trajfmt.sources.checkpoints.progress import Counts
from trajfmt.sources.checkpoints.questions import (
    check_accelerate,
    check_nested,
    check_ranks,
    check_sets,
    hinted,
)
from trajfmt.sources.checkpoints.roles import (
    is_alias,
    is_copy,
    is_duplicate,
    is_training_state,
    is_unfinished,
)
from trajfmt.sources.checkpoints.run import RunPart
from trajfmt.sources.checkpoints.schema import Schema
from trajfmt.sources.checkpoints.search import Group, candidates, find_runs
from trajfmt.sources.checkpoints.survey import survey
from trajfmt.sources.torchfile.stored import State

__all__ = ["in_order_of", "open_runs", "opened", "ordered", "readable"]

_SHOWN: Final = 6


def open_runs(folder: Path, options: OpenOptions, kind: Kind, name: str, other: Kind | None = None) -> Found:
    """Return the training runs in a folder, one part for each.

    Args:
        folder: the folder.
        options: how to open the source.
        kind: the kind of checkpoint.
        name: the name of the file layout, for messages.
        other: another kind of checkpoint, whose runs in the same folder are remarked on.

    Raises:
        SourceError: there are no runs, or none has two checkpoints.
    """
    if not folder.is_dir():
        raise SourceError(
            "too_few_timesteps",
            "a single checkpoint is no trajectory; give the folder of its run",
            path=folder,
        )
    notices: list[str] = []
    found = find_runs(folder, kind, notices)
    if not found:
        raise SourceError("nothing_to_convert", f"no {kind.what} in this folder", path=folder)
    others = {} if other is None else another_kind(folder, found, other)
    notices += others.values()
    runs = [hinted(_run(group, kind, options, notices), kind) for group in found]
    source = opened(folder, runs, options, kind, name, notices)
    least = min(least_size(run.checkpoints[:1], kind) for run in runs)
    source.notices += outside(folder, [*(group.folder for group in found), *others], least)
    return source


def opened(
    folder: Path, runs: list[Run], options: OpenOptions, kind: Kind, name: str, notices: list[str]
) -> Found:
    """Return the runs as a source, with everything that their first checkpoints tell.

    Args:
        folder: the folder of the source.
        runs: the runs.
        options: how to open the source.
        kind: the kind of checkpoint.
        name: the name of the file layout, for messages.
        notices: remarks so far.

    Raises:
        SourceError: no run has a checkpoint with a number.
    """
    named = [run for run in runs if run.checkpoints]
    if not named:
        failed = [text for text in notices if not text.endswith("no step in its name")]
        if not failed and (what := known_below(folder)) is not None:
            raise SourceError("nothing_to_convert", what, path=folder)
        if failed:
            raise SourceError("too_few_timesteps", f"no checkpoint can be used; {failed[0]}", path=folder)
        raise SourceError(
            "too_few_timesteps",
            "a trajectory needs two checkpoints or more whose names contain their steps, found none;"
            f" {notices[0] if notices else 'none is here'}{hint_of(candidates(runs[0].folder, kind))}",
            path=folder,
        )
    if options.select is None:
        check_sets(named, folder)
        notices += check_ranks(named, folder)
    if kind.origin != "flag":  # the user has not stated what the numbers are
        check_accelerate(named)
        check_nested(named)
    for run in named:
        if isinstance(run.numbered, SourceError) and not options.keep_going:
            raise run.numbered
    rules, state, first, remarks, ignored = survey(named, kind, options)
    notices += remarks
    notices += _unnamed(named) + mixed_units(named)
    if kind.origin != "flag":
        notices += _doubtful(named)
    schema = None if state is None or first is None else Schema.of(state, first, rules)
    for run in named:
        for path in run.checkpoints:
            for text in kind.remarks(path) if is_single(kind, path) else ():
                if text not in notices:
                    notices.append(text)
    notices += _unread(named, ignored)
    if len(named) > 1:
        some = [run.checkpoints[0].relative_to(folder) for run in named]
        notices.append(f"{len(named)} runs, which begin with {shortened(some, _SHOWN)}")
    provenance, layout = times(named, kind.origin), None
    if schema is not None and state is not None and schema.parameters:
        schema, model = in_order(schema, state)
        notices += _remarks(schema, state, options.buffers, known=model is not None)
        notices += alike(schema) if model is None else []
        layout = layout_of(schema, state)
        config, differing = shared(
            {path: kind.config(path) for run in named for path in run.checkpoints}, folder
        )
        notices += differing
        provenance = completed(provenance, config, model)
    if options.key is not None:
        provenance = chosen(provenance, "weights", options.key)
    return Found(
        folder=folder,
        layout_name=name,
        recognised=options.why,
        parts=[RunPart(run, kind, schema, rules, options) for run in named],
        notices=notices,
        provenance=provenance,
        layout=layout,
    )


def _run(group: Group, kind: Kind, options: OpenOptions, notices: list[str]) -> Run:
    """Return the checkpoints of a folder in order, with remarks on those that are not used."""
    folder, paths = group
    used = []
    named = [path for path in paths if not is_alias(path.name) and not is_unfinished(path.name)]
    numbered = [path for path in named if has_number(path.name)]
    originals = [path for path in numbered if not is_copy(path.name)]
    for path in paths:
        if is_unfinished(path.name):
            notices.append(left_out(path, "unfinished or a backup, by its name (--select uses it)"))
        elif is_alias(path.name) or (len(numbered) > 1 and path not in numbered):
            notices.append(left_out(path, "no step in its name"))
        elif len(originals) > 1 and is_copy(path.name):
            what = "a copy of another one" if is_duplicate(path.name) else "the best or the last of others"
            notices.append(left_out(path, f"{what}, by its name (--select uses it)"))
        else:
            used.append(path)
    run = ordered(folder, used, kind, options, notices)
    notices += passed_over(folder, paths, used, kind)
    return run


def readable(paths: Sequence[Path], kind: Kind, options: OpenOptions, notices: list[str]) -> list[Path]:
    """Return the checkpoints to use. With `keep_going`, those that cannot be opened are named instead."""
    used = list(paths)
    for path in paths if options.keep_going else ():
        problem = attempt(kind, path, options)
        if not isinstance(problem, State):
            used.remove(path)
            notices.append(left_out(path, problem.message))
    return used


def ordered(folder: Path, paths: Sequence[Path], kind: Kind, options: OpenOptions, notices: list[str]) -> Run:
    """Return checkpoints in the order of the numbers in their names."""
    used = readable(paths, kind, options, notices)
    names = [path.relative_to(folder).as_posix() for path in used]
    try:
        numbered = numbers_of(names, folder)
    except SourceError as exc:
        hint = hint_of(used) if not any(has_number(path.name) for path in used) else ""
        refused = Run(folder, tuple(used), SourceError(exc.reason, f"{exc.message}{hint}", path=exc.path))
        try:
            numbered = numbers_of(names, folder, _stored(used, kind, options))
        except SourceError:
            return refused
        notices.append(
            f"the numbers in the names, such as {display(names[0])}, are those that the checkpoints store"
        )
    return in_order_of(numbered, folder, used)


def _stored(paths: Sequence[Path], kind: Kind, options: OpenOptions) -> list[Counts]:
    """Return what checkpoints store about their place in the run; nothing if one cannot be opened."""
    found: list[Counts] = []
    for path in paths:
        state = attempt(kind, path, options)
        if not isinstance(state, State) or not state.counts:
            return []
        state.release()
        found.append(state.counts)
    return found


def in_order_of(numbered: Numbered, folder: Path, paths: Sequence[Path]) -> Run:
    """Return checkpoints in the order of their numbers."""
    order = sorted(range(len(paths)), key=lambda index: (numbered.numbers[index], index))
    numbers = tuple(numbered.numbers[index] for index in order)
    return Run(folder, tuple(paths[index] for index in order), Numbered(numbers, numbered.unit))


def _unnamed(runs: Sequence[Run]) -> list[str]:
    """Return a remark if no word in the names says what their numbers are."""
    for run in runs:
        if isinstance(run.numbered, Numbered) and run.numbered.unit is None and len(run.checkpoints) > 1:
            first = display(run.checkpoints[0].relative_to(run.folder))
            return [f"the numbers in the names, such as {first}, are taken for the steps of one run"]
    return []


def _doubtful(runs: Sequence[Run]) -> list[str]:
    """Return a remark if a word in the names may make a setting of their numbers."""
    for run in runs:
        if isinstance(run.numbered, Numbered) and len(run.checkpoints) > 1:
            first = run.checkpoints[0].relative_to(run.folder).as_posix()
            unit = run.numbered.unit
            if (word := doubt_of(first, unit)) is not None:
                return [
                    f"the numbers in the names, such as {display(first)}, are taken for the {unit}s of one"
                    f" run; if `{display(word)}` makes a setting of them, they are no run"
                ]
    return []


def _unread(runs: Sequence[Run], ignored: Sequence[str]) -> list[str]:
    """Return one remark on files and keys that are not read, such as states of optimizers."""
    names: dict[str, None] = {}
    used = {path for run in runs for path in run.checkpoints}
    for run in runs:
        for folder in (run.folder, *(path for path in run.checkpoints[:1] if path.is_dir())):
            names |= dict.fromkeys(
                sorted(p.name for p in folder.iterdir() if is_training_state(p.name) and p not in used)
            )
    keys = [f"`{key}`" for key in ignored]
    if not names and not keys:
        return []
    return [f"not read: {shortened([*keys, *names], _SHOWN)}"]


def _remarks(schema: Schema, state: State, mode: BufferMode, *, known: bool) -> list[str]:
    notices = []
    if not state.ordered and not known:
        notices.append(
            "safetensors files do not record the order of Module.parameters(): parameters are stored in the"
            " order of the file"
        )
    if schema.buffers:
        kept = "kept at every stored timestep and not interpolated (--buffers)"
        notices.append(
            f"{len(schema.buffers)} module buffers (such as `{display(schema.buffers[0])}`) are"
            f" {'dropped' if mode == 'drop' else kept}"
        )
    places: dict[Any, str] = {}
    for name in schema.parameters:
        first = places.setdefault(state.tensors[name].place, name)
        if first != name:
            notices.append(f"`{display(name)}` shares its memory with `{display(first)}`: both are stored")
    return notices

"""Finding the training runs below a folder, and the facts in their names and first checkpoints."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from trajfmt.errors import SourceError, UsageError, display
from trajfmt.schema import models
from trajfmt.schema.layout import DTYPES, ParamLayout
from trajfmt.schema.manifest import FILE_NAME
from trajfmt.schema.provenance import KnownFrom, Model, Provenance, TimestepUnit
from trajfmt.sources.base.collection import BufferMode, Found, OpenOptions
from trajfmt.sources.base.unused import left_out, shortened
from trajfmt.sources.checkpoints.numbering import Numbered, is_alias, natural, numbers_of, spacing
from trajfmt.sources.checkpoints.run import Kind, Run, RunPart, Schema, attempt
from trajfmt.sources.torchfile.stored import State

__all__ = ["candidates", "first_run", "is_training_state", "open_runs"]

_DEPTH: Final = 3
_MOST_FOLDERS: Final = 4096
"""Folders that are searched at most."""

_SHOWN: Final = 6
_TRAINING_STATE: Final = re.compile(
    r"(optimizer|optim|opt_state|lr_scheduler|scheduler|scaler|grad_scaler|rng_state|random_states?|"
    r"training_args|trainer_state|training_state)s?(?![a-z]).*",
    re.I,
)
_LAST: Final = ("classifier", "fc")
"""The last module in MTT's networks, wherever its name sorts."""


def is_training_state(name: str) -> bool:
    """Return whether a file is the state of an optimizer, a scheduler or a random generator.

    The name decides.

    >>> [is_training_state(name) for name in ("optimizer_100.pt", "rng_state.pth", "opt_125m_100.pt")]
    [True, True, False]
    """
    return _TRAINING_STATE.fullmatch(name) is not None


def candidates(folder: Path, kind: Kind) -> list[Path]:
    """Return the checkpoints in a folder, in natural order."""
    try:
        names = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:
        return []
    return sorted((path for path in names if kind.is_checkpoint(path)), key=lambda path: natural(path.name))


def first_run(path: Path, kind: Kind) -> tuple[list[Path], str] | None:
    """Return the checkpoints of the first training run below a folder, and where they lie in it.

    The place is empty for `path` itself, and otherwise reads " in SUBFOLDER". Return None if there is no run.
    """
    runs = _find_runs(path, kind) if path.is_dir() else []
    if not runs:
        return None
    folder, found = runs[0]
    return found, "" if folder == path else f" in {display(folder.relative_to(path))}"


def _find_runs(folder: Path, kind: Kind) -> list[tuple[Path, list[Path]]]:
    """Return every folder with checkpoints, at most three levels down, and the checkpoints in it."""
    return list(_search(folder, kind, _DEPTH, [_MOST_FOLDERS]))


def _may_hold_runs(path: Path) -> bool:
    """Return whether a path is a folder to search: neither hidden nor a bundle."""
    return path.is_dir() and not path.name.startswith(".") and not (path / FILE_NAME).is_file()


def _search(folder: Path, kind: Kind, depth: int, left: list[int]) -> Iterator[tuple[Path, list[Path]]]:
    left[0] -= 1
    if left[0] < 0:
        return
    if found := candidates(folder, kind):
        yield folder, found
    elif depth:
        try:
            below = [path for path in folder.iterdir() if _may_hold_runs(path)]
        except OSError:
            return
        for path in sorted(below, key=lambda path: natural(path.name)):
            yield from _search(path, kind, depth - 1, left)


def open_runs(folder: Path, options: OpenOptions, kind: Kind, name: str) -> Found:
    """Return the training runs in a folder, one part for each.

    Args:
        folder: the folder.
        options: how to open the source.
        kind: the kind of checkpoint.
        name: the name of the file layout, for messages.

    Raises:
        SourceError: there are no runs, or none has two checkpoints.
    """
    if not folder.is_dir():
        raise SourceError(
            "too_few_timesteps",
            "a single checkpoint is no trajectory; give the folder of its run",
            path=folder,
        )
    found = _find_runs(folder, kind)
    if not found:
        raise SourceError("nothing_to_convert", f"no {kind.what} in this folder", path=folder)
    notices: list[str] = []
    for path, _ in found:
        notices += _passed_over(path, kind)
    runs = [_run(path, paths, kind, options, notices) for path, paths in found]
    runs = [run for run in runs if run.checkpoints]
    if not runs:
        paths = [path for _, several in found for path in several]
        raise SourceError(
            "too_few_timesteps",
            f"a trajectory needs two checkpoints or more whose names contain their steps, found"
            f" {display(paths[0].name)}" + (f" and {len(paths) - 1} more" if paths[1:] else ""),
            path=folder,
        )
    schema, state = _first(runs, kind, options)
    notices += _unread(runs, state)
    provenance, layout = _times(runs, kind.origin), None
    if schema is not None and state is not None:
        schema, model = _in_order(schema, state)
        notices += _remarks(schema, state, options.buffers, known=model is not None)
        layout = _layout(schema, state)
        provenance = _completed(provenance, kind.config(schema.first), model)
    return Found(
        folder=folder,
        layout_name=name,
        recognised=options.why,
        parts=[
            RunPart(run, kind, schema, options.buffers, trust_pickle=options.trust_pickle) for run in runs
        ],
        notices=notices,
        provenance=provenance,
        layout=layout,
    )


def _passed_over(folder: Path, kind: Kind) -> list[str]:
    """Return remarks on paths that only look like checkpoints, and on runs in folders of this one."""
    notices = []
    for path in sorted(folder.iterdir(), key=lambda path: natural(path.name)):
        if path.name.startswith("."):
            continue
        if (why := kind.why_not(path)) is not None:
            notices.append(left_out(path, why))
        elif _may_hold_runs(path) and not kind.is_checkpoint(path) and _find_runs(path, kind):
            notices.append(left_out(path, "a run inside the folder of another run; convert it separately"))
    return notices


def _run(folder: Path, paths: Sequence[Path], kind: Kind, options: OpenOptions, notices: list[str]) -> Run:
    """Return the checkpoints of one folder in order. Those that cannot be used are added to `notices`."""
    used = [path for path in paths if not is_alias(path.name)]
    notices += [left_out(path, "no step in its name") for path in paths if is_alias(path.name)]
    if options.keep_going:
        for path in list(used):
            problem = attempt(kind, path, trust_pickle=options.trust_pickle)
            if not isinstance(problem, State):
                used.remove(path)
                notices.append(left_out(path, problem.message))
    try:
        numbered = numbers_of([path.name for path in used], folder)
    except SourceError as exc:
        return Run(folder, tuple(used), exc)
    order = sorted(range(len(used)), key=lambda index: (numbered.numbers[index], index))
    numbers = tuple(numbered.numbers[index] for index in order)
    return Run(folder, tuple(used[index] for index in order), Numbered(numbers, numbered.unit))


def _first(runs: Sequence[Run], kind: Kind, options: OpenOptions) -> tuple[Schema | None, State | None]:
    """Return the first checkpoint that can be opened. Errors of others are reported during the conversion."""
    for run in runs:
        path = run.checkpoints[0]
        state = attempt(kind, path, trust_pickle=options.trust_pickle)
        if isinstance(state, State) and (schema := Schema.of(state, path, options.buffers)).parameters:
            return schema, state
    return None, None


def _unread(runs: Sequence[Run], state: State | None) -> list[str]:
    """Return one remark on files and keys that are not read, such as states of optimizers."""
    names: dict[str, None] = {}
    for run in runs:
        for folder in (run.folder, *(path for path in run.checkpoints[:1] if path.is_dir())):
            names |= dict.fromkeys(sorted(p.name for p in folder.iterdir() if is_training_state(p.name)))
    keys = [f"`{key}`" for key in (state.ignored if state else ())]
    if not names and not keys:
        return []
    return [
        f"not read, as no weights: {shortened([*names, *keys], _SHOWN)} (states of optimizers and the like)"
    ]


def _in_order(schema: Schema, state: State) -> tuple[Schema, Model | None]:
    """Recognise one of MTT's networks, even if the file has sorted its tensors by name."""
    found = models.recognise(list(schema.parameters.values()))
    if found or state.ordered:
        return schema, found[0] if found else None
    names = sorted(schema.parameters, key=_creation_order)
    found = models.recognise([schema.parameters[name] for name in names])
    if found is None or found[1] != names:
        return schema, None
    return Schema({name: schema.parameters[name] for name in names}, schema.buffers, schema.first), found[0]


def _creation_order(name: str) -> tuple[Any, ...]:
    module, _, leaf = name.rpartition(".")
    return module in _LAST, natural(module), leaf != "weight"


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


def _layout(schema: Schema, state: State) -> ParamLayout | None:
    dtype = next(iter(state.tensors[name].dtype for name in schema.parameters))
    try:
        return ParamLayout.of(schema.parameters.items(), dtype=dtype if dtype in DTYPES else "F32")  # type: ignore[arg-type]
    except UsageError as exc:
        raise SourceError("nothing_to_convert", str(exc), path=schema.first) from exc


def _times(runs: Sequence[Run], origin: KnownFrom) -> Provenance:
    """Return the unit of a timestep if the names contain it and all runs agree."""
    numbered = [run.numbered for run in runs if isinstance(run.numbered, Numbered)]
    units = {found.unit for found in numbered}
    if len(units) != 1 or (unit := units.pop()) is None:
        return Provenance()
    known: dict[str, KnownFrom] = {"timestep": origin}
    steps = {spacing(found.numbers) for found in numbered}
    every = steps.pop() if len(steps) == 1 else None
    starts = {found.numbers[0] for found in numbered if found.numbers}
    if not every or len(starts) != 1 or (start := starts.pop()) % every:
        return Provenance(timestep=TimestepUnit(kind=unit), known_from=known)
    first = start // every or None
    return Provenance(timestep=TimestepUnit(kind=unit, every=every), first_timestep=first, known_from=known)


def _completed(provenance: Provenance, config: dict[str, str], model: Model | None) -> Provenance:
    """Add the facts of config.json, and the network if its shapes are those of one of MTT's."""
    known: dict[str, KnownFrom] = dict(provenance.known_from)
    changes: dict[str, Any] = {}
    if config:
        changes["recipe"] = dict(config)
        known["recipe"] = "file"
    if model is not None:
        changes["model"] = model
        known["model"] = "shapes"
    return msgspec.structs.replace(provenance, **changes, known_from=known)

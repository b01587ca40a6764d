"""Finding the runs of a folder, and what their names and first checkpoints tell of all of them."""

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
from trajfmt.sources.base.collection import Buffers, Found, OpenOptions, left_out
from trajfmt.sources.checkpoints.numbering import Numbered, is_alias, natural, numbers_of, spacing
from trajfmt.sources.checkpoints.run import Kind, Run, RunPart, Schema, attempt
from trajfmt.sources.torchfile.stored import State

__all__ = ["candidates", "find_runs", "is_beside", "open_runs"]

_DEPTH: Final = 3
_MOST_FOLDERS: Final = 4096
"""Folders that are looked into before a search is given up."""

_SHOWN: Final = 6
_BESIDE: Final = re.compile(
    r"(optimizer|optim|opt_state|lr_scheduler|scheduler|scaler|grad_scaler|rng_state|random_states?|"
    r"training_args|trainer_state|training_state)s?(?![a-z]).*",
    re.I,
)
_AFTER: Final = ("classifier", "fc")
"""What stands last in MTT's networks, wherever its name sorts."""


def is_beside(name: str) -> bool:
    """Return whether a file is an optimizer's, a scheduler's or a random generator's state, by its name.

    >>> is_beside("optimizer_100.pt"), is_beside("rng_state.pth"), is_beside("opt_125m_100.pt")
    (True, True, False)
    """
    return _BESIDE.fullmatch(name) is not None


def candidates(folder: Path, kind: Kind) -> list[Path]:
    """Return the checkpoints in a folder, in natural order."""
    try:
        names = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:
        return []
    return sorted((path for path in names if kind.is_checkpoint(path)), key=lambda path: natural(path.name))


def find_runs(folder: Path, kind: Kind) -> list[tuple[Path, list[Path]]]:
    """Return every folder that holds checkpoints, at most three levels down, and what it holds."""
    return list(_search(folder, kind, _DEPTH, [_MOST_FOLDERS]))


def _may_hold_runs(path: Path) -> bool:
    """Return whether to look into something: a folder that is neither hidden nor a bundle."""
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
    """Return the runs of a folder.

    Raises:
        SourceError: there are none.
    """
    if not folder.is_dir():
        raise SourceError(
            "too_few_timesteps", "one checkpoint is no trajectory; give the folder of its run", path=folder
        )
    found = find_runs(folder, kind)
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
            f"a trajectory needs two checkpoints or more whose names tell their steps, found"
            f" {display(paths[0].name)}" + (f" and {len(paths) - 1} more" if paths[1:] else ""),
            path=folder,
        )
    schema, state = _first(runs, kind, options)
    notices += _beside(runs, state)
    provenance, layout = _times(runs, kind.origin), None
    if schema is not None and state is not None:
        schema, model = _in_order(schema, state)
        notices += _remarks(schema, state, options.buffers, known=model is not None)
        layout = _layout(schema, state)
        provenance = _told(provenance, kind.told(schema.first), model)
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
    """Name what is called a checkpoint and is none, and the runs that lie below this one."""
    notices = []
    for path in sorted(folder.iterdir(), key=lambda path: natural(path.name)):
        if path.name.startswith("."):
            continue
        if (why := kind.not_one(path)) is not None:
            notices.append(left_out(path, why))
        elif _may_hold_runs(path) and not kind.is_checkpoint(path) and find_runs(path, kind):
            notices.append(left_out(path, "a run inside the folder of another; convert it by itself"))
    return notices


def _run(folder: Path, paths: Sequence[Path], kind: Kind, options: OpenOptions, notices: list[str]) -> Run:
    """Order the checkpoints of one folder; those that cannot be used are left out and remarked on."""
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
    """Return the first checkpoint that can be opened; what is wrong with others is said later."""
    for run in runs:
        path = run.checkpoints[0]
        state = attempt(kind, path, trust_pickle=options.trust_pickle)
        if isinstance(state, State) and (schema := Schema.of(state, path, options.buffers)).parameters:
            return schema, state
    return None, None


def _beside(runs: Sequence[Run], state: State | None) -> list[str]:
    """Name, in one remark, what lies beside the weights and is not read."""
    names: dict[str, None] = {}
    for run in runs:
        for folder in (run.folder, *(path for path in run.checkpoints[:1] if path.is_dir())):
            names |= dict.fromkeys(sorted(p.name for p in folder.iterdir() if is_beside(p.name)))
    keys = [f"`{key}`" for key in (state.ignored if state else ())]
    if not names and not keys:
        return []
    shown = [*names, *keys]
    text = ", ".join(map(display, shown[:_SHOWN])) + (", …" if len(shown) > _SHOWN else "")
    return [f"not read, as no weights: {text} (states of optimizers and the like)"]


def _in_order(schema: Schema, state: State) -> tuple[Schema, Model | None]:
    """Recognise one of MTT's networks, also where the file has sorted its tensors by name."""
    found = models.recognise(list(schema.parameters.values()))
    if found or state.ordered:
        return schema, found[0] if found else None
    names = sorted(schema.parameters, key=_made)
    found = models.recognise([schema.parameters[name] for name in names])
    if found is None or found[1] != names:
        return schema, None
    return Schema({name: schema.parameters[name] for name in names}, schema.buffers, schema.first), found[0]


def _made(name: str) -> tuple[Any, ...]:
    module, _, leaf = name.rpartition(".")
    return module in _AFTER, natural(module), leaf != "weight"


def _remarks(schema: Schema, state: State, mode: Buffers, *, known: bool) -> list[str]:
    notices = []
    if not state.ordered and not known:
        notices.append(
            "safetensors files do not tell the order of Module.parameters(): parameters stand in the file's"
            " order, by their names"
        )
    if schema.buffers:
        kept = "carried at every stored timestep and not interpolated (--buffers)"
        notices.append(
            f"{len(schema.buffers)} buffers (such as `{display(schema.buffers[0])}`) are"
            f" {'dropped' if mode == 'drop' else kept}"
        )
    places: dict[Any, str] = {}
    for name in schema.parameters:
        first = places.setdefault(state.tensors[name].place, name)
        if first != name:
            notices.append(f"`{display(name)}` is tied to `{display(first)}`: it is stored once more")
    return notices


def _layout(schema: Schema, state: State) -> ParamLayout | None:
    dtype = next(iter(state.tensors[name].dtype for name in schema.parameters))
    try:
        return ParamLayout.of(schema.parameters.items(), dtype=dtype if dtype in DTYPES else "F32")  # type: ignore[arg-type]
    except UsageError as exc:
        raise SourceError("nothing_to_convert", str(exc), path=schema.first) from exc


def _times(runs: Sequence[Run], origin: KnownFrom) -> Provenance:
    """Return the unit of a timestep, as far as names tell it and all runs agree."""
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


def _told(provenance: Provenance, config: dict[str, str], model: Model | None) -> Provenance:
    """Add what config.json says, and the network if the shapes are one of MTT's."""
    known: dict[str, KnownFrom] = dict(provenance.known_from)
    changes: dict[str, Any] = {}
    if config:
        changes["recipe"] = dict(config)
        known["recipe"] = "file"
    if model is not None:
        changes["model"] = model
        known["model"] = "shapes"
    return msgspec.structs.replace(provenance, **changes, known_from=known)

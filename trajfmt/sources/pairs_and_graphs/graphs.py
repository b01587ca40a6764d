"""Replay buffers of graph distillation: MTT's files, with the arguments of the run in `train.log`.

SFGC and its descendant GEOM write the first timestep before training and the following ones after the epochs
10, 20, …, counted from 0. The first interval is therefore one epoch longer than the others.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec

from trajfmt.errors import SourceError, display
from trajfmt.schema.layout import Dtype
from trajfmt.schema.models import PathFacts
from trajfmt.schema.provenance import TimestepUnit
from trajfmt.sources.base.collection import Collection, FilePart, OpenOptions
from trajfmt.sources.base.trajectories import ForeignTrajectory, Plain, Shapes
from trajfmt.sources.base.unused import shortened
from trajfmt.sources.mtt_family.paths import parts_of
from trajfmt.sources.mtt_family.replay import ReplayPart, Writer, open_replay, recognise
from trajfmt.sources.pairs_and_graphs.log import LOG, Log, read_log
from trajfmt.trajectory.source import Values

__all__ = ["graph_writer", "open_graphs", "run_folder"]

_FOLDER: Final = re.compile(r"(?P<dataset>.+?)-(\d{8}-\d{6}-\d{6}|(?P<lam>lam-.*))")
_INTERVAL: Final = "param_save_interval"
"""The argument with the epochs between two timesteps."""

_SHOWN: Final = 4

_RECIPE: Final = (
    "buffer_model_type",
    "teacher_nlayers",
    "teacher_hidden",
    "teacher_epochs",
    "lr_teacher",
    "wd_teacher",
    "mom_teacher",
    "optim",
    "lam",
    "T",
    "scheduler",
)
"""The arguments that are recorded."""


def run_folder(path: Path) -> re.Match[str] | None:
    """Match a path `Buffer/{dataset}-{date and time}`, or GEOM's `Buffer/{dataset}-lam-…`."""
    parts = parts_of(path)
    return _FOLDER.fullmatch(parts[-1]) if len(parts) > 1 and parts[-2] == "Buffer" else None


def graph_writer(codebase: str, title: str) -> Writer:
    """Return the replay buffers of a codebase of this family."""
    return Writer(
        codebase=codebase,
        title=title,
        files="replay_buffer_{n}.pt and train.log in Buffer/{dataset}-{time}, a timestep every 10 epochs",
        facts=_facts,
        every=10,
    )


def recognise_graphs(path: Path) -> str | None:
    """Return why a path contains replay buffers of graph distillation, judging by names, or None."""
    files = recognise(path) if path.is_dir() else None
    return f"{files} in a folder Buffer/<dataset>-<run>" if files and run_folder(path) else None


def _facts(folder: Path) -> PathFacts:
    found = run_folder(folder)
    return PathFacts(dataset=found["dataset"] if found else None)


def open_graphs(path: Path, options: OpenOptions, writer: Writer) -> Collection:
    """Return the replay buffers of a run, with parameter names and the facts of the log.

    Raises:
        SourceError: there are no replay buffers.
    """
    found = open_replay(path, options, writer)
    log, provenance = read_log(found.folder), found.provenance
    notices = found.notices + _remarks(log, found.facts, found.folder / LOG)
    logged = log.arguments
    recipe: dict[str, Any] = dict(provenance.recipe or {})
    recipe |= {name: logged[name] for name in _RECIPE if name in logged}
    origin = dict(provenance.known_from)
    if _INTERVAL in log.written:
        every = _epochs(logged.get(_INTERVAL))
        unit = TimestepUnit(kind="epoch", every=every) if every else None
        provenance = msgspec.structs.replace(provenance, timestep=unit)
        origin["timestep"] = "file"
        if unit is None:
            del origin["timestep"]
    run = run_folder(found.folder)
    if log.written or log.differing:
        origin["recipe"] = "file"
    elif not options.chosen and not (run and run["lam"]):  # the folders of SFGC and GEOM have the same form
        recipe.clear()
        del origin["recipe"]
    provenance = msgspec.structs.replace(provenance, recipe=recipe or None, known_from=origin)
    facts = found.facts
    if facts.dataset is None and isinstance(name := logged.get("dataset"), str):
        facts = replace(facts, dataset=name)
    parts = [_GraphPart(part.path, trust_pickle=options.trust_pickle) for part in found.parts]
    return replace(found, parts=parts, facts=facts, provenance=provenance, notices=notices)


def _epochs(value: object) -> int | None:
    """Return the interval of the log, or None if it is no number of epochs."""
    return value if type(value) is int and value > 0 else None


def _remarks(log: Log, facts: PathFacts, path: Path) -> list[str]:
    """Return remarks on what the log says in two ways, on its data set, and on an interval of no use.

    Raises:
        SourceError: it states several intervals between timesteps.
    """
    notices = []
    if intervals := log.differing.get(_INTERVAL):
        raise SourceError(
            "nothing_to_convert",
            f"has lines of several starts, with {_INTERVAL} {shortened(intervals, _SHOWN)}; keep only"
            " those of the run that wrote the buffers",
            path=path,
        )
    if log.differing:
        some = [f"{name} ({shortened(values, _SHOWN)})" for name, values in log.differing.items()]
        notices.append(
            f"{LOG} has lines of several starts, which differ in {shortened(some, _SHOWN)}: none of these is"
            " recorded"
        )
    if _INTERVAL in log.written and _epochs(log.arguments.get(_INTERVAL)) is None:
        given = display(log.written[_INTERVAL])
        notices.append(
            f"{LOG} says {_INTERVAL}={given}, which is no number of epochs, so the distance between"
            " timesteps is not recorded"
        )
    name = log.arguments.get("dataset")
    if facts.dataset is not None and isinstance(name, str) and name != facts.dataset:
        used = display(facts.dataset)
        notices.append(
            f"data set: {used}, as the name of a folder says, and not {display(name)} (known from {LOG})"
        )
    return notices


class _GraphPart(FilePart):
    """One replay buffer of a network on a graph."""

    def __init__(self, path: Path, *, trust_pickle: bool = False) -> None:
        super().__init__(path)
        self._plain = ReplayPart(path, trust_pickle=trust_pickle)

    def open(self, scratch: Path) -> Sequence[ForeignTrajectory]:
        """Return the trajectories, with parameter names if the network is known."""
        return [_GraphTrajectory(trajectory) for trajectory in self._plain.open(scratch)]


class _GraphTrajectory(Plain):
    """One trajectory. If the network is a chain of graph convolutions, its parameters have names."""

    def __init__(self, inner: ForeignTrajectory) -> None:
        self._inner = inner

    @property
    def timesteps(self) -> int:
        """The number of timesteps, T + 1."""
        return self._inner.timesteps

    @property
    def shapes(self) -> Shapes:
        """The shapes of the parameters."""
        return self._inner.shapes

    @property
    def names(self) -> Sequence[str] | None:
        """`layers.{i}.weight` and `.bias` if the shapes are (in, out), (out), (out, next), …, or None."""
        shapes = self.shapes
        weights, biases = shapes[::2], shapes[1::2]
        chain = len(weights) == len(biases) > 0 and all(len(weight) == 2 for weight in weights)
        if not chain or any(bias != weight[1:] for weight, bias in zip(weights, biases, strict=True)):
            return None
        if any(a[1] != b[0] for a, b in itertools.pairwise(weights)):
            return None
        return [f"layers.{at}.{kind}" for at in range(len(weights)) for kind in ("weight", "bias")]

    @property
    def dtype(self) -> Dtype:
        """The common dtype of the parameters."""
        return self._inner.dtype

    def read(self, t: int, parameter: int) -> Values:
        """Return one parameter at timestep t, flattened."""
        return self._inner.read(t, parameter)

    def check(self) -> None:
        """Check that the trajectory can be converted, as the wrapped trajectory does."""
        self._inner.check()
        self.remarks = self._inner.remarks

    def close(self) -> None:
        """Free the memory and the maps that reading has taken."""
        self._inner.close()

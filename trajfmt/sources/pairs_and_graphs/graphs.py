"""Replay buffers of graph distillation: MTT's files, with the arguments of the run in `train.log`.

SFGC and its descendant GEOM write the first timestep before training and the following ones after the epochs
10, 20, …, counted from 0. The first interval is therefore one epoch longer than the others.
"""

from __future__ import annotations

import ast
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec

from trajfmt.schema.layout import MAX_TEXT, Dtype
from trajfmt.schema.models import PathFacts
from trajfmt.schema.provenance import TimestepUnit
from trajfmt.sources.base.collection import Collection, FilePart, OpenOptions
from trajfmt.sources.base.trajectories import ForeignTrajectory, Plain, Shapes
from trajfmt.sources.mtt_family.paths import parts_of
from trajfmt.sources.mtt_family.replay import ReplayPart, Writer, open_replay, recognise
from trajfmt.trajectory.source import Values

__all__ = ["arguments", "graph_writer", "open_graphs", "run_folder"]

_FOLDER: Final = re.compile(r"(?P<dataset>.+?)-(\d{8}-\d{6}-\d{6}|(?P<lam>lam-.*))")
_LOG: Final = "train.log"
_HEAD: Final = 2**16
"""Bytes of the log that are searched for the arguments, which are its first line."""

_MOST: Final = 2**53
"""The largest whole number that a manifest can contain."""

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


def arguments(folder: Path) -> dict[str, Any]:
    """Return the arguments in the log of a run, or {} if they cannot be read."""
    log = folder / _LOG
    try:
        if not log.is_file():  # opening a pipe would block
            return {}
        with log.open("rb") as file:
            head = file.read(_HEAD).decode(errors="replace")
    except OSError:
        return {}
    found = re.search(r"args = (Namespace\(.*\))\s*$", head, re.MULTILINE)
    try:
        call = ast.parse(found[1], mode="eval").body if found else None
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return {}
    if not isinstance(call, ast.Call):
        return {}
    values = {item.arg: item.value for item in call.keywords if item.arg}
    plain = {name: node.value for name, node in values.items() if isinstance(node, ast.Constant)}
    return {name: value for name, value in plain.items() if _storable(value)}


def _storable(value: object) -> bool:
    """Return whether a manifest can contain a value: a finite number, or a short text."""
    if isinstance(value, str):
        return len(value) <= MAX_TEXT and value.isprintable()
    if isinstance(value, int):
        return abs(value) <= _MOST
    return isinstance(value, float) and math.isfinite(value)


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
    logged, provenance = arguments(found.folder), found.provenance
    recipe: dict[str, Any] = dict(provenance.recipe or {})
    recipe |= {name: logged[name] for name in _RECIPE if name in logged}
    origin = dict(provenance.known_from)
    every = logged.get("param_save_interval")
    if isinstance(every, int) and every > 0:
        provenance = msgspec.structs.replace(provenance, timestep=TimestepUnit(kind="epoch", every=every))
        origin["timestep"] = "file"
    run = run_folder(found.folder)
    if logged:
        origin["recipe"] = "file"
    elif not options.chosen and not (run and run["lam"]):  # the folders of SFGC and GEOM have the same form
        recipe.clear()
        del origin["recipe"]
    provenance = msgspec.structs.replace(provenance, recipe=recipe or None, known_from=origin)
    facts = found.facts
    if facts.dataset is None and isinstance(name := logged.get("dataset"), str):
        facts = replace(facts, dataset=name)
    parts = [_GraphPart(part.path, trust_pickle=options.trust_pickle) for part in found.parts]
    return replace(found, parts=parts, facts=facts, provenance=provenance)


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

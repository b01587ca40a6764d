"""Buffers of graph distillation: MTT's files, a timestep every 10 epochs, arguments in `train.log`.

Owns what SFGC and its descendant GEOM have in common. Both write a trajectory's first timestep before
training and the next ones after the epochs 10, 20, …, counted from 0: the first interval is one epoch longer.
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
import numpy as np
from numpy.typing import NDArray

from trajfmt.schema.layout import MAX_TEXT, Dtype
from trajfmt.schema.models import PathFacts
from trajfmt.schema.provenance import TimestepUnit
from trajfmt.sources.base.collection import (
    Collection,
    FilePart,
    ForeignTrajectory,
    OpenOptions,
    Plain,
    Shapes,
)
from trajfmt.sources.mtt_family.paths import parts_of
from trajfmt.sources.mtt_family.replay import ReplayPart, Writer, open_replay, recognise

__all__ = ["arguments", "graph_writer", "open_graphs", "run_folder"]

_FOLDER: Final = re.compile(r"(?P<dataset>.+?)-(\d{8}-\d{6}-\d{6}|(?P<lam>lam-.*))")
_LOG: Final = "train.log"
_HEAD: Final = 2**16
"""Bytes of the log in which the arguments are looked for; they are its first line."""

_MOST: Final = 2**53

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
"""Arguments that are kept, where they are known."""


def run_folder(path: Path) -> re.Match[str] | None:
    """Read `Buffer/{dataset}-{date and time}`, or GEOM's `Buffer/{dataset}-lam-…`."""
    parts = parts_of(path)
    return _FOLDER.fullmatch(parts[-1]) if len(parts) > 1 and parts[-2] == "Buffer" else None


def arguments(folder: Path) -> dict[str, Any]:
    """Return the arguments that the writer logged; {} if it did not, or no longer tells."""
    log = folder / _LOG
    try:
        if not log.is_file():  # opening a pipe would wait for ever
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
    """Return whether a manifest can hold a value: a whole number up to 2^53, a finite one, a short text."""
    if isinstance(value, str):
        return len(value) <= MAX_TEXT and value.isprintable()
    if isinstance(value, int):
        return abs(value) <= _MOST
    return isinstance(value, float) and math.isfinite(value)


def graph_writer(codebase: str, title: str) -> Writer:
    """Return what such a codebase writes."""
    return Writer(
        codebase=codebase,
        title=title,
        files="replay_buffer_{n}.pt and train.log in Buffer/{dataset}-{time}, a timestep every 10 epochs",
        facts=_facts,
        every=10,
    )


def recognise_graphs(path: Path) -> str | None:
    """Tell by the files' names and the folder's."""
    files = recognise(path) if path.is_dir() else None
    return f"{files} in a folder Buffer/<dataset>-<run>" if files and run_folder(path) else None


def _facts(folder: Path) -> PathFacts:
    found = run_folder(folder)
    return PathFacts(dataset=found["dataset"] if found else None)


def open_graphs(path: Path, options: OpenOptions, writer: Writer) -> Collection:
    """Return the files, with names for the networks' parameters and with what the log tells."""
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
    elif not options.told and not (run and run["lam"]):  # SFGC's and GEOM's folders look alike
        recipe.clear()
        del origin["recipe"]
    provenance = msgspec.structs.replace(provenance, recipe=recipe or None, known_from=origin)
    facts = found.facts
    if facts.dataset is None and isinstance(name := logged.get("dataset"), str):
        facts = replace(facts, dataset=name)
    parts = [_GraphPart(part.path, trust_pickle=options.trust_pickle) for part in found.parts]
    return replace(found, parts=parts, facts=facts, provenance=provenance)


class _GraphPart(FilePart):
    """One file of trajectories of a graph network."""

    def __init__(self, path: Path, *, trust_pickle: bool = False) -> None:
        super().__init__(path)
        self._plain = ReplayPart(path, trust_pickle=trust_pickle)

    def open(self, scratch: Path) -> Sequence[ForeignTrajectory]:
        """Return the trajectories, named where the network is known."""
        return [_GraphTrajectory(trajectory) for trajectory in self._plain.open(scratch)]


class _GraphTrajectory(Plain):
    """One trajectory whose parameters get the names of a chain of graph convolutions, if it is one."""

    def __init__(self, inner: ForeignTrajectory) -> None:
        self._inner = inner

    @property
    def timesteps(self) -> int:
        """Return T + 1."""
        return self._inner.timesteps

    @property
    def shapes(self) -> Shapes:
        """Return the parameters' shapes."""
        return self._inner.shapes

    @property
    def names(self) -> Sequence[str] | None:
        """Return `layers.{i}.weight` and `.bias` for (in, out), (out), (out, next), …; else None."""
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
        """Return the parameters' common dtype."""
        return self._inner.dtype

    def read(self, t: int, parameter: int) -> NDArray[np.generic]:
        """Return one parameter at timestep t, flattened."""
        return self._inner.read(t, parameter)

    def check(self) -> None:
        """Refuse what must not be converted."""
        self._inner.check()

    def close(self) -> None:
        """Free what reading has taken."""
        self._inner.close()

"""What should be there: the trajectories of every state of a bundle, and the bytes of an undisturbed run.

A state is the tuple of operations that made it. Trajectories have values that this module computes itself.
Only between the knots of a `.mct` are they those that an undisturbed bundle of this trajectory alone gives.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import trajfmt
from benchmarks.trust.commands import SHAPES, contents
from benchmarks.trust.looking import look_once, told
from benchmarks.trust.processes import Child

__all__ = ["BUNDLES", "SOURCES", "Model", "Operation", "State", "ViolationError"]

BUNDLES: dict[str, dict[str, Any]] = {
    "a.mct": {},
    "b.mct": {"knots": (2,), "gram": True},
    "c.mtt": {},
    "d.mtt": {"codec": "zstd"},
    "e.mtt": {"codec": "archive"},
}
"""The bundles of a history, with the options that make them."""

SOURCES = 3
LAST = 4
"""The last timestep of every trajectory."""


class ViolationError(Exception):
    """Something that must never happen."""


@dataclass(frozen=True)
class Operation:
    """What a writer does to a bundle."""

    kind: str
    """`convert` and `append` are commands, `create` and `add` the same by the library."""

    name: str
    source: int

    @property
    def begins(self) -> bool:
        """Whether it makes the bundle."""
        return self.kind in ("convert", "create")


State = tuple[Operation, ...]


def members(state: State) -> list[tuple[int, int]]:
    """Return source and number in it of every trajectory."""
    return [(step.source, k) for step in state for k in range(1 + step.source % 2)]


class Model:
    """The material, and everything that should come of it.

    Args:
        folder: a folder of its own.
        traj: the command group.
    """

    def __init__(self, folder: Path, traj: Callable[[], object]) -> None:
        self._folder, self._traj = folder, traj
        self._contents: dict[Any, dict[str, bytes]] = {}
        self._calls: dict[Any, list[int]] = {}
        self.states: dict[str, State] = {}
        """Every state that was asked for, by the hash of its manifest."""

        (folder / "src").mkdir(parents=True)
        self.rows: dict[tuple[int, int], NDArray[np.float32]] = {}
        for source in range(SOURCES):
            for k in range(1 + source % 2):
                steps = np.random.default_rng([source, k]).standard_normal((LAST + 1, _size()))
                self.rows[source, k] = np.cumsum(steps.astype(np.float32), axis=0)
            (folder / "src" / str(source)).mkdir()
            buffer = [_tensors(self.rows[source, k]) for k in range(1 + source % 2)]
            torch.save(buffer, folder / "src" / str(source) / "replay_buffer_0.pt")
        self._between: dict[tuple[str, tuple[int, int]], NDArray[np.float32]] = {}
        _, path = self._undisturbed((Operation("convert", "c.mtt", 0),))
        with trajfmt.open(path) as bundle:
            self.layout = bundle.layout

    def _read_reference(self, name: str, source: int) -> None:
        """Remember the weights of the trajectories of a source between the knots of a `.mct`."""
        state = (Operation("convert", name, source),)
        _, path = self._undisturbed(state)
        with trajfmt.open(path) as bundle:
            for (_, k), trajectory in zip(members(state), bundle, strict=True):
                found = [np.array(trajectory.at(t / 2)) for t in range(2 * LAST + 1)]
                self._between[name, (source, k)] = np.stack(found)

    def weights(self, name: str, key: tuple[int, int], t: float) -> NDArray[np.float32]:
        """Return the weights of a trajectory at a timestep."""
        options = BUNDLES[name]
        exact = name.endswith(".mtt") or t in (0, LAST, *options.get("knots", ()))
        if exact:
            return self.rows[key][int(t)]
        if (name, key) not in self._between:
            self._read_reference(name, key[0])
        return self._between[name, key][int(2 * t)]

    def differs(self, seen: dict[str, Any], state: State) -> str:
        """Return what is wrong about what a reader saw of a state; empty if nothing is."""
        keys = members(state)
        if seen["count"] != len(keys):
            return f"{seen['count']} trajectories instead of {len(keys)}"
        for number, t, start, stop, found in seen.get("parts", ()):
            expected = self.weights(state[0].name, keys[number], t)[start:stop]
            if hashlib.sha256(expected.tobytes()).hexdigest() != found:
                return f"other values at trajectory {number}, t = {t}, elements {start}:{stop}"
        return ""

    def after(self, state: State, step: Operation) -> State | None:
        """Return the state after an operation; None if the operation must be refused."""
        if step.begins:
            return None if state else (step,)
        known = any(step.source == other.source for other in state)
        return (*state, step) if state and not known else None

    def work(self, step: Operation, folder: Path) -> Callable[[], int]:
        """Return what does the operation in a folder."""
        path, source = folder / step.name, self._folder / "src" / str(step.source)
        if step.kind in ("create", "add"):
            return partial(told, partial(self._write, path, step))
        options = BUNDLES[step.name] if step.begins else {"append": True}
        words = ["convert", str(source), str(path)]
        for option, value in options.items():
            words.append(f"--{option}")
            if value is not True:
                words.append(str(value[0]) if isinstance(value, tuple) else value)
        return self.command(*words)

    def _write(self, path: Path, step: Operation) -> None:
        """Write with the library; operations on even sources can be continued."""
        job = None if step.source % 2 else f"{step.kind}{step.source}.same".encode()
        if step.begins:
            encoding = "full" if path.suffix == ".mtt" else "convex"
            writer = trajfmt.create(path, self.layout, encoding=encoding, job=job, **BUNDLES[step.name])
        else:
            writer = trajfmt.append(path, job=job)
        done = len(writer.recover()) if job else 0
        with writer:
            for key in members((step,))[done:]:
                writer.add(trajfmt.ArrayTrajectory(self.rows[key], writer.layout))

    def command(self, *words: str) -> Callable[[], int]:
        """Return what runs a command, and returns its exit code."""

        def work() -> int:
            sys.argv = ["traj", *words]
            try:
                self._traj()
            except SystemExit as exc:
                return exc.code if isinstance(exc.code, int) else int(exc.code is not None)
            return 0

        return work

    def contents(self, state: State) -> dict[str, bytes]:
        """Return the files of a bundle in a state."""
        if not state:
            return {}
        if state not in self._contents:
            self._undisturbed(state)
        return self._contents[state]

    def sha256(self, state: State) -> str:
        """Return the hash of the manifest of a state; empty if there is none."""
        return self.hash_of(self.contents(state)["manifest.json"]) if state else ""

    @staticmethod
    def hash_of(manifest: bytes) -> str:
        """Return the hash of a manifest."""
        return hashlib.sha256(manifest).hexdigest()

    def _undisturbed(self, state: State) -> tuple[list[int], Path]:
        """Do the last operation of a state undisturbed."""
        folder = self._folder / "undisturbed"
        shutil.rmtree(folder, ignore_errors=True)
        step = state[-1]
        fill(folder / step.name, self.contents(state[:-1]))
        calls = self._done(self.work(step, folder), folder)
        found = contents(folder / step.name)
        assert found
        self._contents[state], self._calls[state] = found, calls
        self.states[self.sha256(state)] = state
        return calls, folder / step.name

    def _done(self, work: Callable[[], int], folder: Path) -> list[int]:
        child = Child(work, folder, self._folder / "output")
        ended = child.wait()
        assert ended
        if ended.code or ended.loose:
            loose = "; not durable" * bool(ended.loose)
            raise ViolationError(f"ended undisturbed with {ended.code}{loose} {ended.text.strip()[-500:]}")
        return ended.calls

    def warm(self) -> None:
        """Do everything once in this process, so that what is imported late is there before the forks."""
        folder = self._folder / "warm"
        folder.mkdir()
        with open(os.devnull, "w") as null, redirect_stdout(null), redirect_stderr(null):
            for name in ("b.mct", "e.mtt"):
                self.work(Operation("convert", name, 0), folder)()
                look_once(str(folder / name), 0)
                self.command("validate", str(folder / name))()
            self.work(Operation("append", "b.mct", 2), folder)()
            for to in ("mtt", "checkpoints", "extract"):
                destination = folder / f"{to}.safetensors"
                self.command(*self.export_words(to, folder / "b.mct", destination))()

    def calls(self, state: State) -> list[int]:
        """Return the number of system calls of the operation that made a state, by kind."""
        self.contents(state)
        return self._calls[state]

    def export_words(self, to: str, bundle: Path, destination: Path) -> list[str]:
        """Return the command that makes something of a bundle."""
        if to == "extract":
            return ["extract", str(bundle), "--trajectory", "0", "--t", "3", "-o", str(destination)]
        return ["export", str(bundle), str(destination), "--to", to]

    def exported(self, state: State, to: str) -> tuple[dict[str, bytes], list[int]]:
        """Return what an export of a state is, and the system calls that it takes."""
        key = (self.sha256(state), to)
        if key not in self._contents:
            folder = self._folder / "undisturbed"
            shutil.rmtree(folder, ignore_errors=True)
            fill(folder / state[0].name, self.contents(state))
            destination = folder / "x.safetensors"
            words = self.export_words(to, folder / state[0].name, destination)
            self._calls[key] = self._done(self.command(*words), folder)
            self._contents[key] = contents(destination) or {}
        return self._contents[key], self._calls[key]


def fill(path: Path, files: dict[str, bytes]) -> None:
    """Write a folder of files; its own folder is made in any case."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)


def _size() -> int:
    return sum(int(np.prod(shape)) for shape in SHAPES)


def _tensors(rows: NDArray[np.float32]) -> list[list[torch.Tensor]]:
    """Return timesteps as MTT stores them."""
    bounds = np.cumsum([0, *(int(np.prod(shape)) for shape in SHAPES)])
    return [
        [
            torch.from_numpy(row[a:b].reshape(shape).copy())
            for a, b, shape in zip(bounds, bounds[1:], SHAPES, strict=False)
        ]
        for row in rows
    ]

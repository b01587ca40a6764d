"""The stage of a history: its processes, and what is there compared with what should be.

A process may stop at any system call and go on, or be killed, some steps later. Meanwhile its bundle may have
any of the states that it could have made.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.trust import looking
from benchmarks.trust.commands import contents
from benchmarks.trust.model import BUNDLES, Model, Operation, State, ViolationError, fill
from benchmarks.trust.processes import NOTHING, Child, Ended, Fault
from benchmarks.trust.web import OLD, Web

__all__ = ["CODES", "Running", "Stage"]

EVERY = NOTHING.kinds
KILL, KILL_AFTER, PAUSE = 2, 3, 6
CODES = (0, 1, 2, 3, 4, 5)
MEMORY = 10**9
WAITS = 0.05
"""Seconds after which a reader is taken to wait for the lock of a paused one."""


@dataclass
class Running:
    """A process of the history."""

    what: str
    name: str
    child: Child
    step: Operation | None = None
    """What a writer does."""

    seen: set[State] = field(default_factory=set)
    """The states that the bundle has had since the process began, or before for an older copy."""

    mood: str = ""
    """How the server answers; empty for a reader of the local files."""

    to: str = ""
    destination: str = ""
    crowded: bool = False
    """Whether another writer of the same bundle was there meanwhile."""

    published: bool = False
    done: Callable[[Running, Ended], None] = lambda _running, _ended: None
    """Judges how it has ended."""

    keeper: looking.Keeper | None = None
    opened: State = ()

    @property
    def gone(self) -> bool:
        """Whether the bundle was not there at some time, or is another one now."""
        return () in self.seen


class Stage:
    """Where one history takes place.

    Args:
        seed: what it is drawn from.
        folder: a folder of its own, in the folder of the server.
        model: what should be there.
        web: the server.
        output: a folder for what processes print.
    """

    def __init__(self, seed: int, folder: Path, model: Model, web: Web, output: Path) -> None:
        self.seed, self.folder, self.model, self.web, self.output = seed, folder, model, web, output
        self.chance = random.Random(seed)
        self.log: list[str] = []
        self.count: Counter[str] = Counter()
        self.memory = 0
        self.names = self.chance.sample(list(BUNDLES), 2)
        self.state: dict[str, State] = dict.fromkeys(self.names, ())
        self.interrupted: dict[str, list[Operation]] = {name: [] for name in self.names}
        self.blocked: set[str] = set()
        """Bundles beside which there may be finished work of a conversion that came too late."""

        self.paused: list[Running] = []
        self.keepers: list[Running] = []
        self.exports: dict[str, Running] = {}
        self._number = 0
        folder.mkdir()

    def told(self) -> str:
        """Return what has happened, step by step."""
        return "\n".join(f"    {line}" for line in self.log)

    def _says(self, text: str) -> None:
        self.log.append(text)

    def _wrong(self, text: str) -> NoReturn:
        raise ViolationError(text)

    # What processes do

    def _start(self, what: str, name: str, work: Callable[[], int], fault: Fault, **more: Any) -> Running:
        self._number += 1
        self.count["operations"] += 1
        self.count[what.split()[0]] += 1
        seen = set(self._allowed(name))
        if more.get("mood") == "stale":
            seen |= {self.model.states[sha] for sha in self._older(name)}
        output = self.output / str(self._number)
        cache = {"TRAJFMT_CACHE": str(self.folder / "cache")}
        self._says(f"{what} {name} {fault if fault is not NOTHING else ''}")
        child = Child(work, self.folder, output, fault, cache)
        running = Running(what, name, child, seen=seen, **more)
        if running.step:
            others = [each for each in self.paused if each.step and each.name == name]
            running.crowded = bool(others)
            for other in others:
                other.crowded = True
                self._touch(name)
        return running

    def _fault(self, calls: list[int], kill: float, pause: float) -> tuple[Fault, float | None]:
        """Draw a fault, or a moment at which the process is killed."""
        drawn = self.chance.random()
        total = max(1, sum(calls))
        if drawn < kill / 4:
            return NOTHING, self.chance.uniform(0, 0.04)
        if drawn < kill:
            action = self.chance.choice([KILL, KILL, KILL_AFTER])
            return Fault(EVERY, self.chance.randint(1, total), action), None
        if drawn < kill + pause:
            return Fault(EVERY, self.chance.randint(1, total), PAUSE), None
        return NOTHING, None

    def _follow(self, running: Running, moment: float | None, done: Callable[[Running, Ended], None]) -> None:
        """Wait for a process to end or to stop itself."""
        ended = None
        if moment is not None and not running.child.over(moment):
            ended = running.child.kill()
        elif running.mood and any(each.mood for each in self.paused) and not running.child.over(WAITS):
            self._resume([each for each in self.paused if each.mood])  # it may hold a lock in the cache
        ended = ended or running.child.wait()
        if ended is None:
            self._says("  it pauses")
            self.count["pauses"] += 1
            self.paused.append(running)
            running.done = done
            self._observe(running.name)
        else:
            self._end(running, ended, done)

    def _end(self, running: Running, ended: Ended, done: Callable[[Running, Ended], None]) -> None:
        self._says(f"  {running.what} {running.name}: {ended.code} {ended.text.strip()[-300:]}")
        self.memory = max(self.memory, ended.memory)
        self.count["kills"] += ended.code == -9
        if ended.code not in (*CODES, -9):
            self._wrong(f"ended with {ended.code}")
        if "Traceback" in ended.text:
            self._wrong("a traceback")
        if ended.memory > MEMORY:
            self._wrong(f"took {ended.memory} bytes of memory")
        if ended.loose:
            self._wrong("bytes that are not durable got their final name")
        errors = [x for x in ended.text.splitlines() if x.startswith("error:") or x.endswith("]")]
        if ended.code not in (0, -9) and (not errors or sum(x.startswith("error:") for x in errors) > 1):
            self._wrong("not one line that says why")
        self._observe(running.name, running)
        done(running, ended)

    def _resume_one(self) -> None:
        running = self.chance.choice(self.paused)
        if self.chance.random() < 0.3:
            self.paused.remove(running)
            self._says(f"kill the paused {running.what} {running.name}")
            self._end(running, running.child.kill(), running.done)
        else:
            self._resume([running])

    def _resume(self, some: list[Running]) -> None:
        for running in some:
            self._says(f"go on with {running.what} {running.name}")
            self.paused.remove(running)
            running.child.go_on()
        for running in some:
            ended = running.child.wait()
            assert ended
            self._end(running, ended, running.done)

    # What is there

    def _allowed(self, name: str, extra: Running | None = None) -> dict[State, Running | None]:
        """Return the states that a bundle may have, with the writer that may have made each."""
        now = self.state[name]
        found: dict[State, Running | None] = {now: None}
        for running in (*self.paused, *([extra] if extra else [])):
            if running.step and running.name == name and not running.published:
                state = self.model.after(now, running.step)
                if state is not None:
                    found.setdefault(state, running)
        return found

    def _observe(self, name: str, extra: Running | None = None) -> None:
        """Find out in which state a bundle is, and compare all its bytes with those of that state."""
        manifest = self.folder / name / "manifest.json"
        there = manifest.read_bytes() if manifest.exists() else b""
        allowed = self._allowed(name, extra)
        matching = [s for s in allowed if self.model.contents(s).get("manifest.json", b"") == there]
        if not matching:
            self._wrong(f"{name} is in none of the states {[*allowed]}")
        state, running = matching[0], allowed[matching[0]]
        expected = self.model.contents(state)
        found = contents(self.folder / name) or {}
        for file, data in expected.items():
            if found.get(file) != data:
                self._wrong(f"{name}/{file} is {'other' if file in found else 'missing'} in state {state}")
        writing = any(each.step and each.name == name for each in self.paused) or extra
        more = set(found) - set(expected)
        if more and not writing and not self.interrupted[name]:
            self._wrong(f"left over in {name}: {sorted(more)}")
        if running is not None:
            running.published = True
            older = self.folder / OLD / name
            shutil.rmtree(older, ignore_errors=True)
            fill(older, self.model.contents(self.state[name]))
            self.state[name] = state
            self._touch(name)

    def _touch(self, name: str) -> None:
        """Tell the processes that run which states their bundle may have now."""
        for running in self.paused:
            if running.name == name:
                running.seen |= set(self._allowed(name))

    def _older(self, name: str) -> list[str]:
        path = self.folder / OLD / name / "manifest.json"
        return [self.model.hash_of(path.read_bytes())] if path.exists() else []

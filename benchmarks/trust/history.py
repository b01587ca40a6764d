"""One history: writers, readers, kills and a bad server on the bundles of a folder, drawn from a seed.

After each step the history compares what is there with the model. A process may stop at any system call and
go on, or be killed, some steps later; meanwhile others read and write the same bundle.
"""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.trust import looking
from benchmarks.trust.commands import contents
from benchmarks.trust.model import BUNDLES, SOURCES, Model, Operation, State, ViolationError, fill
from benchmarks.trust.processes import NOTHING, Child, Ended, Fault
from benchmarks.trust.web import GOOD, MOODS, OLD, Web

__all__ = ["History", "ViolationError"]

EVERY = NOTHING.kinds
KILL, KILL_AFTER, PAUSE = 2, 3, 6
CODES = (0, 1, 2, 3, 4, 5)
MEMORY = 10**9
ANSWER = 30.0
"""Seconds in which a reader must answer."""


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


class History:
    """One history.

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
        self.paused: list[Running] = []
        self.keepers: list[Running] = []
        self.exports: dict[str, Running] = {}
        self._number = 0
        folder.mkdir()

    def run(self) -> None:
        """Live through it.

        Raises:
            ViolationError: something happened that must not.
        """
        try:
            self._any_writer(self.names[0])
            for _ in range(self.chance.randint(4, 9)):
                self._any_step()
            self._finish()
        finally:
            for running in (*self.paused, *self.keepers):
                running.child.kill()

    def _any_step(self) -> None:
        name = self.chance.choice(self.names)
        steps: dict[Callable[[], None], int] = {
            partial(self._any_writer, name): 8,
            partial(self._read, name, remote=False): 4,
            partial(self._read, name, remote=True): 4,
            partial(self._export, name): 2,
        }
        if self.paused:
            steps[self._resume_one] = 5
        if any(self.interrupted.values()):
            steps[self._again] = 5
        if self.state[name]:
            steps[partial(self._keep, name)] = 3
        if self.keepers:
            steps[self._ask_one] = 5
        if self.state[name] and not any(each.step and each.name == name for each in self.paused):
            steps[partial(self._remove, name)] = 4 if any(each.name == name for each in self.keepers) else 1
        if not any(each.mood for each in (*self.paused, *self.keepers)):
            steps[partial(shutil.rmtree, self.folder / "cache", ignore_errors=True)] = 1
        self.chance.choices(list(steps), list(steps.values()))[0]()

    def _says(self, text: str) -> None:
        self.log.append(text)

    def _wrong(self, text: str) -> None:
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
        elif running.mood and any(each.mood for each in self.paused) and not running.child.over(0.05):
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

    # Writers

    def _write(self, name: str, step: Operation, kill: float = 0.4, pause: float = 0.25) -> None:
        if any(each.step == step for each in self.paused):
            return  # nobody could tell which of two equal writers was there first
        fault, moment = self._fault(self._calls(step), kill, pause)
        work = self.model.work(step, self.folder)
        running = self._start(f"{step.kind} {step.source}", name, work, fault, step=step)
        self._follow(running, moment, self._written)

    def _any_writer(self, name: str) -> None:
        kinds = ["append", "append", "add"] if self.state[name] else ["convert", "convert", "create"]
        if self.chance.random() < 0.1:
            kinds = ["append", "convert", "create", "add"]
        self._write(name, Operation(self.chance.choice(kinds), name, self.chance.randrange(SOURCES)))

    def _calls(self, step: Operation) -> list[int]:
        state = self.model.after(self.state[step.name], step)
        return [40] if state is None else self.model.calls(state)

    def _again(self) -> None:
        name = self.chance.choice([name for name, steps in self.interrupted.items() if steps])
        self._write(name, self.chance.choice(self.interrupted[name]), 0.2, 0.1)

    def _written(self, running: Running, ended: Ended) -> None:
        """Judge how a writer has ended."""
        step, name = running.step, running.name
        assert step
        others = [each for each in self.interrupted[name] if each != step and each not in self.state[name]]
        if ended.code == -9:
            if step not in self.interrupted[name]:  # also if it is there: what is left of it must go
                self.interrupted[name].append(step)
            return
        if ended.code == 0:
            if step not in self.state[name]:
                self._wrong("exit 0, and it is not there")
            self._forget(step)
            return
        if running.published:
            self._wrong("failed, but it is there")
        refused = self.model.after(self.state[name], step) is None
        reasons = {
            "already exists": step.begins and bool(self.state[name]),
            "is the same as trajectory": refused and not step.begins,
            "no such file": refused and not self.state[name],
            "an interrupted run": bool(others) or running.crowded,
            "another process": running.crowded,
        }
        if not any(text in ended.text and holds for text, holds in reasons.items()):
            self._wrong(f"refuses: {ended.text.strip()}")
        if refused:
            self._forget(step)

    def _forget(self, step: Operation) -> None:
        if step in self.interrupted[step.name]:
            self.interrupted[step.name].remove(step)

    def _remove(self, name: str) -> None:
        """Do as a user who starts afresh."""
        self._says(f"remove {name}")
        for path in (self.folder / name, self.folder / f".{name}.partial"):
            shutil.rmtree(path, ignore_errors=True)
        self.state[name] = ()
        self.interrupted[name] = []
        self._touch(name)
        for keeper in self.keepers:
            if keeper.name == name:
                keeper.seen.add(())
        if self.chance.random() < 0.7:  # another bundle takes its place
            kind = self.chance.choice(["convert", "create"])
            self._write(name, Operation(kind, name, self.chance.randrange(SOURCES)), kill=0, pause=0)
            for keeper in self.keepers:
                if keeper.name == name:
                    self._ask(keeper)

    # Readers

    def _read(self, name: str, *, remote: bool, mood: str = "") -> None:
        mood = mood or (self.chance.choice(MOODS) if remote else "")
        place = self._place(name, mood)
        seed = self.chance.randrange(2**32)
        if self.chance.random() < 0.4:
            work, what = self.model.command("validate", place), "validate"
        else:
            options = {"backend": self.chance.choice(["mmap", "pread"])}
            options["verify"] = self.chance.choice([False, True, "read"])
            work, what = partial(looking.look_once, place, seed, **options), "look"
        calls = [30] if not remote else [90]
        fault, moment = self._fault(calls, 0.15, 0.25)
        running = self._start(f"{what} {mood}".strip(), name, work, fault, mood=mood)
        self._follow(running, moment, self._have_read)

    def _place(self, name: str, mood: str) -> str:
        if not mood:
            return str(self.folder / name)
        return self.web.address(f"{mood}.{self._number}", f"{self.folder.name}/{name}")

    def _have_read(self, running: Running, ended: Ended) -> None:
        if ended.code == -9:
            return
        if ended.code:
            if not running.gone and (not running.mood or running.mood in GOOD):
                self._wrong(f"cannot be read: {ended.text.strip()}")
        elif running.what.startswith("look"):
            self._judge(running, json.loads(ended.text))

    def _judge(self, running: Running, seen: dict[str, Any]) -> None:
        state = self.model.states.get(seen["sha256"])
        if state is None or (state not in running.seen and not running.opened):
            self._wrong(f"a reader saw the state {state} of {running.name}, which was not published")
        elif wrong := self.model.differs(seen, state):
            self._wrong(f"a reader saw {wrong}, in state {state}")

    def _keep(self, name: str) -> None:
        """Start a reader that keeps the bundle open."""
        mood = self.chance.choice(["", "", "well"])
        self._release_cache(mood)
        keeper = looking.Keeper()
        options: dict[str, Any] = {"backend": self.chance.choice(["mmap", "pread"])}
        options["verify"] = self.chance.choice([False, "read"])
        work = partial(keeper.serve, self._place(name, mood), **options)
        running = self._start(f"keep {mood}", name, work, NOTHING, mood=mood, keeper=keeper)
        begun = keeper.begun(ANSWER)
        if begun is None:
            self._wrong(f"cannot be opened: {running.child.kill().text}")
        else:
            self._judge(running, begun)
            running.opened = self.model.states[begun["sha256"]]
            self.keepers.append(running)

    def _ask_one(self) -> None:
        self._ask(self.chance.choice(self.keepers))

    def _ask(self, running: Running) -> None:
        self._release_cache(running.mood)
        assert running.keeper
        self.count["operations"] += 1
        try:
            seen = running.keeper.ask(self.chance.randrange(2**32))
        except (TimeoutError, EOFError, OSError):
            self._wrong(f"a reader with an open bundle does not answer: {running.child.kill()}")
        self._says(f"ask the reader of {running.name} {running.mood}: {seen['code']}")
        if seen["code"] == 0:
            self._judge(running, seen)
        elif not running.gone or seen["code"] not in CODES:
            self._wrong(f"an open bundle cannot be read: {running.child.kill().text}")

    def _release_cache(self, mood: str) -> None:
        """Let processes go on that may hold a lock in the cache, for which a reader would wait."""
        if mood:
            self._resume([each for each in self.paused if each.mood])

    # Exports

    def _export(self, name: str) -> None:
        destination = f"x{self._number}"
        to = self.chance.choice(["checkpoints", "mtt", "extract"])
        if to == "extract":
            destination += ".safetensors"
        self._export_again(name, to, destination, 0.3, 0.2)

    def _export_again(self, name: str, to: str, destination: str, kill: float, pause: float) -> None:
        state = self.state[name]
        calls = self.model.exported(state, to)[1] if state else [5]
        words = self.model.export_words(to, self.folder / name, self.folder / destination)
        fault, moment = self._fault(calls, kill, pause)
        work = self.model.command(*words)
        running = self._start(f"export {to}", name, work, fault, to=to, destination=destination)
        self._follow(running, moment, self._exported)

    def _exported(self, running: Running, ended: Ended) -> None:
        there = contents(self.folder / running.destination)
        possible = [self.model.exported(state, running.to)[0] for state in running.seen if state]
        if there is not None and there not in possible:
            self._wrong(f"{running.destination} is incomplete, or of no state of {running.name}")
        if ended.code == 0 and there is None:
            self._wrong("exit 0, and it is not there")
        if ended.code not in (0, -9) and (there is not None or not running.gone):
            self._wrong(f"cannot be exported: {ended.text.strip()}")
        if ended.code:
            self.exports[running.destination] = running
        else:
            self.exports.pop(running.destination, None)

    # The end

    def _finish(self) -> None:
        """Let everything end, run again what was interrupted, and look for what is left over."""
        self._says("the end")
        for running in list(self.paused):
            if running in self.paused:
                self._resume([running])
        for name in self.names:
            for _ in range(20):
                if not self.interrupted[name]:
                    break
                self._write(name, self.chance.choice(self.interrupted[name]), 0.2, 0.1)
                self._resume(list(self.paused))
            else:
                self._wrong(f"{name}: what was interrupted cannot be finished")
        for destination, running in list(self.exports.items()):
            self._finish_export(destination, running)
        for keeper in self.keepers:
            self._ask(keeper)
            assert keeper.keeper
            keeper.keeper.end()
            ended = keeper.child.wait()
            assert ended
            self._end(keeper, ended, self._kept)
        self.keepers.clear()
        for name in self.names:
            if self.state[name]:
                place = self._place(name, "well")
                running = self._start(
                    "validate well", name, self.model.command("validate", place), NOTHING, mood="well"
                )
                self._follow(running, None, self._have_read)
        self._look_round()

    def _kept(self, _running: Running, ended: Ended) -> None:
        if ended.code:
            self._wrong(f"a reader with an open bundle ended with {ended.code}")

    def _finish_export(self, destination: str, running: Running) -> None:
        if (self.folder / destination).exists() or not self.state[running.name]:
            partial_path = self.folder / f".{destination}.partial"
            if not self.state[running.name]:  # nothing to export: the user removes what is left
                shutil.rmtree(partial_path) if partial_path.is_dir() else partial_path.unlink(missing_ok=True)
                return
            work = self.model.command(
                *self.model.export_words(running.to, self.folder / running.name, self.folder / destination)
            )
            again = self._start("refused export", running.name, work, NOTHING)
            self._follow(again, None, self._refused)
        else:
            self._export_again(running.name, running.to, destination, 0, 0)

    def _refused(self, _running: Running, ended: Ended) -> None:
        if ended.code != 2 or "already exists" not in ended.text:
            self._wrong(f"not refused, though it is there: {ended.code}")

    def _look_round(self) -> None:
        """Require that nothing is there but results, and that the cache has whole files and pieces only."""
        expected = {OLD, "cache", *(name for name in self.names if self.state[name])}
        found = {path.name for path in self.folder.iterdir()}
        if more := {name for name in found - expected if not name.startswith("x")}:
            self._wrong(f"left over: {sorted(more)}")
        bundles = self.folder / "cache" / "bundles"
        current = {self.model.sha256(self.state[name]) for name in self.names}
        for folder in bundles.iterdir() if bundles.exists() else ():
            files = self.model.contents(self.model.states[folder.name])
            held = contents(folder) or {}
            for name, data in held.items():
                hidden = Path(name).name.startswith(".")
                if not hidden and files.get(name) != data:
                    self._wrong(f"the cache has another {name}")
                if hidden and name.endswith(".partial") and folder.name in current:
                    self._wrong(f"left over in the cache: {name}")
            if folder.name in current and set(files) - set(held):
                self._wrong(f"the cache lacks {sorted(set(files) - set(held))}")

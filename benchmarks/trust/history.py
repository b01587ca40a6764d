"""One history: writers, readers, kills and a bad server on the bundles of a folder, drawn from a seed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.trust import looking
from benchmarks.trust.commands import contents
from benchmarks.trust.model import SOURCES, Operation
from benchmarks.trust.processes import NOTHING, Ended
from benchmarks.trust.stage import CODES, Running, Stage
from benchmarks.trust.web import GOOD, MOODS, OLD

__all__ = ["History"]

ANSWER = 30.0
"""Seconds in which a reader must answer."""


class History(Stage):
    """One history, which takes place on a stage."""

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
        if self.state[name] and self._is_free(name):
            steps[partial(self._remove, name)] = 1
        if not any(each.mood for each in (*self.paused, *self.keepers)):
            steps[partial(shutil.rmtree, self.folder / "cache", ignore_errors=True)] = 1
        self.chance.choices(list(steps), list(steps.values()))[0]()

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
            "has the same first and last weights": refused and not step.begins,
            "no such file": refused and not self.state[name],
            "an interrupted run": bool(others) or running.crowded or name in self.blocked,
            "another process": running.crowded,
        }
        if not any(text in ended.text and holds for text, holds in reasons.items()):
            self._wrong(f"refuses: {ended.text.strip()}")
        if name in self.blocked and "an interrupted run" in ended.text:
            self._unblock(name)
        if step.kind == "convert" and () in running.seen and "already exists" in ended.text:
            self.blocked.add(name)  # another was there first, and its finished work is kept
        if refused:
            self._forget(step)

    def _unblock(self, name: str) -> None:
        """Give up finished work for which there is no place, as the message says."""
        shutil.rmtree(self.folder / f".{name}.partial", ignore_errors=True)
        self.blocked.discard(name)

    def _forget(self, step: Operation) -> None:
        if step in self.interrupted[step.name]:
            self.interrupted[step.name].remove(step)

    def _is_free(self, name: str) -> bool:
        return not any(each.step and each.name == name for each in self.paused)

    def _remove(self, name: str) -> None:
        """Do as a user who starts afresh."""
        self._says(f"remove {name}")
        shutil.rmtree(self.folder / name)
        self._unblock(name)
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
            if self.chance.random() < 0.3 and self._is_free(name):
                self._remove(name)

    def _ask_one(self) -> None:
        self._ask(self.chance.choice(self.keepers))

    def _ask(self, running: Running) -> None:
        self._release_cache(running.mood)
        assert running.keeper
        self.count["operations"] += 1
        try:
            seen = running.keeper.ask(self.chance.randrange(2**32))
        except (TimeoutError, EOFError, OSError):
            self._wrong(f"a reader with an open bundle does not answer: {running.child.kill().text[-300:]}")
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
        for name in list(self.blocked):
            self._unblock(name)
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
                if hidden and data and name.endswith(".partial") and folder.name in current:
                    self._wrong(f"left over in the cache: {name}")
            if folder.name in current and set(files) - set(held):
                self._wrong(f"the cache lacks {sorted(set(files) - set(held))}")

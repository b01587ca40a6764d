"""Readers: they read at random and report what they saw, for the model to judge."""

from __future__ import annotations

import hashlib
import json
import random
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import trajfmt
from cli import failures

__all__ = ["Keeper", "look", "told"]


def told(work: Callable[[], object]) -> int:
    """Do something with the errors that the commands show, and return their exit code."""
    try:
        work()
    except Exception as exc:
        known = failures.message_and_code(exc)
        if known is None:
            raise
        failures.say(known[0])
        return known[1]
    return 0


def look(bundle: trajfmt.Bundle, chance: random.Random, times: int) -> dict[str, Any]:
    """Read parts of a bundle, and return which bundle it is and a hash of each part.

    A part is (trajectory, timestep, first element, one after the last, sha256).
    """
    parts = []
    for _ in range(times):
        number = chance.randrange(len(bundle))
        trajectory = bundle[number]
        whole = chance.choice(["at", "knot", "layer", "pieces"])
        t: float = chance.randint(0, trajectory.last)
        start, stop = 0, bundle.layout.size
        if whole == "knot":
            k = chance.randrange(len(trajectory.knots))
            t, found = trajectory.knots[k], trajectory.knot(k)
        else:
            if bundle.encoding == "convex":
                t += chance.choice([0, 0.5]) * (t < trajectory.last)
            if whole == "layer":
                number_of = chance.randrange(len(bundle.layout.parameters))
                start, stop = bundle.layout.offsets[number_of : number_of + 2]
            elif whole == "pieces":
                start = chance.randrange(stop)
                stop = chance.randint(start, stop)
            found = trajectory.at(t) if whole == "at" else trajectory.pieces(t, start, stop)
        parts.append([number, t, start, stop, hashlib.sha256(found.tobytes()).hexdigest()])
    return {"sha256": bundle.sha256, "count": len(bundle), "parts": parts}


def look_once(place: str, seed: int, **options: Any) -> int:
    """Open a bundle, read, print what was seen as JSON, and return the exit code."""

    def work() -> None:
        with trajfmt.open(place, **options) as bundle:
            print(json.dumps(look(bundle, random.Random(seed), 4)))

    return told(work)


class Keeper:
    """The end of a pipe to a process that opens a bundle once, and reads from it whenever it is asked."""

    def __init__(self) -> None:
        self._here, self._there = socket.socketpair()

    def serve(self, place: str, **options: Any) -> int:
        """Open the bundle, and answer every seed with a line of JSON, in the child."""
        self._here.close()
        with self._there.makefile("rw") as lines:

            def work() -> None:
                with trajfmt.open(place, **options) as bundle:
                    print(json.dumps({"sha256": bundle.sha256, "count": len(bundle)}), file=lines, flush=True)
                    seen: dict[str, Any] = {}
                    while (line := lines.readline()).strip():  # other forks may hold the pipe open for ever
                        seen.clear()
                        chance = random.Random(int(line))
                        code = told(partial(lambda chance: seen.update(look(bundle, chance, 3)), chance))
                        print(json.dumps({"code": code, **seen}), file=lines, flush=True)

            return told(work)

    def begun(self, limit: float) -> dict[str, Any] | None:
        """Return which bundle was opened; None if that failed."""
        self._there.close()
        self._here.settimeout(limit)
        self._lines = self._here.makefile("rw")
        line = self._lines.readline()
        return dict(json.loads(line)) if line else None

    def ask(self, seed: int) -> dict[str, Any]:
        """Let it read, and return what it saw: `code`, and if that is 0 what `look` returns.

        Raises:
            TimeoutError: it does not answer.
            EOFError: it has ended.
        """
        print(seed, file=self._lines, flush=True)
        line = self._lines.readline()
        if not line:
            raise EOFError
        return dict(json.loads(line))

    def end(self) -> None:
        """Let the process end."""
        print(file=self._lines, flush=True)
        self._lines.close()
        self._here.close()

"""Meters: how a command shows its progress, as a bar on a terminal and as a line now and then elsewhere."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from trajfmt import units
from trajfmt.errors import UsageError, counted, display

from . import quantities, streams, torchrun

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["Meter", "Silence", "shown"]

VARIABLE = "TRAJFMT_PROGRESS_SECONDS"
"""The environment variable with the seconds between two lines of progress without a terminal."""

_SECONDS = 30.0
"""Seconds between two lines, if the variable does not say otherwise."""

_PATIENCE = 3.0
"""Seconds after which a phase is long enough to be named in a line."""

_WINDOW = 10
"""The rate is that of as many intervals between lines."""


class Meter(Protocol):
    """Shows how far a command has come."""

    def update(
        self, done: float | None = None, *, total: float | None = None, note: str | None = None
    ) -> None:
        """Set how much is done and how much there is, and what to say beside it; None leaves it as it is."""
        ...

    def advance(self, count: float = 1, *, note: str | None = None) -> None:
        """Add to what is done."""
        ...

    def phase(self, name: str | None) -> None:
        """Name the work that is going on instead of the counted one; None: the counted one goes on."""
        ...

    def say(self, line: str) -> None:
        """Print a line that stays, on stderr."""
        ...


class Silence:
    """The meter of a process that must not show anything."""

    def update(
        self, done: float | None = None, *, total: float | None = None, note: str | None = None
    ) -> None:
        """Show nothing."""

    def advance(self, count: float = 1, *, note: str | None = None) -> None:
        """Show nothing."""

    def phase(self, name: str | None) -> None:
        """Show nothing."""

    def say(self, line: str) -> None:
        """Show nothing."""


class Bar:
    """A bar on a terminal.

    Args:
        bar: The bars of rich.
        task: Ours among them.
        title: What is being done.
    """

    def __init__(self, bar: Progress, task: TaskID, title: str) -> None:
        self._bar, self._task, self._title = bar, task, title

    def update(
        self, done: float | None = None, *, total: float | None = None, note: str | None = None
    ) -> None:
        """Update the bar."""
        more: dict[str, Any] = {} if note is None else {"note": note}
        self._bar.update(self._task, completed=done, total=total, **more)

    def advance(self, count: float = 1, *, note: str | None = None) -> None:
        """Move the bar."""
        self.update(note=note)
        self._bar.advance(self._task, count)

    def phase(self, name: str | None) -> None:
        """Show a phase after the title."""
        shown = self._title if name is None else f"{self._title}: {display(name)}"
        self._bar.update(self._task, description=shown)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)


class Lines:
    """Progress in lines: one every so many seconds, also while nothing moves.

    A line names what is being done, how much of it, the rate and the time left; or a phase, and for how long
    it has lasted. `tick` decides whether one is due. `running` calls it in a thread.

    Args:
        title: What is being done.
        noun: What is counted, in singular; `byte` for bytes.
        total: How many there are; 0 if nothing is counted, or it is not known yet.
        every: Seconds between two lines.
        clock: Returns the time in seconds.
        tell: Prints a line.
    """

    def __init__(
        self,
        title: str,
        noun: str,
        total: float,
        *,
        every: float = _SECONDS,
        clock: Callable[[], float] = time.monotonic,
        tell: Callable[[str], None] = streams.tell,
    ) -> None:
        self._title, self._noun, self._total = title, noun, total
        self._every, self._clock, self._tell = every, clock, tell
        self._done, self._note = 0.0, ""
        self._began = self._told = clock()
        self._marks = deque[tuple[float, float]]()
        self._phase: tuple[str, float] | None = None
        self._named = False
        self._lock = threading.RLock()

    def update(
        self, done: float | None = None, *, total: float | None = None, note: str | None = None
    ) -> None:
        """Remember how much is done."""
        with self._lock:
            if total is not None:
                self._total = total
            if note is not None:
                self._note = note
            if done is not None:
                self._done = done
                self._mark()

    def advance(self, count: float = 1, *, note: str | None = None) -> None:
        """Add to what is done."""
        with self._lock:
            self.update(self._done + count, note=note)

    def phase(self, name: str | None) -> None:
        """Remember the phase and when it began."""
        with self._lock:
            if name is None or self._phase is None or self._phase[0] != name:
                self._phase, self._named = None if name is None else (name, self._clock()), False

    def say(self, line: str) -> None:
        """Print a line."""
        self._tell(display(line))

    def tick(self) -> None:
        """Print a line if one is due: regularly, and once soon after a long phase has begun."""
        with self._lock:
            now = self._clock()
            lasts = self._phase is not None and now - self._phase[1] >= min(_PATIENCE, self._every)
            if now - self._told >= self._every or (lasts and not self._named):
                self._told, self._named = now, lasts
                line = self._line(now)
            else:
                line = None
        if line is not None:
            self._tell(display(line))

    def _mark(self) -> None:
        """Remember when how much was done, for the rate: at most ten times between two lines."""
        now = self._clock()
        if len(self._marks) > 1 and now - self._marks[-2][0] < self._every / 10:
            self._marks.pop()
        self._marks.append((now, self._done))
        while len(self._marks) > 2 and now - self._marks[0][0] > _WINDOW * self._every:
            self._marks.popleft()

    def _line(self, now: float) -> str:
        parts = [] if not self._noun else [self._amount()]
        if self._phase is not None:
            name, since = self._phase
            what = f"{self._title}: {name} for {quantities.duration(now - since)}"
            return ", ".join([what, *parts])
        parts += [self._note] if self._note else []
        (before, some), (after, more) = (self._marks[0], self._marks[-1]) if self._marks else ((0, 0), (0, 0))
        if after > before and more > some:
            speed = (more - some) / (after - before)
            parts.append(quantities.rate(speed, self._noun))
            if self._total > self._done:
                left = (self._total - self._done) / speed - (now - after)
                parts.append(f"{quantities.duration(max(1, left))} left")
        else:
            parts.append(f"{quantities.duration(now - self._began)} so far")
        return f"{self._title}: {', '.join(parts)}"

    def _amount(self) -> str:
        if self._noun == "byte":
            done, total = units.size(self._done), units.size(self._total)
            return f"{done} of {total}" if self._total else done
        done = f"{self._done:,.0f}"
        return f"{done} of {counted(int(self._total), self._noun)}" if self._total else f"{done} done"

    @contextmanager
    def running(self) -> Iterator[Lines]:
        """Print lines during the block."""
        ended = threading.Event()

        def run() -> None:
            while not ended.wait(min(1.0, self._every / 2)):
                self.tick()

        thread = threading.Thread(target=run, name="progress", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            ended.set()
            thread.join()


def interval() -> float:
    """Return the seconds between two lines of progress.

    Raises:
        UsageError: The environment variable is no positive number.
    """
    given = os.environ.get(VARIABLE, "").strip()
    try:
        seconds = float(given or _SECONDS)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise UsageError(f"{VARIABLE} must be a number of seconds above 0, got {given!r}")
    return seconds


@contextmanager
def shown(title: str, noun: str, total: float) -> Iterator[Meter]:
    """Show progress during the block, on stderr. Of several processes, only process 0 shows it.

    Args:
        title: What is being done.
        noun: What is counted, in singular, such as `step`; `byte` for bytes; empty if nothing is counted.
        total: How many there are; 0 if that is not known yet.
    """
    if torchrun.rank():
        yield Silence()
    elif sys.stderr.isatty():
        with _bar(title, noun, total) as bar:
            yield bar
    else:
        with Lines(title, noun, total, every=interval()).running() as lines:
            yield lines


@contextmanager
def _bar(title: str, noun: str, total: float) -> Iterator[Bar]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    name, note = (TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[note]}"))
    columns: list[ProgressColumn]
    if noun:
        amount = DownloadColumn() if noun == "byte" else MofNCompleteColumn()
        columns = [name, BarColumn(), amount, TimeRemainingColumn(), note]
    else:
        columns = [SpinnerColumn(), name, TimeElapsedColumn()]
    console = Console(stderr=True, width=streams.width())
    with Progress(*columns, console=console, transient=not noun) as bar:
        yield Bar(bar, bar.add_task(title, total=total or None, note=""), title)

"""Show the progress of long work from the events of the library, and notes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from . import failures, lines, meters, torchrun

if TYPE_CHECKING:
    from trajfmt.convert.events import Event

    from .meters import Meter

__all__ = ["conversion", "counted", "noted", "phases", "result"]

Step = TypeVar("Step")
Result = TypeVar("Result")


def conversion(event: Event, meter: Meter) -> None:
    """Show one event of a conversion, as a note, a phase or as progress."""
    if event.kind in ("placing", "found"):
        meter.phase("placing the knots" if event.kind == "placing" else None)
    if event.kind in ("notice", "skipped", "resumed", "found"):
        text = f"left out: {event.message}" if event.kind == "skipped" else event.message
        meter.say(f"note: {failures.line_of(text)}")
    elif event.kind != "placing":
        meter.update(event.done, total=event.total)


@contextmanager
def counted(what: str, total: float, noun: str) -> Iterator[Meter]:
    """Show the progress of work of mct in the block, and the phases in it.

    Args:
        what: What is being done.
        total: How many steps there are; 0 if that is not known yet.
        noun: What a step is called, in singular.
    """
    from mct.runtime.phases import listening

    with meters.shown(what, noun, total) as meter, listening(meter.phase):
        yield meter


@contextmanager
def phases(what: str) -> Iterator[Meter]:
    """Name the phases of work of mct in the block, in which nothing is counted."""
    from mct.runtime.phases import phase

    with counted(what, 0, "") as meter, phase("preparing"):
        yield meter


def noted(events: Generator[Step, None, Result], note: str | None) -> Generator[Step, None, Result]:
    """Yield events, and print a note before the first one. Of several processes, only process 0 prints it.

    If the work fails before its first event, only the error message is printed.
    """
    with contextlib.closing(events):
        try:
            first = next(events)
        except StopIteration as stop:
            found: Result = stop.value
            return found
        if note is not None and not torchrun.rank():
            lines.notice(note)
        yield first
        return (yield from events)


def result(events: Generator[Step, None, Result], show: Callable[[Step], object]) -> Result:
    """Call `show` for every event, and return the return value of the generator."""
    while True:
        try:
            event = next(events)
        except StopIteration as stop:
            found: Result = stop.value
            return found
        show(event)

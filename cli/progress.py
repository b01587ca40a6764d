"""Show the progress of long work: bars on stderr if it is a terminal, and notes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from trajfmt.errors import display

from . import lines, streams, torchrun

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from trajfmt.convert.events import Event

__all__ = ["bar", "conversion", "counted", "note", "noted", "result"]

Step = TypeVar("Step")
Result = TypeVar("Result")


@contextmanager
def bar(title: str, total: float) -> Iterator[Progress | None]:
    """Show a progress bar with one task. Without a terminal, yield None and do not import rich."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True, width=streams.width())) as shown:
        shown.add_task(title, total=total)
        yield shown


def conversion(event: Event, bar: Progress | None) -> None:
    """Show one event of a conversion, as a note or on the progress bar."""
    if event.kind in ("notice", "skipped", "resumed", "found"):
        text = f"left out: {event.message}" if event.kind == "skipped" else event.message
        note(text, bar)
    elif bar is not None:
        bar.update(bar.task_ids[0], completed=event.done, total=event.total or None)


def note(text: str, bar: Progress | None) -> None:
    """Print a note, above the progress bar if there is one."""
    if bar is not None:
        bar.console.print(f"note: {display(text)}", markup=False)
    else:
        lines.notice(text)


@contextmanager
def counted(what: str, total: int) -> Iterator[tuple[Progress, TaskID]]:
    """Show a progress bar with a count and a field `note`. Of several processes, only process 0 shows it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    console = Console(stderr=True, width=streams.width())
    with Progress(*columns, console=console, disable=bool(torchrun.rank()) or not console.is_terminal) as bar:
        yield bar, bar.add_task(what, total=total, note="")


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

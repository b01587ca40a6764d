"""The progress reports of a running conversion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Event", "EventReporter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One progress report of a conversion."""

    kind: Literal["placing", "found", "notice", "resumed", "file", "trajectory", "skipped", "done"]
    """What happened: the knots are about to be placed, the source was recognised, there is a remark,
    trajectories of an interrupted run were found, a file was begun, a trajectory was converted or skipped,
    the conversion ended."""

    message: str = ""
    file: int = 0
    """Number of the source file in progress."""

    files: int = 0
    """Number of source files."""

    done: int = 0
    """Size in bytes of the source files that are converted so far, counting trajectories in proportion."""

    total: int = 0
    """Size of all source files in bytes."""


class EventReporter:
    """A sender of events, which fills in the current progress.

    Args:
        on_event: receives the events.
        files: number of source files.
        total: size of all source files in bytes.
    """

    def __init__(self, on_event: Callable[[Event], None], files: int, total: int) -> None:
        self._on_event = on_event
        self._files = files
        self._total = total
        self.file = 0
        self.done = 0

    def __call__(self, kind: Any, message: str = "") -> None:
        """Send one event."""
        self._on_event(
            Event(
                kind=kind,
                message=message,
                file=self.file,
                files=self._files,
                done=self.done,
                total=self._total,
            )
        )

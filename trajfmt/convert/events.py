"""What happens during a conversion, and the telling of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Event", "Teller"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened during a conversion."""

    kind: Literal["found", "notice", "resumed", "file", "trajectory", "skipped", "done"]
    message: str = ""
    file: int = 0
    """Number of the source file."""

    files: int = 0
    """How many source files there are."""

    done: int = 0
    """Bytes of source files whose trajectories are converted."""

    total: int = 0
    """Bytes of all source files."""


class Teller:
    """Sends events with the state of the work filled in."""

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

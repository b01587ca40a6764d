"""Generators that yield events and return a result."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

Event = TypeVar("Event")
Result = TypeVar("Result")


def drain(events: Generator[Event, None, Result]) -> tuple[list[Event], Result]:
    """Return all events and the result of a generator."""
    seen = []
    while True:
        try:
            seen.append(next(events))
        except StopIteration as stop:
            return seen, stop.value

"""`Logger`, the protocol of what receives the series of a run, and how one is opened."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a logger is opened with."""

    folder: Path
    """Folder of the run, which exists."""

    first: int
    """First step that will be logged. A run that was killed may have logged it, and later ones, before."""

    settings: Mapping[str, object]
    """Settings of the run, for tools that show them."""


class Logger(Protocol):
    """Receives the series of a run. Any method may raise any error: the caller then does without the logger.

    Steps rise from one call to the next. A step has at most one call of each method.
    """

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values of a step by the names of their series."""
        ...

    def picture(self, step: int, name: str, png: bytes) -> None:
        """Log a picture, the content of a PNG file."""
        ...

    def close(self) -> None:
        """Write what is not written yet."""
        ...

"""The outer steps of a run, from `metrics.jsonl` in its folder. The run may still be in progress."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from mct.errors import CorruptError, MissingError

METRICS: Final = "metrics.jsonl"
"""Name of the file with the metrics in the folder of a run."""

MOST: Final = 200
"""Points of a curve that are shown at most; of more outer steps, several share a point."""


class Evaluation(msgspec.Struct, frozen=True):
    """The accuracy of fresh networks, as the metrics record it."""

    mean: float
    std: float
    networks: list[float] = []  # msgspec copies mutable defaults
    on: str | None = None


class Step(msgspec.Struct, frozen=True):
    """A line of the metrics: an outer step, or the evaluation before the first one."""

    step: int
    loss: float | None = None
    learning_rate: float | None = None
    seconds: float | None = None
    parts: dict[str, float] = {}  # msgspec copies mutable defaults
    memory_mb: float | None = None
    utilisation: float | None = None
    accuracy: Evaluation | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """A quantity over outer steps. If several steps share a point, it has their mean and range."""

    steps: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def read(folder: Path) -> list[Step]:
    """Read the metrics of a run.

    An incomplete last line is ignored, because the run may be writing it.

    Raises:
        MissingError: If the folder contains no run.
        CorruptError: If a line is invalid.
    """
    path = folder / METRICS
    if not path.is_file():
        found = f"contains no {METRICS}" if folder.is_dir() else "no such folder"
        raise MissingError(f"{folder}: {found}; give the folder of a run, which mct distill wrote with --out")
    whole, _, torn = path.read_bytes().rpartition(b"\n")
    lines = whole.split(b"\n") if whole else []
    steps = []
    for number, line in enumerate([*lines, torn] if torn else lines, start=1):
        try:
            steps.append(msgspec.json.decode(line, type=Step))
        except msgspec.DecodeError as exc:
            if number > len(lines):
                break
            raise CorruptError(f"{path}: line {number} is not a valid outer step: {exc}") from exc
    return steps


def curve(pairs: Sequence[tuple[int, float]]) -> Curve:
    """Return a quantity over outer steps, with at most `MOST` points.

    Example:
        >>> curve([(1, 2.0), (2, 4.0)])
        Curve(steps=(1.0, 2.0), mean=(2.0, 4.0), low=(2.0, 4.0), high=(2.0, 4.0))
    """
    count = min(MOST, len(pairs))
    bounds = [round(i * len(pairs) / count) for i in range(count + 1)] if count else []
    parts = [pairs[a:b] for a, b in itertools.pairwise(bounds)]
    values = [[value for _, value in part] for part in parts]
    return Curve(
        tuple(sum(step for step, _ in part) / len(part) for part in parts),
        tuple(sum(own) / len(own) for own in values),
        tuple(map(min, values)),
        tuple(map(max, values)),
    )

"""What a run measured, from the files in its folder: every outer step, and the test of its best images.

The run may still be in progress.
"""

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from mct.errors import CorruptError, MissingError

METRICS: Final = "metrics.jsonl"
"""Name of the file with the outer steps in the folder of a run."""

SETTINGS: Final = "settings.json"
"""Name of the file with the settings in the folder of a run."""

TEST: Final = "test.json"
"""Name of the file with the test of the best images in the folder of a run."""


class Evaluation(msgspec.Struct, frozen=True):
    """The accuracy of fresh networks. See `mct.events.Accuracy`."""

    mean: float
    std: float | None = None
    networks: list[float] = []  # msgspec copies mutable defaults
    on: str | None = None
    by_class: list[float | None] | None = None


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
    refused: bool = False
    """Whether the step changed nothing, because every sample was left out."""


class Tested(msgspec.Struct, frozen=True):
    """The test of the best images of a run, which were chosen on held-out images, on the test set."""

    outer_step: int
    """Number of outer steps that made the images."""

    accuracy: Evaluation
    """The accuracy on the test set."""


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


def planned(folder: Path) -> int | None:
    """Return the number of outer steps that a run is to do; None if its folder does not say so."""
    try:
        facts = msgspec.json.decode((folder / SETTINGS).read_bytes(), type=_Facts)
    except (OSError, msgspec.DecodeError):
        return None
    return facts.settings.config.outer_steps


class _Config(msgspec.Struct, frozen=True):
    outer_steps: int | None = None


class _Run(msgspec.Struct, frozen=True):
    config: _Config


class _Facts(msgspec.Struct, frozen=True):
    settings: _Run


def until(steps: int, content: bytes) -> bytes:
    """Return the lines of the first `steps` steps, without later, incomplete or damaged ones.

    Args:
        steps: Number of outer steps; 0 for no line at all, also not that of an evaluation before them.
        content: The content of the file.
    """
    kept = []
    for line in content.splitlines(keepends=True) if steps else []:
        try:
            facts: Any = json.loads(line)
            whole = line.endswith(b"\n") and facts["step"] <= steps
        except (ValueError, KeyError, TypeError):
            continue
        if whole:
            kept.append(line)
    return b"".join(kept)


def read_test(folder: Path) -> Tested | None:
    """Read the test of the best images of a run; None if they were not tested.

    Raises:
        CorruptError: If the file is invalid.
    """
    path = folder / TEST
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Tested)
    except msgspec.DecodeError as exc:
        raise CorruptError(
            f"{path}: not the test of a run: {exc}; remove it, and mct distill --resume tests them again"
        ) from exc

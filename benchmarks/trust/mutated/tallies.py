"""What came out of the trials, added up over instalments in a file."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Tally"]


@dataclass
class Tally:
    """Counts of one campaign."""

    seed: int = 0
    after: int = 0
    """The number of the next trial."""

    seconds: float = 0.0
    """How long the trials took, over all instalments; several processes at a time count once."""

    subjects: Counter[str] = field(default_factory=Counter)
    """Trials by subject and outcome, with a bar between."""

    mutators: Counter[str] = field(default_factory=Counter)
    """The same trials by mutators and outcome."""

    memory: int = 0
    """The most bytes that a process took beyond what it had at first."""

    failures: list[dict[str, Any]] = field(default_factory=list)
    """Number of the trial, what was wrong, and where its files are."""

    def add(self, other: Tally) -> None:
        """Add what came of some trials."""
        self.subjects += other.subjects
        self.mutators += other.mutators
        self.failures += other.failures
        self.memory = max(self.memory, other.memory)

    def count(self, subject: str, mutators: str, outcome: str, times: int = 1) -> None:
        """Count trials."""
        self.subjects[f"{subject}|{outcome}"] += times
        self.mutators[f"{mutators}|{outcome}"] += times

    @property
    def tried(self) -> int:
        """The number of trials."""
        return self.subjects.total()

    def by(self, column: int) -> Counter[str]:
        """Return the counts by subject (0) or outcome (1)."""
        found: Counter[str] = Counter()
        for key, count in self.subjects.items():
            found[key.split("|")[column]] += count
        return found

    def line(self) -> str:
        """Return what is printed at the end."""
        rate = self.tried / self.seconds if self.seconds else 0
        return (
            f"mutations: {self.tried}, {rate:.0f} per second, {len(self.by(1))} outcomes,"
            f" {self.memory / 2**20:.0f} MiB at most, {len(self.failures)} failures"
        )

    def write(self, path: Path) -> None:
        """Write the counts to a file, which is complete at any time."""
        new = path.with_name(path.name + ".new")
        new.write_text(json.dumps(self.__dict__, indent=1))
        os.replace(new, path)

    @classmethod
    def read(cls, path: Path) -> Tally:
        """Return the counts in a file."""
        found = json.loads(path.read_text())
        counts = {name: Counter(found[name]) for name in ("subjects", "mutators")}
        return cls(**{**found, **counts})

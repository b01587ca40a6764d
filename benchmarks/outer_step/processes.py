"""Runs jobs in fresh processes, one at a time, and watches their memory from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from outer_step.job import Job


def memory(line: str, pid: int | str = "self") -> float:
    """Return a line of a process's status in MiB, and 0 where the process has ended."""
    try:
        with open(f"/proc/{pid}/status") as status:
            return next((int(text.split()[1]) / 1024 for text in status if text.startswith(f"{line}:")), 0.0)
    except OSError:
        return 0.0


class ProcessError(Exception):
    """A process ended without a result."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Starts processes."""

    script: Path
    """Takes `--job`."""

    folder: Path
    """For compiled code, results and logs."""

    cuda: bool
    threads: int | None
    """None: as many as libraries take by themselves."""

    limit: float
    """Seconds that a process may take."""

    def run(self, name: str, job: Job) -> dict[str, Any]:
        """Return the result of a job, with the peak of its `anonymous` memory in MiB.

        Raises:
            ProcessError: It has none; the message is the last line of what it wrote.
        """
        result, log = self.folder / "result.json", self.folder / "log.txt"
        result.unlink(missing_ok=True)
        command = [sys.executable, str(self.script), "--job", replace(job, out=result).dumps()]
        began, anonymous = time.monotonic(), 0.0
        with log.open("w") as errors:
            process = subprocess.Popen(command, env=self._environment(), stderr=errors)
            try:
                while process.poll() is None:
                    anonymous = max(anonymous, memory("RssAnon", process.pid))
                    if time.monotonic() - began > self.limit:
                        raise ProcessError(f"stopped after {self.limit:.0f} s")
                    time.sleep(0.01)
            finally:
                process.kill()
                process.wait()
        if process.returncode or not result.exists():
            lines = log.read_text(errors="replace").strip().splitlines() or ["no message"]
            raise ProcessError(f"ended with {process.returncode}: {lines[-1][:200]}")
        note(f"  {name}: {time.monotonic() - began:.0f} s")
        found: dict[str, Any] = json.loads(result.read_text())
        return found | {"anonymous": anonymous}

    def _environment(self) -> dict[str, str]:
        environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(self.folder / "compiled")}
        first = environment.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        environment["CUDA_VISIBLE_DEVICES"] = first if self.cuda else ""  # MTT takes all that it sees
        if self.threads is not None:
            environment |= {f"{library}_NUM_THREADS": str(self.threads) for library in ("OMP", "MKL")}
        return environment


@dataclass(kw_only=True)
class Row:
    """A contestant, and what its processes returned."""

    name: str
    job: Job
    rounds: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    failed: str | None = None

    @property
    def seconds(self) -> list[float]:
        """Median time of a step, of every round."""
        return [median(found["seconds"]) for found in self.rounds]

    def run(self, bench: Bench, **changes: Any) -> dict[str, Any] | None:
        """Run a process; after a failure no other one."""
        if self.failed is not None:
            return None
        try:
            return bench.run(self.name, replace(self.job, **changes))
        except ProcessError as error:
            self.failed = str(error)
            note(f"  {self.name}: {self.failed}")
            return None

    def worst(self, key: str) -> float | None:
        """Return the largest value of all rounds."""
        return max((found[key] for found in self.rounds if key in found), default=None)


def note(text: str) -> None:
    """Say what is going on, apart from the table."""
    print(text, file=sys.stderr, flush=True)

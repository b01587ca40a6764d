"""Jobs of a reproduction: what each is, where its files are, and what it found.

A job is identified by a hash of its settings and of the jobs that it needs. Equal jobs of two experiments are
therefore one job, and a job whose settings have changed has another folder:

    jobs/NAME-HASH/job.json     kind, settings, and the folders of the jobs that it needs
    jobs/NAME-HASH/done.json    what it found; it appears when the job is finished
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

from mct.errors import CorruptError
from trajfmt.storage import write_file

Kind = Literal["images", "experts", "convert", "distill", "test", "random", "along"]
"""What a job does, see `mct.reproduce.work`."""

JOBS: Final = "jobs"
"""Name of the folder of all jobs."""

_SHOWN: Final = 10
"""Hexadecimal digits of the hash in the name of a folder."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One piece of work, of which nothing but its settings and the jobs that it needs decides the result.

    Example:
        >>> one = Job(name="experts", kind="experts", settings={"experts": 2})
        >>> two = Job(name="four", kind="convert", settings={"knots": [6, 25]}, needs=(one,))
        >>> [job.name for job in ordered([two, one])]
        ['experts', 'four']
    """

    name: str
    """What it is, in letters, digits, dots and hyphens."""

    kind: Kind
    """What is done."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Values that JSON can hold."""

    needs: tuple["Job", ...] = ()
    """The jobs whose files it reads."""

    @cached_property
    def sha256(self) -> str:
        """The identity: a hash of kind, settings and the identities of the jobs that it needs."""
        facts = {
            "kind": self.kind,
            "settings": self.settings,
            "needs": [job.sha256 for job in self.needs],
        }
        text = json.dumps(facts, sort_keys=True, allow_nan=False, default=list)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def label(self) -> str:
        """The name with the first digits of the hash, which is the name of the folder, too."""
        return f"{self.name}-{self.sha256[:_SHOWN]}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)


def ordered(jobs: Iterable[Job]) -> list[Job]:
    """Return jobs and all that they need, each once, after the jobs that it needs."""
    found: dict[Job, None] = {}

    def add(job: Job) -> None:
        if job not in found:
            for needed in job.needs:
                add(needed)
            found[job] = None

    for job in jobs:
        add(job)
    return list(found)


class Folders:
    """The folders of jobs below the folder of a reproduction.

    Args:
        out: The folder of the reproduction.
    """

    def __init__(self, out: Path) -> None:
        self.out = out

    def of(self, job: Job) -> Path:
        """Return the folder of a job, which may not exist yet."""
        return self.out / JOBS / job.label

    def begin(self, job: Job) -> Path:
        """Make the folder of a job, with its settings, and return it."""
        path = self.of(job)
        path.mkdir(parents=True, exist_ok=True)
        needs = [needed.label for needed in job.needs]
        facts = {"kind": job.kind, "settings": job.settings, "needs": needs, "sha256": job.sha256}
        write_file(path / "job.json", _encoded(facts))
        return path

    def finish(self, job: Job, found: Mapping[str, Any], *, seconds: float, cpu_seconds: float) -> None:
        """Record what a job found, and the time since it was last started: on the clock, and of the CPU."""
        times = {"seconds": round(seconds, 3), "cpu_seconds": round(cpu_seconds, 3)}
        facts = {"sha256": job.sha256, "found": found, **times}
        write_file(self.of(job) / "done.json", _encoded(facts))

    def found(self, job: Job) -> dict[str, Any] | None:
        """Return what a job found; None if it is not finished.

        Raises:
            CorruptError: Its file is damaged.
        """
        facts = self._done(job)
        return None if facts is None else dict(facts["found"])

    def is_done(self, job: Job) -> bool:
        """Return whether a job is finished."""
        return self._done(job) is not None

    def _done(self, job: Job) -> dict[str, Any] | None:
        path = self.of(job) / "done.json"
        if not path.is_file():
            return None
        try:
            facts: dict[str, Any] = json.loads(path.read_bytes())
            if facts["sha256"] != job.sha256:
                raise ValueError("it is that of another job")
            facts["found"]
        except (ValueError, KeyError, TypeError) as exc:
            raise CorruptError(
                f"{path}: not the result of a job: {exc}; remove it to do the job again"
            ) from exc
        return facts


def _encoded(facts: Mapping[str, Any]) -> bytes:
    return json.dumps(facts, indent=2, sort_keys=True, allow_nan=False, default=list).encode() + b"\n"

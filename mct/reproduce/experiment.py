"""What an experiment of the paper is: its jobs, and the tables and figures that are made of them."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mct.plots.along import Along
from mct.plots.curves import Curve
from mct.reproduce.job import Folders, Job
from mct.reproduce.scale import Scale
from mct.reproduce.table import Table
from trajfmt.plots import Plot


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The size of an experiment, and where its jobs are."""

    scale: Scale
    """The sizes of everything."""

    seeds: int
    """Number of seeds."""

    folders: Folders
    """The folders of the jobs."""

    def found(self, job: Job) -> dict[str, Any] | None:
        """Return what a job found; None if it is not finished."""
        return self.folders.found(job)

    def tests(self, jobs: Sequence[Job], *, images: str = "best") -> dict[str, Any]:
        """Return the accuracies of the tests of one cell, one job for each seed, as fields of `Cell`.

        Args:
            jobs: The tests, in the order of seeds.
            images: Those that are tested: `best` or `final`.
        """
        found = {seed: self.found(job) for seed, job in enumerate(jobs)}
        return {
            "tests": {
                seed: [100 * accuracy for accuracy in facts[images]]
                for seed, facts in found.items()
                if facts is not None
            },
            "settings": jobs[0].label,
        }

    def curve(self, name: str, runs: Sequence[Job]) -> Curve | None:
        """Return the mean of the accuracies of finished distillations over outer steps; None if none is."""
        done = [found for found in map(self.found, runs) if found is not None]
        if not done:
            return None
        points = list(zip(*(found["accuracies"] for found in done), strict=True))
        return Curve(
            name=name,
            steps=tuple(done[0]["steps"]),
            mean=tuple(statistics.fmean(values) for values in points),
            std=tuple(statistics.stdev(values) if len(values) > 1 else None for values in points),
            on=done[0]["on"],
        )

    def along(self, job: Job) -> Along | None:
        """Return the tests along a trajectory; None if they are not finished."""
        found = self.found(job)
        return None if found is None else msgspec.convert(found, Along)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The tables and figures of an experiment, from the jobs that are finished."""

    tables: tuple[Table, ...] = ()
    """The tables."""

    figures: dict[str, Plot] = field(default_factory=dict)
    """Name of the file without suffix → the figure. Those without any finished job are absent."""

    notes: tuple[str, ...] = ()
    """What is read off the figures, and what is absent from them, as sentences."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A table or a figure of the paper."""

    name: str
    """Such as `table2` or `fig3`."""

    title: str
    """What it shows."""

    jobs: Callable[[Scale, int], list[Job]]
    """From a scale and a number of seeds to the jobs whose results are shown."""

    outcome: Callable[[Setting], Outcome]
    """What the finished jobs show."""

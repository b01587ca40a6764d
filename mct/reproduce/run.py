"""A reproduction: the jobs of experiments at a scale, and the tables and figures that are made of them.

OUT/plan.json                  scale, experiments and jobs of the last call
OUT/jobs/                      a folder for each job, see `mct.reproduce.job`
OUT/table1.txt, .json, .csv    a table, and so on for tables 2 and 3
OUT/fig1a.png, .svg, .csv      a figure, and so on
OUT/fig1.txt                   what the figure shows in numbers
"""

import contextlib
import fnmatch
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trajfmt
from mct.errors import ConfigError, CorruptError, ExistsError, MissingError
from mct.reproduce import arms, pool, table1, table2, table3
from mct.reproduce.experiment import Experiment, Setting
from mct.reproduce.figures import FIGURES
from mct.reproduce.job import Folders, Job, ordered
from mct.reproduce.place import Place
from mct.reproduce.scale import Scale
from mct.reproduce.scales import scale as scale_of
from mct.reproduce.table import Table
from trajfmt.plots import render
from trajfmt.storage import BusyError, Lock, write_file

EXPERIMENTS: Final = {
    experiment.name: experiment
    for experiment in (table1.EXPERIMENT, table2.EXPERIMENT, table3.EXPERIMENT, *FIGURES)
}
"""The tables and figures of the paper by name."""

PLAN: Final = "plan.json"
"""Name of the file that marks the folder of a reproduction."""

_FORMATS: Final = ("png", "svg", "csv")

_TABLES_EVERY: Final = 10.0
"""Seconds after which tables are written again while jobs are done."""


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """Some experiments of the paper at a scale. Create it with `prepare`."""

    experiments: tuple[Experiment, ...]
    """What is reproduced."""

    setting: Setting
    """Scale, seeds and folders."""

    place: Place
    """Where jobs are done."""

    jobs: tuple[Job, ...]
    """The jobs to do, each after those that it needs."""

    @classmethod
    def prepare(
        cls,
        names: Sequence[str],
        out: Path,
        *,
        scale: str | Scale = "tiny",
        seeds: int | None = None,
        only: str | None = None,
        device: str = "cpu",
        data: Path | None = None,
    ) -> "Reproduction":
        """Make the plan; nothing is written.

        Args:
            names: Names in `EXPERIMENTS`, or `all`.
            out: The folder of the reproduction.
            scale: Name in `mct.reproduce.scales.SCALES`, or a scale of your own.
            seeds: Number of seeds; None for that of the scale.
            only: Pattern of names, such as `*-mct-*`: do only the jobs with such names, and those that
                they need.
            device: Where to compute.
            data: Folder of the files of data sets; None for the default.

        Raises:
            ConfigError: A name is unknown, or no job has a name of the pattern.
            ExistsError: The folder holds something else.
        """
        chosen = scale if isinstance(scale, Scale) else scale_of(scale)
        experiments = tuple(_known(names))
        count = chosen.seeds if seeds is None else seeds
        if count < 1:
            raise ConfigError(f"`seeds` must be >= 1, got {count}")
        _check_free(out, chosen)
        wanted = ordered(job for each in experiments for job in each.jobs(chosen, count))
        folders = Folders(out)
        return cls(
            experiments=experiments,
            setting=Setting(scale=chosen, seeds=count, folders=folders),
            place=Place(folders=folders, device=device, data=data),
            jobs=tuple(wanted if only is None else _matching(wanted, only)),
        )

    @property
    def out(self) -> Path:
        """The folder of the reproduction."""
        return self.setting.folders.out

    def remarks(self) -> list[str]:
        """Return what the scale changes, and which settings are guesses, as sentences."""
        scale, names = self.setting.scale, [each.name for each in self.experiments]
        found = [line for name in names for line in scale.remarks(name)]
        return [*dict.fromkeys(found), *arms.guesses(scale)]

    def unfinished(self) -> list[Job]:
        """Return the jobs that are still to do."""
        return [job for job in self.jobs if not self.setting.folders.is_done(job)]

    def run(
        self, *, at_once: int = 1, tell: pool.Tell = lambda _job, _state, _share: None
    ) -> tuple[list[Path], pool.Failures]:
        """Do the jobs that are not finished, and write all tables and figures.

        Tables are also written in between, and when this is interrupted. Another call continues.

        Args:
            at_once: Number of jobs at a time.
            tell: Called when a job begins, moves on and ends.

        Returns:
            The files of tables and figures, and what could not be done.

        Raises:
            ExistsError: Another process works in the folder.
        """
        written = time.monotonic()

        def listen(job: Job, state: pool.State, share: float) -> None:
            nonlocal written
            tell(job, state, share)
            if state == "done" and time.monotonic() - written > _TABLES_EVERY:
                self.write_tables()
                written = time.monotonic()

        with self._locked():
            write_file(self.out / PLAN, self._plan())
            try:
                failed = pool.run(self.unfinished(), self.place, at_once=at_once, tell=listen)
            finally:
                self.write_tables()
            return self.write_report(), failed

    def tables(self) -> list[Table]:
        """Return the tables, from the jobs that are finished."""
        return [table for each in self.experiments for table in each.outcome(self.setting).tables]

    def write_tables(self) -> list[Path]:
        """Write the tables, and return their files."""
        files = {}
        for table in self.tables():
            files[self.out / f"{table.name}.txt"] = table.text().encode()
            files[self.out / f"{table.name}.json"] = table.json()
            files[self.out / f"{table.name}.csv"] = table.csv()
        return _written(files)

    def write_figures(self) -> list[Path]:
        """Write the figures whose jobs are finished, and return their files."""
        files = {}
        for each in self.experiments:
            found = each.outcome(self.setting)
            for name, plot in found.figures.items():
                for kind in _FORMATS:
                    files[self.out / f"{name}.{kind}"] = render(plot, kind)
            if found.notes:
                lines = [*found.notes, " ".join(self.setting.scale.remarks(each.name))]
                files[self.out / f"{each.name}.txt"] = ("\n".join(lines) + "\n").encode()
        return _written(files)

    def write_report(self) -> list[Path]:
        """Write all tables and figures of what is finished, and return their files.

        Raises:
            MissingError: There is no such folder.
        """
        if not self.out.is_dir():
            raise MissingError(f"{self.out}: there is no reproduction; start one without --report")
        return [*self.write_tables(), *self.write_figures()]

    def _plan(self) -> bytes:
        facts = {
            "reproduction": "mct",
            "version": trajfmt.__version__,
            "scale": self.setting.scale.name,
            "experiments": [each.name for each in self.experiments],
            "seeds": self.setting.seeds,
            "jobs": [
                {
                    "folder": job.label,
                    "kind": job.kind,
                    "settings": job.settings,
                    "needs": [needed.label for needed in job.needs],
                    "sha256": job.sha256,
                }
                for job in self.jobs
            ],
        }
        return json.dumps(facts, indent=2, default=list).encode() + b"\n"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.out.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.out, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            lock = Lock(folder, self.out / ".lock", self.out)
        except BusyError as exc:
            raise ExistsError(
                f"{self.out}: another reproduction works here; wait for its end, or use another --out"
            ) from exc
        try:
            yield
        finally:
            lock.release()


def _known(names: Sequence[str]) -> Iterator[Experiment]:
    """Yield experiments by their names, each once.

    Raises:
        ConfigError: A name is unknown, or there is none.
    """
    wanted = list(EXPERIMENTS) if "all" in names else list(dict.fromkeys(names))
    if not wanted:
        raise ConfigError(f"name what to reproduce: all, {', '.join(EXPERIMENTS)}")
    for name in wanted:
        if name not in EXPERIMENTS:
            raise ConfigError(f"unknown experiment {name!r}; known: all, {', '.join(EXPERIMENTS)}")
        yield EXPERIMENTS[name]


def _matching(jobs: Sequence[Job], pattern: str) -> list[Job]:
    """Return the jobs with names of a pattern, and those that they need.

    Raises:
        ConfigError: There is none.
    """
    found = [job for job in jobs if fnmatch.fnmatchcase(job.name, pattern)]
    if not found:
        some = ", ".join(job.name for job in jobs[-3:])
        raise ConfigError(f"`only` {pattern!r} matches none of {len(jobs)} jobs; names are like {some}")
    return ordered(found)


def _check_free(out: Path, scale: Scale) -> None:
    """Refuse a folder with something else.

    Raises:
        ExistsError: It holds other files, or a reproduction at another scale.
        CorruptError: Its plan is damaged.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise ExistsError(f"{out} is not a folder; use another --out")
    plan = out / PLAN
    if not plan.is_file():
        if any(not entry.name.startswith(".") for entry in out.iterdir()):
            raise ExistsError(f"{out} is not empty and holds no reproduction; use another --out")
        return
    try:
        facts = json.loads(plan.read_bytes())
        if facts["reproduction"] != "mct":
            raise ValueError("it is another program's")
        then = facts["scale"]
    except (ValueError, KeyError, TypeError) as exc:
        raise CorruptError(f"{plan}: not the plan of a reproduction: {exc}; use another --out") from exc
    if then != scale.name:
        raise ExistsError(
            f"{out} holds a reproduction at scale {then}, and not {scale.name}; use another --out"
        )


def _written(files: dict[Path, bytes]) -> list[Path]:
    for path, content in files.items():
        write_file(path, content)
    return list(files)

"""`mct experts --slurm`: submit the experts that are missing as an array of jobs, through submitit."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from . import lines, options

if TYPE_CHECKING:
    from mct.experts.run import ExpertRun

__all__ = ["Job", "submit"]

_THEIRS = (signal.SIGUSR1, signal.SIGUSR2)


@dataclass
class Job:
    """The command of a job. submitit calls it on the node, and `checkpoint` before the node is taken away."""

    words: list[str]

    def __call__(self) -> None:
        """Run the command, and require success. It must not get the signal that Slurm sends to submitit."""
        self._process = os.posix_spawn(self.words[0], self.words, os.environ, setsigmask=_THEIRS)
        code = os.waitstatus_to_exitcode(os.waitpid(self._process, 0)[1])
        if code:
            raise RuntimeError(f"exit code {code} of {shlex.join(self.words)}")

    def checkpoint(self) -> Any:
        """Have the command save its state, and return the job that continues it."""
        from submitit.helpers import DelayedSubmission

        os.kill(self._process, signal.SIGTERM)
        os.waitpid(self._process, 0)
        return DelayedSubmission(Job(self.words))


def submit(run: ExpertRun, ctx: click.Context, settings: Mapping[str, str]) -> None:
    """Submit the experts that have no finished part. Print the jobs, and what to do next."""
    from trajfmt.errors import MissingDependencyError, UsageError

    try:
        import submitit
    except ImportError as exc:
        raise MissingDependencyError("--slurm needs submitit: pip install 'trajfmt[slurm]'") from exc
    missing, logs, given = run.missing(), run.parts / "slurm", dict(settings)
    cluster, minutes = given.pop("cluster", "slurm"), given.pop("time", "60")
    if not minutes.isdecimal():
        raise UsageError(f"--slurm: expected minutes such as time=120, got time={minutes}")
    words = [sys.executable, "-m", "traj_cli.mct", *options.words(ctx, but=("only", "slurm"))]
    starts = range(0, len(missing), run.at_once)
    experts = [",".join(map(str, missing[start : start + run.at_once])) for start in starts]
    try:
        executor = submitit.AutoExecutor(folder=logs, cluster=cluster, slurm_max_num_timeout=1000)
        executor.update_parameters(timeout_min=int(minutes), slurm_additional_parameters=given)
        with executor.batch() if experts else contextlib.nullcontext():
            jobs = [executor.submit(Job([*words, "--only", only])) for only in experts]
    except (RuntimeError, ValueError) as exc:
        raise UsageError(f"--slurm: the jobs could not be submitted: {exc}") from exc
    for job, only in zip(jobs, experts, strict=True):
        lines.say(f"{job.job_id}: experts {only}")
    what = f"{len(jobs)} jobs submitted, with logs in {logs}" if jobs else "no expert is missing"
    lines.remark(f"{what}; when all have ended, the same command without --slurm collects the experts")

"""The command `mct reproduce`: the tables and figures of the MCT paper."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import commands, failures, lines, options, process, progress, values

if TYPE_CHECKING:
    from mct.reproduce import Reproduction
    from mct.reproduce.job import Job
    from mct.reproduce.pool import Failures

__all__ = ["reproduce"]

_NAMES = ("all", "table1", "table2", "table3", "fig1", "fig2", "fig3", "fig4", "fig5")
_SCALES = ("tiny", "small", "gpu10", "paper")


@click.command(cls=commands.Command)
@click.argument("names", type=click.Choice(_NAMES), nargs=-1, required=True, metavar="NAME…")
@click.option(
    "--scale",
    type=click.Choice(_SCALES),
    default="tiny",
    show_default=True,
    help="tiny: digits, minutes; small: 10,000 images of CIFAR-10, hours on a CPU; gpu10: CIFAR-10 with 10 "
    "experts; paper: everything as published.",
)
@click.option(
    "--out",
    type=values.PATH,
    required=True,
    help="Folder of the jobs, tables and figures; an existing one is continued.",
)
@options.data
@click.option("--seeds", type=int, help="Number of seeds.  [default: that of the scale]")
@click.option(
    "--only",
    metavar="PATTERN",
    help="Do only the jobs whose names match, such as '*-mct-*', and those that they need.",
)
@click.option(
    "--jobs",
    "at_once",
    type=click.IntRange(min=1),
    help="Jobs at a time.  [default: the number of cores, or 1 on a GPU]",
)
@click.option(
    "--dry-run", is_flag=True, help="Print the jobs and an estimate of their time, and do nothing else."
)
@click.option(
    "--report", is_flag=True, help="Write tables and figures of what is finished, and do nothing else."
)
@options.device
def reproduce(
    names: tuple[str, ...],
    out: Path,
    at_once: int | None,
    dry_run: bool,
    report: bool,
    device: str,
    **settings: Any,
) -> None:
    """Reproduce tables and figures of the MCT paper.

    NAME is all, table1, table2, table3 or fig1 to fig5. The jobs behind them (experts, conversions,
    distillations, tests) are done once and shared. Run the command again to continue after an interruption.
    Numbers are shown beside the published ones (docs/reproducing.md).
    """
    from mct.reproduce import Reproduction
    from mct.runtime.devices import device_of
    from trajfmt.errors import counted
    from trajfmt.storage.threads import cores

    if dry_run and report:
        raise click.UsageError("--dry-run writes nothing, and --report writes tables; give one of them")
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # processes are forked after this check
    process.settle()
    plan = Reproduction.prepare(names, out, device=device, **settings)
    if dry_run:
        _estimate(plan)
        return
    if report:
        _show(plan, plan.write_report())
        return
    here = device_of(device)
    count = at_once or (cores() if here.type == "cpu" else 1)
    files, failed = _run(plan, count)
    _show(plan, files)
    if failed:
        for name, reason in failed.reasons.items():
            failures.say(f"{name}: {reason}")
        if failed.left_out:
            lines.notice(f"{counted(len(failed.left_out), 'job')} left out, which need a job that failed")
        raise SystemExit(1)


def _run(plan: Reproduction, at_once: int) -> tuple[list[Path], Failures]:
    """Do the jobs, and show progress; Ctrl-C says how to continue."""
    todo = plan.unfinished()
    shares: dict[Job, float] = {}
    if len(todo) < len(plan.jobs):
        lines.remark(f"{len(plan.jobs) - len(todo)} of {len(plan.jobs)} jobs are finished")
    try:
        with progress.counted("reproduce", len(todo), "job") as meter:

            def tell(job: Job, state: str, share: float) -> None:
                shares[job] = 1.0 if state in ("done", "failed") else share
                note = job.name if state == "running" else None
                meter.update(sum(shares.values()), note=note)
                if state == "failed":
                    meter.say(f"{job.label} failed")

            return plan.run(at_once=at_once, tell=tell)
    except KeyboardInterrupt as exc:
        kept = f"{plan.out} holds what is done; the same command continues"
        raise KeyboardInterrupt(f"{str(exc) or 'interrupted'}; {kept}") from None


def _show(plan: Reproduction, files: list[Path]) -> None:
    """Print the tables, and the paths of all files."""
    for table in plan.tables():
        for line in [*table.text().splitlines(), ""]:
            lines.say(line)
    for path in files:
        lines.done(path)


def _estimate(plan: Reproduction) -> None:
    """Print the jobs, hours and bytes, and what is guessed."""
    from mct.reproduce import cost
    from mct.reproduce.work import settle_threads
    from trajfmt import units
    from trajfmt.errors import counted

    from . import quantities, tables

    todo = plan.unfinished()
    settle_threads(plan.place.device)
    with progress.phases("timing"):
        found = cost.estimate(todo, device=plan.place.device)
    table = tables.listing()
    for heading in ("jobs", "", "time, one at a time", "on disk"):
        table.add_column(heading, no_wrap=True)
    for each in found:
        unknown = f" and {counted(each.unknown, 'job')} of unknown time" if each.unknown else ""
        took = quantities.duration(each.seconds) + unknown
        table.add_row(each.kind, str(each.jobs), took, units.size(each.bytes))
    total, size = sum(each.seconds for each in found), sum(each.bytes for each in found)
    table.add_row("all", str(len(todo)), quantities.duration(total), units.size(size))
    done = len(plan.jobs) - len(todo)
    rest = f" ({counted(done, 'job')} of this plan are finished)" if done else ""
    tables.show(
        table,
        f"\nFrom five timed steps of each shape with plain autograd on {plan.place.device}{rest}.",
        *(f"* {line}" for line in plan.remarks()),
    )

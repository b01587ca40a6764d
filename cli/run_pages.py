"""The command `mct report`: a page about distillation runs, or its numbers as JSON."""

from __future__ import annotations

from pathlib import Path

import click

from . import commands, pages, values

__all__ = ["report"]


@click.command(cls=commands.Command)
@click.argument("runs", type=values.INPUT, nargs=-1, required=True, metavar="RUN…")
@pages.output
def report(runs: tuple[Path, ...], output: tuple[Path, ...], force: bool) -> None:
    """Write a report about distillation runs: a page, or its numbers as JSON.

    RUN is the folder of a distillation. The page shows the images, loss and accuracy, settings and times, and
    compares several runs. It is one file that loads nothing and has no script.
    """
    pages.check(output, force=force)
    from mct.reports.page import render
    from mct.reports.pictures import BUDGET
    from mct.reports.run import describe, to_json

    found = [describe(run, budget=BUDGET // len(runs)) for run in runs]
    pages.write(output, page=lambda: render(found), numbers=lambda: to_json(found))

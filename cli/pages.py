"""The command `traj report`, and the files of reports for it and for `mct report`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import commands, options, outputs, values

if TYPE_CHECKING:
    from trajfmt.storage.address import Place

__all__ = ["check", "output", "report", "write"]


def output(command: Any) -> Any:
    """Add the options for the files of a report. `check` and `write` take their values."""
    for option in (
        options.force,
        outputs.option(".html for the page, .json for its numbers"),
    ):
        command = option(command)
    return command


def check(paths: Sequence[Path], *, force: bool) -> None:
    """Refuse files that cannot be written, before any work is done."""
    outputs.check(paths, ("html", "json"), ".html for the page, or in .json for its numbers", force=force)


def write(paths: Sequence[Path], *, page: Callable[[], bytes], numbers: Callable[[], bytes]) -> None:
    """Write a report to every file, and print where it is."""
    outputs.write(paths, lambda suffix: numbers() if suffix == "json" else page())


@click.command(cls=commands.Command)
@click.argument("bundles", type=values.PLACE, nargs=-1, required=True, metavar="BUNDLE…")
@click.option(
    "--trajectory",
    type=click.IntRange(min=0),
    help="Number of the trajectory whose path is shown.  [default: the first of the most common kind]",
)
@click.option("--verify", is_flag=True, help="Compare every file with its hash first.")
@output
def report(
    bundles: tuple[Place, ...], trajectory: int | None, verify: bool, output: tuple[Path, ...], force: bool
) -> None:
    """Write a report about bundles: a page, or its numbers as JSON.

    The page shows the path of a trajectory, betas, storage, integrity and provenance, and compares several
    bundles. It is one file that loads nothing and has no script.
    """
    check(output, force=force)
    from trajfmt.reports.bundle import describe, to_json
    from trajfmt.reports.page import render

    found = [describe(place, trajectory=trajectory, verify=verify) for place in bundles]
    write(output, page=lambda: render(found), numbers=lambda: to_json(found))

"""The options and the files of figures, for `traj plot` and `mct plot`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options, outputs, values

if TYPE_CHECKING:
    from trajfmt.plots import Page, Plot

__all__ = ["Files", "prepare", "settings"]


def settings(command: Any) -> Any:
    """Add the options for the files of a figure. `prepare` takes their values."""
    for option in (
        options.force,
        click.option("--title", help="Title, or '' for none.  [default: what the figure shows]"),
        click.option("--dpi", type=int, help="Dots per inch of a .png.  [default: 300]"),
        click.option(
            "--size",
            type=values.NUMBERS,
            metavar="W,H",
            help="Width and height in inches, such as 3.5,2.6.  [default: what suits the figure]",
        ),
        outputs.option(".png, .svg or .pdf for the figure, .csv for its numbers"),
    ):
        command = option(command)
    return command


class Files:
    """The files to write, all of which can be written as far as is known."""

    def __init__(self, paths: tuple[Path, ...], page: Page) -> None:
        self._paths = paths
        self._page = page

    def write(self, plot: Plot) -> None:
        """Encode a figure in every format, then write the files, and print where they are."""
        from trajfmt.plots import render

        outputs.write(self._paths, lambda suffix: render(plot, suffix, self._page))  # type: ignore[arg-type]


def prepare(
    *,
    output: tuple[Path, ...],
    size: tuple[float, ...] | None,
    dpi: int | None,
    title: str | None,
    force: bool,
) -> Files:
    """Check the files of a figure before any work is done: names, options, and whether it can be drawn."""
    from trajfmt.plots import FORMATS, Page, require

    outputs.check(
        output, FORMATS, ".png, .svg or .pdf for the figure, or in .csv for its numbers", force=force
    )
    suffixes = {outputs.suffix(path) for path in output}
    if dpi is not None and "png" not in suffixes:
        raise click.UsageError("--dpi is for .png files; .svg and .pdf have no resolution")
    if suffixes == {"csv"} and (size is not None or title is not None):
        raise click.UsageError("--size and --title are for figures, and only numbers are written")
    page = Page(size=size, title=title) if dpi is None else Page(size=size, dpi=dpi, title=title)
    if suffixes != {"csv"}:
        require()
    return Files(output, page)

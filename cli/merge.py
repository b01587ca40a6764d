"""The command `traj merge`: merge several bundles into one, without encoding anything again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import commands, options, values

if TYPE_CHECKING:
    from trajfmt.merge import Merged
    from trajfmt.storage.address import Place

__all__ = ["merge"]


@click.command(cls=commands.Command)
@click.argument("bundles", type=values.PLACE, nargs=-1, required=True, metavar="BUNDLE…")
@click.argument("destination", type=values.PATH, metavar="DEST")
@click.option(
    "--common",
    is_flag=True,
    help="Record only what all bundles say of their experts, instead of refusing bundles that differ in it, "
    "such as in the seed.",
)
@click.option(
    "--skip-duplicates",
    is_flag=True,
    help="Leave out trajectories that another bundle has too, instead of refusing them.",
)
@click.option("--copy", is_flag=True, help="Copy files also where they can be linked.")
@options.as_json
def merge(
    bundles: tuple[Place, ...],
    destination: Path,
    common: bool,
    skip_duplicates: bool,
    copy: bool,
    as_json: bool,
) -> None:
    """Merge bundles of one network into the new bundle DEST.

    Files are compared with their hashes and then linked, or copied to another file system; nothing is encoded
    again. The order of the trajectories follows from the contents, not from the order of the arguments: that
    of the numbers of experts, or else of the names of the source files.

    After an interruption, the same command continues.
    """
    from trajfmt.merge import merge as run

    from . import failures, lines, meters

    try:
        with meters.shown("merging", "byte", 0) as meter:
            found = run(
                bundles,
                destination,
                common=common,
                skip_duplicates=skip_duplicates,
                copy=copy,
                on_note=lambda text: meter.say(f"note: {failures.line_of(text)}"),
                on_progress=lambda done, total: meter.update(done, total=total),
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; run the same command again to continue") from None
    if as_json:
        lines.record({"destination": str(destination), **found._asdict()})
    else:
        lines.done(destination, _summary(found, len(bundles)))


def _summary(found: Merged, bundles: int) -> str:
    from trajfmt import units
    from trajfmt.errors import counted

    taken = {"linked": found.linked, "copied": found.copied}
    sizes = [f"{units.size(count)} {how}" for how, count in taken.items() if count]
    whole = f"{counted(found.trajectories, 'trajectory')} of {counted(bundles, 'bundle')}"
    return ", ".join([whole, *sizes])

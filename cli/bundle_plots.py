"""The command group `traj plot`: figures of bundles, drawn without torch."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import click

from . import commands, figures, values

if TYPE_CHECKING:
    from trajfmt.storage.address import Place

__all__ = ["plot"]

_trajectory = click.option(
    "--trajectory",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Number of the trajectory.",
)


@click.group(cls=commands.Group)
def plot() -> None:
    """Draw figures of bundles, and write their numbers as CSV."""


@plot.command()
@click.argument("bundles", type=values.PLACE, nargs=-1, required=True, metavar="BUNDLE…")
@_trajectory
@figures.settings
def path(bundles: tuple[Place, ...], trajectory: int, **figure: Any) -> None:
    """Draw the path of a trajectory on the plane of its principal components (figure 2, left).

    The path is computed from the Gram matrix, which traj convert --gram stores in a .mct, or from the weights
    of a .mtt. Rings mark the knots. Several bundles of the same expert share one plane; different experts
    have none in common.
    """
    import trajfmt
    from trajfmt.plots.plane import plane

    files = figures.prepare(**figure)
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(trajfmt.open(bundle)) for bundle in bundles]
        files.write(plane(opened, trajectory))


@plot.command()
@click.argument("bundle", type=values.PLACE)
@_trajectory
@figures.settings
def betas(bundle: Place, trajectory: int, **figure: Any) -> None:
    """Draw the betas of every layer over the timesteps.

    For a .mtt, these are the betas that a conversion with two knots would store.
    """
    import trajfmt
    from trajfmt.plots import betas as curves

    files = figures.prepare(**figure)
    with trajfmt.open(bundle) as opened:
        files.write(curves.betas(opened, trajectory))


@plot.command()
@click.argument("bundles", type=values.PLACE, nargs=-1, required=True, metavar="BUNDLE…")
@figures.settings
def storage(bundles: tuple[Place, ...], **figure: Any) -> None:
    """Draw the size of bundles beside that of the weights at every timestep (figure 3c)."""
    from trajfmt.plots import storage as sizes

    files = figures.prepare(**figure)
    files.write(sizes.storage(bundles))

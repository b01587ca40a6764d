"""The command group `mct plot`: plots of runs and trajectories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import commands, failures, options, values

if TYPE_CHECKING:
    from trajfmt.storage.address import Place

__all__ = ["plot"]

_output = click.option("-o", "--output", type=values.PATH, required=True, help="The .png file to write.")


@click.group(cls=commands.Group)
def plot() -> None:
    """Plot distillation runs and trajectories."""


@plot.command()
@click.argument("runs", type=values.INPUT, nargs=-1, required=True, metavar="RUN…")
@_output
@options.force
def curve(runs: tuple[Path, ...], output: Path, force: bool) -> None:
    """Plot the accuracy of runs over their outer steps (figures 1b and 3).

    RUN is the folder of a distillation with --eval-every. The step at which each run converged is marked.
    """
    from mct.plots import curves

    from . import accuracies

    _check(output, force=force)
    found = curves.curves(list(runs))
    _write(output, curves.draw(found))
    accuracies.convergence(found)


@plot.command()
@click.argument("bundle", type=values.PLACE)
@click.option(
    "--original", type=values.PLACE, help="The .mtt of the same experts, to plot its waypoints as well."
)
@click.option(
    "--trajectory",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Number of the trajectory.",
)
@click.option(
    "--points", type=int, default=101, show_default=True, help="Number of timesteps at which to test."
)
@click.option("--images", type=int, help="Number of test images to use.  [default: all]")
@click.option("--landscape", is_flag=True, help="Plot on the plane of the principal components (figure 1a).")
@click.option(
    "--dataset",
    type=values.DATASET,
    help="Real data set, if the bundle names none, or the path of its file.",
)
@options.data
@click.option("--model", help="Network, if the bundle does not name it.")
@options.preprocessing
@click.option("--device", default="cpu", show_default=True, help="Torch device, such as cpu or cuda.")
@_output
@options.force
def along(
    bundle: Place,
    original: Place | None,
    trajectory: int,
    points: int,
    images: int | None,
    landscape: bool,
    dataset: str | None,
    data: Path | None,
    model: str | None,
    preprocessing: str | None,
    device: str,
    output: Path,
    force: bool,
) -> None:
    """Plot the test accuracy along a trajectory (figures 1a and 2).

    The networks that are tested lie at real timesteps, so also between the timesteps of the trajectory.
    """
    import contextlib

    import trajfmt
    from mct.plots import along as ways
    from mct.runtime.devices import device_of
    from mct.trajectories import provenance

    from . import accuracies

    _check(output, force=force)
    here = device_of(device)
    with contextlib.ExitStack() as stack:
        opened = stack.enter_context(trajfmt.open(bundle))
        full = stack.enter_context(trajfmt.open(original)) if original else None
        record = opened.manifest.provenance
        real = provenance.dataset_of(record, name=dataset, preprocessing=preprocessing, root=data)
        events = ways.along(
            opened,
            real.to(here),
            provenance.model_of(record, real, name=model),
            points=points,
            trajectory=trajectory,
            original=full,
            images=images,
            project=landscape,
        )
        found = accuracies.along(events)
        _write(output, ways.landscape(found) if landscape else ways.draw(found))


def _check(path: Path, *, force: bool) -> None:
    """Refuse a destination that cannot be written, before any work is done."""
    if path.suffix != ".png":
        failures.fail(f"{path}: the output is a PNG file; end its name in .png", 2)
    options.check_output(path, force=force)


def _write(path: Path, picture: bytes) -> None:
    """Write a PNG and print where it is."""
    from trajfmt.storage import write_file

    from . import lines

    write_file(path, picture)
    lines.done(path)

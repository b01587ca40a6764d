"""The command group `mct plot`: figures of runs, distilled images and trajectories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import commands, figures, options, outputs, values

if TYPE_CHECKING:
    from trajfmt.storage.address import Place

__all__ = ["plot"]


@click.group(cls=commands.Group)
def plot() -> None:
    """Draw figures of runs and trajectories, and write their numbers as CSV."""


_runs = click.argument("runs", type=values.INPUT, nargs=-1, required=True, metavar="RUN…")


@plot.command()
@_runs
@figures.settings
def curve(runs: tuple[Path, ...], **figure: Any) -> None:
    """Draw the accuracy of runs over their outer steps (figures 3a, 3b and 4).

    RUN is the folder of a distillation with --eval-every. The step at which each run converged is marked.
    """
    from mct.plots import curves

    from . import accuracies

    files = figures.prepare(**figure)
    found = curves.curves(list(runs))
    files.write(curves.Curves(found))
    accuracies.convergence(found)


@plot.command()
@_runs
@figures.settings
def convergence(runs: tuple[Path, ...], **figure: Any) -> None:
    """Draw the number of outer steps until each run converged (figure 1b).

    RUN is the folder of a distillation with --eval-every.
    """
    from mct.plots import curves

    from . import accuracies

    files = figures.prepare(**figure)
    found = curves.curves(list(runs))
    files.write(curves.Convergence(found))
    accuracies.convergence(found)


@plot.command()
@_runs
@figures.settings
def classes(runs: tuple[Path, ...], **figure: Any) -> None:
    """Draw the accuracy of every class, of the best images of each run.

    RUN is the folder of a distillation with --eval-every. Images that were chosen on held-out ones are shown
    with their test on the test set.
    """
    from mct.plots import classes as shares

    files = figures.prepare(**figure)
    files.write(shares.classes(list(runs)))


@plot.command()
@click.argument("result", type=values.INPUT, metavar="RUN")
@click.option("--per-class", type=int, help="Show only the first images of each class.  [default: all]")
@figures.settings
def images(result: Path, per_class: int | None, **figure: Any) -> None:
    """Draw distilled images with the names of their classes (figure 5).

    RUN is the folder of a distillation, whose best images are drawn if it has any and the last ones
    otherwise, or a .safetensors file of mct. Images of other codebases are converted with mct convert-images
    first.
    """
    from mct.plots import images as grids

    files = figures.prepare(**figure)
    files.write(grids.images(result, per_class=per_class))


@plot.command()
@click.argument("run", type=values.INPUT)
@outputs.option(".gif, or .png for an animated PNG, which has all colours")  # type: ignore[untyped-decorator]
@click.option("--seconds", type=float, default=0.2, show_default=True, help="Seconds that a frame is shown.")
@options.force
def animation(run: Path, output: tuple[Path, ...], seconds: float, force: bool) -> None:
    """Draw the images of a run over its outer steps, as an animation.

    RUN is the folder of a distillation with --snapshot-every, which may still be in progress. The first
    images of every class are shown, at most ten.
    """
    from mct.plots import animation as frames

    outputs.check(output, frames.FORMATS, ".gif or .png", force=force)
    outputs.write(output, lambda suffix: frames.animation(run, suffix, seconds=seconds))  # type: ignore[arg-type]


@plot.command()
@click.argument("result", type=values.INPUT, metavar="RUN")
@figures.settings
def labels(result: Path, **figure: Any) -> None:
    """Draw soft labels as a map of probabilities, a row for each image.

    RUN is the folder of a distillation with --labels learned or teacher, or a .safetensors file of mct.
    """
    from mct.plots import labels as maps

    files = figures.prepare(**figure)
    files.write(maps.labels(result))


@plot.command()
@click.argument("bundle", type=values.PLACE)
@click.option(
    "--original", type=values.PLACE, help="The .mtt of the same experts, to draw its waypoints as well."
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
@click.option("--landscape", is_flag=True, help="Draw on the plane of the principal components (figure 1a).")
@click.option(
    "--dataset",
    type=values.DATASET,
    help="Real data set, if the bundle names none, or the path of its file.",
)
@options.data
@click.option("--model", help="Network, if the bundle does not name it.")
@options.preprocessing
@click.option("--device", default="cpu", show_default=True, help="Torch device, such as cpu or cuda.")
@figures.settings
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
    **figure: Any,
) -> None:
    """Draw the test accuracy along a trajectory (figure 2, right, and figure 1a).

    The networks that are tested lie at real timesteps, so also between the timesteps of the trajectory.
    """
    import contextlib

    import trajfmt
    from mct.plots import along as ways
    from mct.plots.landscape import Landscape
    from mct.plots.profile import Profile
    from mct.runtime.devices import device_of
    from mct.trajectories import provenance

    from . import accuracies, lines

    files = figures.prepare(**figure)
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
    if found.batch_statistics:
        lines.notice(
            "batch norms used the statistics of the test images, not running statistics, which a bundle has "
            "at its knots at most; accuracies can differ from those of the experts"
        )
    files.write(Landscape(found) if landscape else Profile(found))

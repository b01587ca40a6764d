"""The command `traj convert`: a bundle from other code's files, or from another bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options

if TYPE_CHECKING:
    from trajfmt.convert.options import ConvertOptions
    from trajfmt.schema.provenance import Preprocessing
    from trajfmt.storage.address import Place

__all__ = ["convert"]


@click.command()
@click.argument("source", type=options.PLACE)
@click.argument("destination", type=options.PATH, metavar="DEST")
@click.option("--knots", type=options.INTEGERS, default=(), help="Waypoints to insert, such as 6,25.")
@click.option("--smooth", is_flag=True, help="Average inserted knots and the last with their neighbours.")
@click.option("--gram", is_flag=True, help="Keep the shape of the original path: its Gram matrix.")
@click.option(
    "--layers",
    type=click.Choice(["tensor", "module", "all"]),
    default="tensor",
    show_default=True,
    help="What shares one beta.",
)
@click.option("--timesteps", type=options.WINDOW, default=(None, None), help="Keep timesteps A to B-1.")
@click.option(
    "--codec",
    type=options.CODEC,
    default="none",
    show_default=True,
    help="How a .mtt stores timesteps.",
)
@click.option("--dataset", help="Name of the real data set, e.g. CIFAR10.")
@click.option("--model", help="Name of the network, e.g. ConvNet or ConvNetD4W128BN.")
@click.option("--zca/--no-zca", default=None, help="Images were whitened (eps 0.1), or normalised.")
@click.option("--mean", type=options.NUMBERS, help="Normalised by this mean, a number a channel; with --std.")
@click.option("--std", type=options.NUMBERS, help="And this standard deviation.")
@click.option("--append", is_flag=True, help="Add to an existing DEST.")
@click.option("--from", "layout", metavar="NAME", help="What SOURCE is, if looking does not tell.")
@click.option(
    "--dtype",
    type=click.Choice(["bf16", "f16", "f32", "f64"]),
    callback=lambda _ctx, _param, value: value and value.upper(),
    help="Store weights in this type; betas are computed before, and the error is told.",
)
@click.option(
    "--buffers",
    type=click.Choice(["keep", "interpolate", "drop"]),
    default="keep",
    show_default=True,
    help="A checkpoint's running statistics and the like: carried as they are, made weights, or dropped.",
)
@click.option("--keep-going", is_flag=True, help="Leave out bad files and trajectories, not stopping.")
@click.option("--skip-bad", is_flag=True, hidden=True)
@click.option("--trust-pickle", is_flag=True, help="Unpickle without restriction: this can run code.")
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@options.as_json
def convert(source: Place, destination: Path, dry_run: bool, as_json: bool, **flags: Any) -> None:
    """Convert SOURCE into the bundle DEST (.mct convexified, .mtt every timestep).

    SOURCE is a folder of replay_buffer_*.pt, waypoint_buffer_*.pt or checkpoints, one such file, or
    a bundle; `traj sources` lists all. Run again after an interruption, the same command continues
    from the finished trajectories.
    """
    from trajfmt.convert import run as conversion

    from . import lines, progress, reports

    settings = _settings(flags)
    if dry_run:
        from trajfmt.convert.planning import plan

        found = plan(source, destination, settings)
        reports.plan(found, str(source), as_json=as_json, destination=str(destination))
        return
    try:
        with progress.bar("converting", 1) as bar:
            count = conversion.convert(
                source, destination, settings, on_event=lambda event: progress.conversion(event, bar)
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; run the same command again to continue") from None
    if as_json:
        lines.record({"destination": str(destination), "trajectories": count})
    else:
        lines.done(destination, f"{count} trajectories")


def _settings(flags: dict[str, Any]) -> ConvertOptions:
    """Turn flags into the library's options."""
    from trajfmt.convert.options import ConvertOptions

    if flags.pop("skip_bad"):  # its former name
        flags["keep_going"] = True
    done = _preprocessing(flags.pop("zca"), flags.pop("mean"), flags.pop("std"))
    return ConvertOptions(**flags, preprocessing=done)


def _preprocessing(
    zca: bool | None, mean: tuple[float, ...] | None, std: tuple[float, ...] | None
) -> Preprocessing | None:
    """Return what the flags say was done to the images, None if they say nothing."""
    from trajfmt.schema.provenance import Preprocessing

    if mean is None and std is None:
        if zca is None:
            return None
        return Preprocessing(kind="zca", eps=0.1) if zca else Preprocessing(kind="normalize")
    if zca:
        raise click.UsageError("--mean and --std are of normalised images, --zca of whitened ones: give one")
    if mean is None or std is None or len(mean) != len(std) or min(std) <= 0:
        raise click.UsageError("--mean and --std go together: a number a channel, deviations above 0")
    return Preprocessing(kind="normalize", mean=list(mean), std=list(std))

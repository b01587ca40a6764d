"""The command `traj convert`: convert files of other codebases, or another bundle, into a bundle."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import commands, options, values

if TYPE_CHECKING:
    from trajfmt.convert.events import Event
    from trajfmt.convert.options import ConvertOptions
    from trajfmt.schema.provenance import Preprocessing
    from trajfmt.storage.address import Place

__all__ = ["convert"]


@click.command(cls=commands.Command)
@click.argument("source", type=values.PLACE)
@click.argument("destination", type=values.PATH, metavar="DEST")
@click.option(
    "--knots",
    type=values.KNOTS,
    default=(),
    metavar="N,N,…|auto[:N]",
    help="Timesteps of the waypoints to insert, such as 6,25; counted from A with --timesteps. auto:4 (or "
    "auto) places 4 knots, endpoints included, where they miss the paths least.",
)
@click.option(
    "--smooth",
    is_flag=True,
    help="Average inserted waypoints and the last timestep with their neighbours. For the MCT authors' "
    "pairs: say that this was done.",
)
@click.option(
    "--average",
    type=click.IntRange(min=1),
    default=1,
    metavar="K",
    help="Store the mean of K timesteps at every knot but the first: those around it, or the last K.",
)
@click.option(
    "--gram", is_flag=True, help="Store the Gram matrix, which preserves the shape of the original path."
)
@click.option(
    "--layers",
    type=click.Choice(["tensor", "module", "all"]),
    help="Which parameters share one beta.  [default: those of a source or DEST that is a bundle, or tensor]",
)
@click.option("--timesteps", type=values.WINDOW, default=(None, None), help="Keep only timesteps A to B-1.")
@click.option(
    "--for-preset",
    metavar="NAME",
    help="Cut where the window of a preset of mct ends, at max_start + M: later timesteps are no targets.",
)
@click.option(
    "--codec",
    type=values.CODEC,
    help="Codec of a .mtt.  [default: that of DEST with --append, or none]",
)
@click.option("--dataset", help="Name of the real data set, such as CIFAR10.")
@click.option("--model", help="MTT's name of the network, such as ConvNet or ConvNetD4W128BN.")
@click.option(
    "--zca/--no-zca",
    default=None,
    help="The experts were trained on whitened images (eps 0.1), or on normalised ones.",
)
@click.option(
    "--mean",
    type=values.NUMBERS,
    help="Mean of each channel by which images were normalised. Requires --std.",
)
@click.option(
    "--std",
    type=values.NUMBERS,
    help="Standard deviation of each channel by which images were normalised. Requires --mean.",
)
@click.option("--append", is_flag=True, help="Append to an existing bundle DEST.")
@options.reading
@click.option(
    "--dtype",
    type=click.Choice(["bf16", "f16", "f32", "f64"]),
    callback=lambda _ctx, _param, value: value and value.upper(),
    help="Store weights in this type. Betas use the original weights; the rounding error is reported.",
)
@click.option(
    "--buffers",
    type=click.Choice(["keep", "interpolate", "drop"]),
    default="keep",
    show_default=True,
    help="Keep module buffers of checkpoints, such as running statistics; interpolate them like weights; or "
    "drop them.",
)
@click.option(
    "--keep-going",
    is_flag=True,
    help="Skip files and trajectories that cannot be converted instead of aborting.",
)
@click.option("--skip-bad", is_flag=True, hidden=True)
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@options.as_json
def convert(source: Place, destination: Path, dry_run: bool, as_json: bool, **flags: Any) -> None:
    """Convert SOURCE into the bundle DEST.

    DEST ends in .mct for convexified trajectories, or in .mtt for every timestep.

    SOURCE is a folder of replay_buffer_*.pt, waypoint_buffer_*.pt or checkpoints, one such file, or a bundle.
    `traj sources` lists all file layouts.

    After an interruption, the same command continues from the finished trajectories.
    """
    from trajfmt import units
    from trajfmt.convert import run as conversion
    from trajfmt.errors import counted

    from . import lines, meters, progress, reports

    if destination.suffix == ".mct" and flags["codec"] is not None:
        raise click.UsageError("--codec is for a .mtt, which keeps every timestep; omit it for a .mct")
    settings = _settings(flags)
    if dry_run:
        from trajfmt.convert.planning import plan

        found = plan(source, destination, settings)
        reports.plan(found, str(source), as_json=as_json, destination=str(destination))
        return
    began, source_bytes = time.monotonic(), 0
    try:
        with meters.shown("converting", "byte", 0) as meter:

            def show(event: Event) -> None:
                nonlocal source_bytes
                source_bytes = event.total
                progress.conversion(event, meter)

            count = conversion.convert(source, destination, settings, on_event=show)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; run the same command again to continue") from None
    seconds = time.monotonic() - began
    size = _size(destination)
    if as_json:
        facts = {"bytes": size, "source_bytes": source_bytes, "seconds": round(seconds, 3)}
        lines.record({"destination": str(destination), "trajectories": count, **facts})
        return
    words = [counted(count, "trajectory"), *([] if size is None else [units.size(size)])]
    if (
        size is not None and source_bytes and not settings.append
    ):  # after an append, the bundle holds other sources, too
        words.append(f"{100 * size / source_bytes:.2f}% of the source")
    lines.done(destination, f"{', '.join(words)}, in {seconds:.1f} s")


def _size(destination: Path) -> int | None:
    """Return the bytes of a bundle that was written, or None if the file system does not tell."""
    try:
        return sum(file.stat().st_size for file in destination.rglob("*") if file.is_file())
    except OSError:
        return None


def _settings(flags: dict[str, Any]) -> ConvertOptions:
    """Return the options of the command as `ConvertOptions`."""
    from trajfmt.convert.options import ConvertOptions

    if flags.pop("skip_bad"):  # the former name of --keep-going
        flags["keep_going"] = True
    if (name := flags.pop("for_preset")) is not None:
        if flags["timesteps"] != (None, None):
            raise click.UsageError("--for-preset and --timesteps both say where to cut: pass one")
        flags |= _cut_for(name)
    if isinstance(count := flags["knots"], int):
        if flags["append"]:
            raise click.UsageError("--append keeps the knots of the bundle: omit --knots auto")
        flags |= {"knots": (), "place": count}
    done = _preprocessing(flags.pop("zca"), flags.pop("mean"), flags.pop("std"))
    return ConvertOptions(**flags, preprocessing=done)


def _cut_for(name: str) -> dict[str, Any]:
    """Return the options that cut trajectories where the window of a preset ends."""
    from mct.settings.presets import preset, trajectories_of

    from . import lines

    chosen = preset(name)
    start, steps, needs = chosen.max_start, chosen.expert_steps, trajectories_of(chosen.method)
    if needs != "needed" or start is None or steps is None:
        raise click.UsageError(f"--for-preset {name}: the method {chosen.method} needs no trajectories")
    end = math.ceil(start + steps)
    if chosen.initial == "correct" or chosen.labels == "learned":
        lines.notice(
            f"{chosen.name} also takes initial images or labels from the last timestep of the experts, which"
            f" is {end} in this bundle; for those of whole experts, convert without --for-preset"
        )
    return {"timesteps": (0, end + 1), "cut_for": chosen.name}


def _preprocessing(
    zca: bool | None, mean: tuple[float, ...] | None, std: tuple[float, ...] | None
) -> Preprocessing | None:
    """Return the preprocessing that the options state; None if they state none."""
    from trajfmt.schema.provenance import Preprocessing

    if mean is None and std is None:
        if zca is None:
            return None
        return Preprocessing(kind="zca", eps=0.1) if zca else Preprocessing(kind="normalize")
    if zca:
        raise click.UsageError("--mean and --std describe normalised images, --zca whitened ones: pass one")
    if mean is None or std is None or len(mean) != len(std) or min(std) <= 0:
        raise click.UsageError(
            "--mean and --std require each other, with one number per channel and deviations above 0"
        )
    return Preprocessing(kind="normalize", mean=list(mean), std=list(std))

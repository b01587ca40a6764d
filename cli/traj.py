"""The command group `traj`: convert, inspect, extract, validate and export trajectories."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import bundle_plots, commands, convert, diff, failures, merge, options, pages, sharing, strides, values

if TYPE_CHECKING:
    from trajfmt.storage.address import Place

__all__ = ["main"]


@click.group(
    cls=commands.Group,
    commands={
        "convert": convert.convert,
        "diff": diff.diff,
        "merge": merge.merge,
        "plot": bundle_plots.plot,
        "report": pages.report,
        **sharing.COMMANDS,
    },
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="trajfmt")
def main() -> None:
    """Convert, inspect and validate training trajectories.

    \b
    Exit codes: 0 success, 1 failure, 2 wrong usage, 3 not a bundle or an
    unknown feature, 4 damaged, 5 refused as unsafe, 130 interrupted.

    Bundles can also be read from an address, such as https://host/two.mct.
    An option with a value can be given once; a repeated flag changes nothing.
    """


@main.command()
@click.argument("paths", type=values.PLACE, nargs=-1, required=True, metavar="PATH…")
@click.option("--layers", is_flag=True, help="Show every layer of one trajectory of a bundle.")
@click.option(
    "--trajectory",
    type=click.IntRange(min=0),
    help="Number of the trajectory; implies --layers. [default: 0]",
)
@click.option(
    "--expert-steps",
    type=click.IntRange(min=1),
    metavar="M",
    help="Show how many timesteps of the convexified paths are as long as M of the original ones (--gram).",
)
@click.option(
    "--max-start", type=click.FloatRange(min=0), help="With --expert-steps: show starts before this one only."
)
@options.reading
@options.as_json
def inspect(
    paths: tuple[Place, ...],
    layers: bool,
    trajectory: int | None,
    expert_steps: int | None,
    max_start: float | None,
    as_json: bool,
    **reading: Any,
) -> None:
    """Show contents and size of bundles, or of files that traj can convert."""

    if expert_steps is None and max_start is not None:
        raise click.UsageError("--max-start goes with --expert-steps")
    if expert_steps is not None and (layers or trajectory is not None):
        raise click.UsageError("--expert-steps is of all trajectories: omit --layers and --trajectory")

    def show(path: Place) -> int:
        if expert_steps is not None:
            strides.show(path, expert_steps, max_start, as_json=as_json)
            return 0
        _inspect(path, layers=layers, trajectory=trajectory, as_json=as_json, reading=reading)
        return 0

    sys.exit(failures.each(paths, show))


def _inspect(
    path: Place, *, layers: bool, trajectory: int | None, as_json: bool, reading: dict[str, Any]
) -> None:
    """Show one bundle, or one source in another file layout."""
    from trajfmt.bundle import report

    from . import reports

    if isinstance(path, Path) and not _is_bundle(path):
        _inspect_source(path, layers=layers or trajectory is not None, as_json=as_json, reading=reading)
    elif any(reading.values()):
        raise click.UsageError("--from, --select, --key, --buffer and --trust-pickle are not for bundles")
    elif layers or trajectory is not None:
        import trajfmt

        with trajfmt.open(path) as bundle:
            number = trajectory or 0
            reports.layers(report.layer_reports(bundle[number]), number, as_json=as_json)
    else:
        reports.summary(report.summarize(path), as_json=as_json)


def _inspect_source(path: Path, *, layers: bool, as_json: bool, reading: dict[str, Any]) -> None:
    """Show the trajectories that a conversion would find in a source."""
    from trajfmt.convert.options import ConvertOptions
    from trajfmt.convert.planning import plan
    from trajfmt.errors import NotABundleError, SourceError
    from trajfmt.sources.discovery import recognise

    from . import reports

    if path.exists() and not (reading["layout"] or reading["select"]):
        try:
            recognise(path)
        except SourceError as exc:
            raise NotABundleError("not_a_bundle", exc.message, path=path) from None
    if layers:
        raise click.UsageError("--layers and --trajectory require a bundle; convert the source first")
    found = plan(path, None, ConvertOptions(keep_going=True, **reading))
    reports.plan(found, str(path), as_json=as_json, destination=None)


def _is_bundle(path: Path) -> bool:
    """Return whether a path is a bundle, or should be reported as a damaged or missing one."""
    if path.suffix in (".mct", ".mtt") or (path / "manifest.json").exists():
        return True
    return not path.is_dir() and path.suffix not in (".pt", ".pth", ".ckpt")


@main.command()
@options.as_json
def sources(as_json: bool) -> None:
    """List the file layouts that can be converted, and those that are only recognised."""
    from trajfmt.sources.checkpoints.elsewhere import KNOWN
    from trajfmt.sources.table import LAYOUTS

    from . import reports

    reports.sources(LAYOUTS, KNOWN, as_json=as_json)


@main.command()
@click.argument("path", type=values.PLACE)
@click.option(
    "--trajectory",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Number of the trajectory.",
)
@click.option("--t", "t", type=float, required=True, help="Timestep, real for a .mct and whole for a .mtt.")
@click.option("--layer", help="Write this layer only, without module buffers. [default: all parameters]")
@click.option("-o", "--output", type=values.PATH, required=True, help="The .safetensors file to write.")
@click.option("--verify", is_flag=True, help="Compare every file with its hash first.")
def extract(path: Place, trajectory: int, t: float, layer: str | None, output: Path, verify: bool) -> None:
    """Write the weights at a timestep as an ordinary safetensors checkpoint."""
    import trajfmt
    from trajfmt.bundle.extraction import extract as write
    from trajfmt.bundle.numbering import step_of

    from . import lines

    with trajfmt.open(path, verify=verify, backend="pread") as bundle:
        for note in write(bundle, trajectory, t, output, layer=layer):
            lines.notice(note)
        where = step_of(bundle, bundle[trajectory], t)
    lines.done(output, f"trajectory {trajectory}, t = {t:g}{where and f' ({where})'}")


@main.command()
@click.argument("paths", type=values.PLACE, nargs=-1, required=True, metavar="PATH…")
@options.as_json
def validate(paths: tuple[Place, ...], as_json: bool) -> None:
    """Check bundles completely and list all problems."""
    from trajfmt.bundle.validation import validate as check

    from . import lines, meters

    def run(path: Place) -> int:
        with meters.shown("validating", "byte", 0) as meter:
            found = check(path, on_progress=lambda done, total: meter.update(done, total=total))
        lines.problems(str(path), found, as_json=as_json)
        return max((problem.exit_code for problem in found), default=0)

    sys.exit(failures.each(paths, run))


@main.command()
@click.argument("path", type=values.PLACE)
@click.argument("destination", type=values.PATH, metavar="DEST")
@click.option(
    "--to",
    type=click.Choice(["mtt", "datm", "towers", "mct-authors", "checkpoints"]),
    default="mtt",
    show_default=True,
    help="The file layout to write.",
)
@click.option(
    "--in-place",
    is_flag=True,
    help="Write small stubs that refer to PATH, to be loaded with trajfmt.torch.load.",
)
@click.option(
    "--per-file",
    type=click.IntRange(min=1),
    help="Trajectories in each file, not for checkpoints.  [default: 10]",
)
@click.option("--float32", is_flag=True, help="Convert weights of other types to float32.")
@click.option("--verify", is_flag=True, help="Compare every file with its hash first.")
def export(
    path: Place, destination: Path, to: str, in_place: bool, per_file: int | None, float32: bool, verify: bool
) -> None:
    """Write a bundle in a file layout that another codebase reads.

    \b
    mtt          replay_buffer_<n>.pt, for MTT, TESLA, FTD and most others
    datm         replay_buffer_<n>.pt, for DATM, PAD and EDF, which need at
                 least 10 files with 10 trajectories each
    towers       img_replay_buffer_<n>.pt and txt_replay_buffer_<n>.pt, for
                 VL, LoRS and PTM-ST
    mct-authors  waypoint_buffer*_<n>.pt and step_buffer*_<n>.pt, from a .mct
    checkpoints  <trajectory>/checkpoint-<step>/model.safetensors; epochs are
                 called epoch-<n>, and numbers of unknown unit ckpt-<n>
    """
    import trajfmt
    from trajfmt.errors import counted

    from . import lines, meters

    with contextlib.ExitStack() as held:
        with meters.shown("exporting", "", 0) as meter:
            meter.phase("verifying" if verify else "opening the bundle")
            bundle = held.enter_context(trajfmt.open(path, verify=verify))
        from trajfmt.export.run import check
        from trajfmt.export.run import export as write

        for note in check(bundle, to=to, in_place=in_place, per_file=per_file, float32=float32):
            lines.notice(note)
        with meters.shown("exporting", "trajectory", len(bundle)) as meter:
            count = write(
                bundle,
                destination,
                to=to,
                in_place=in_place,
                per_file=per_file,
                float32=float32,
                on_trajectory=lambda _index: meter.advance(),
            )
    what = " as stubs; set torch.load = trajfmt.torch.load in the script that loads them" if in_place else ""
    lines.done(destination, f"{counted(count, 'trajectory')}{what}")


if __name__ == "__main__":
    main()

"""The commands that share bundles: `traj push`, `traj pull`, `traj card` and `traj croissant`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from . import commands, options, values

if TYPE_CHECKING:
    from trajfmt.bundle.reader import Bundle
    from trajfmt.share.push import Phase
    from trajfmt.storage.address import Place

__all__ = ["COMMANDS"]

_license = click.option(
    "--license",
    metavar="ID",
    help="License of the bundle, as the hub spells it, such as cc-by-4.0 or apache-2.0.",
)
_address = click.option(
    "--address",
    metavar="ADDRESS",
    help="Address at which readers will find the bundle.  [default: BUNDLE if it is an address]",
)
_PHASES: Final[dict[Phase, str]] = {
    "validating": "validating the bundle",
    "uploading": "uploading; after an interruption, run the same command again to send what is missing",
}
_output = click.option("-o", "--output", type=values.PATH, help="File to write.  [default: standard output]")


@click.command(cls=commands.Command)
@click.argument("bundle", type=values.PATH)
@click.argument("target")
@click.option("--private", is_flag=True, help="Create a private repository.")
@click.option(
    "--revision", metavar="BRANCH", help="Branch, created from main if there is none.  [default: main]"
)
@click.option(
    "--repo-type",
    "kind",
    type=click.Choice(["model", "dataset"]),
    help="Kind of the repository.  [default: as TARGET says]",
)
@click.option("--message", help="Message of the commit.  [default: Add BUNDLE]")
@_license
@click.option("--force", is_flag=True, help="Replace another bundle, or other files, at TARGET.")
@click.option("--no-verify", is_flag=True, help="Upload without validating the bundle first.")
def push(bundle: Path, target: str, no_verify: bool, **flags: Any) -> None:
    """Upload a bundle to the Hugging Face hub, in one commit.

    TARGET is hf://OWNER/NAME[@BRANCH][/FOLDER] for a model repository, or
    hf://datasets/OWNER/NAME[@BRANCH][/FOLDER]. The repository is created if it does not exist.

    Besides the bundle, the commit holds croissant.json and, unless the repository has one, a card.

    After an interruption, the same command sends what is missing.

    This needs the hub's client and a login: pip install 'trajfmt[hub]', then hf auth login.
    """
    from trajfmt.errors import counted
    from trajfmt.share.push import push as send
    from trajfmt.units import size

    from . import interrupts, lines

    def tell(phase: Phase) -> None:
        lines.remark(_PHASES[phase])
        if phase == "uploading":  # the client would wait for the end of all files that it is sending
            interrupts.end()

    done = send(bundle, target, verify=not no_verify, on_phase=tell, **flags)
    what = f"{counted(done.files, 'file')}, {size(done.bytes)}, at commit {done.commit[:12]} of {done.page}"
    if done.card_kept:
        lines.notice("the card README.md is kept and may describe the bundle before; traj card writes one")
    lines.done(done.address, what if done.changed else f"there already; {what}")


@click.command(cls=commands.Command)
@click.argument("address", type=values.PLACE)
@click.argument("destination", type=values.PATH, metavar="DEST")
def pull(address: Place, destination: Path) -> None:
    """Download a bundle from an address to DEST, and verify every file.

    ADDRESS is that of a bundle on the Hugging Face hub, such as hf://OWNER/NAME[@REVISION][/FOLDER], or any
    other, such as https://host/two.mct or s3://bucket/two.mct.

    DEST appears when the bundle is complete. After an interruption, the same command continues.
    """
    from trajfmt.share.pull import pull as fetch
    from trajfmt.units import size

    from . import lines, meters

    try:
        with meters.shown("downloading", "byte", 0) as meter:
            done = fetch(
                address,
                destination,
                on_start=lambda total: meter.update(0, total=total),
                on_file=lambda count: meter.advance(count),
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; run the same command again to continue") from None
    lines.done(destination, f"{done.files} files, {size(done.bytes)}, verified")


@click.command(cls=commands.Command)
@click.argument("bundle", type=values.PLACE)
@_output
@_address
@_license
@options.force
def card(bundle: Place, output: Path | None, address: str | None, license: str | None, force: bool) -> None:
    """Write the card of a bundle: a README.md with metadata for the hub.

    `traj push` adds one to a repository without a card.
    """
    import trajfmt
    from trajfmt.bundle.report import summary_of
    from trajfmt.share.card import card as text_of
    from trajfmt.storage.hubpath import hub_path

    place = _address_of(bundle, address)
    found = None if place is None else hub_path(place)
    with trajfmt.open(bundle) as opened:
        text = text_of(
            summary_of(opened),
            name=_name(opened, place),
            address=place,
            license=license,
            kind="model" if found is None else found.kind,
        )
    _write(text.encode(), output, force=force)


@click.command(cls=commands.Command)
@click.argument("bundle", type=values.PLACE)
@_output
@click.option("--url", help="Page of the data set, such as https://huggingface.co/OWNER/NAME.")
@_license
@options.force
def croissant(bundle: Place, output: Path | None, url: str | None, license: str | None, force: bool) -> None:
    """Write the description of a bundle as a data set in Croissant 1.0, as JSON.

    It lists every file with its size and hash, by its path relative to the manifest. Keep it beside the
    manifest. `traj push` adds it to the repository.
    """
    import trajfmt
    from trajfmt.share.croissant import croissant as description

    with trajfmt.open(bundle) as opened:
        text = description(opened, name=_name(opened, None), url=url, license=license)
    _write(text, output, force=force)


def _address_of(bundle: Place, address: str | None) -> str | None:
    """Return the address at which readers find a bundle, without credentials; None if it is unknown."""
    from trajfmt.storage.address import Address

    return str(Address(address)) if address else str(bundle) if isinstance(bundle, Address) else None


def _name(opened: Bundle, address: str | None) -> str:
    """Return what a bundle is called."""
    from trajfmt.storage.address import Address

    if address is not None:
        return Address(address).name
    return opened.place.absolute().name if isinstance(opened.place, Path) else opened.place.name


def _write(data: bytes, output: Path | None, *, force: bool) -> None:
    """Write a text to a file, or to standard output.

    Raises:
        ExistsError: the file exists and is not to be replaced.
        UsageError: there is no folder for it.
    """
    if output is None:
        print(data.decode(), end="")
        return
    from trajfmt.errors import ExistsError, UsageError, display
    from trajfmt.storage import occupied, write_file

    from . import lines

    if output.is_dir() or (occupied(output) and not force):
        raise ExistsError(f"{display(output)} exists; choose another name with -o, or pass --force")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"{display(output.absolute().parent)}: no such folder; create it first")
    write_file(output, data)
    lines.done(output)


COMMANDS: Final = {"push": push, "pull": pull, "card": card, "croissant": croissant}
"""The commands by name."""

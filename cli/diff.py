"""The command `traj diff`: what differs between two bundles."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import click

from . import commands, failures, options, values

if TYPE_CHECKING:
    from trajfmt.bundle.comparison import Comparison, Pair, Side
    from trajfmt.storage.address import Place

__all__ = ["diff"]

_LONG: Final = 60
"""Characters of a value that are shown."""

_MANY: Final = 8
"""Trajectories and files that are listed by number or name; of more, the first ones are."""


@click.command(cls=commands.Command)
@click.argument("one", type=values.PLACE, metavar="A")
@click.argument("other", type=values.PLACE, metavar="B")
@options.as_json
def diff(one: Place, other: Place, as_json: bool) -> None:
    """Show what differs between the bundles A and B.

    Only the manifests are read. Trajectories are compared by digest, so that a .mct can be compared with the
    .mtt that it was made from, and files by the hashes that the manifests record. Whether the files still
    have these hashes, traj validate shows.

    \b
    Exit codes: 0 the bundles are the same, 1 they differ, 2 and above errors.
    """
    from trajfmt.bundle.comparison import compare

    from . import lines

    try:
        found = compare(one, other)
    except Exception as exc:
        known = failures.message_and_code(exc)
        if known is None or known[1] != 1:
            raise
        failures.fail(known[0], 2)  # 1 says that they differ
    if as_json:
        lines.record(_plain(found))
    elif found.equal:
        lines.say(f"{one} and {other} are the same: {_count(found.one.trajectories, 'trajectory')}")
    else:
        _show(found)
    sys.exit(int(not found.equal))


def _plain(found: Comparison) -> dict[str, object]:
    """Return a comparison as the value of a JSON object."""
    pairs = [{**each._asdict(), "stored": [d._asdict() for d in each.stored]} for each in found.both]
    return {
        **dataclasses.asdict(found),
        "settings": [each._asdict() for each in found.settings],
        "both": pairs,
        "equal": found.equal,
    }


def _show(found: Comparison) -> None:
    from trajfmt.errors import display

    from . import tables

    table = tables.listing()
    for column in ("", "A", "B"):
        table.add_column(column, no_wrap=not column)
    for name, a, b in _rows(found):
        table.add_row(display(name), *(display(_short(text)) for text in (a, b)))
    tables.show(table)


def _rows(found: Comparison) -> Iterator[tuple[str, str, str]]:
    """Yield what differs, and first of all what is compared."""
    one, other = found.one, found.other
    yield "bundle", one.path, other.path
    yield "size", _size(one), _size(other)
    yield from found.settings
    if one.only or other.only:
        yield "only here", _numbers(one), _numbers(other)
    both = _count(len(found.both), "trajectory")
    same = [pair for pair in found.both if not pair.stored]
    if found.both:
        order = "in another order" if found.moved else "in the same order"
        yield "in both", both, order
    for name in _names(found.both):
        pairs = [pair for pair in found.both if any(each.name == name for each in pair.stored)]
        first = next(each for each in pairs[0].stored if each.name == name)
        which = f"{name} of {_of(len(pairs), len(found.both))}"
        yield which, first.one, first.other
    if len(same) < len(found.both) and same:
        yield "stored alike", _count(len(same), "trajectory"), ""
    if one.sources or other.sources:
        yield "sources only here", _listed(one.sources), _listed(other.sources)
    if one.files or other.files:
        yield "files only here", _listed(one.files), _listed(other.files)
    yield "same files", str(found.same_files), ""


def _size(side: Side) -> str:
    from trajfmt import units

    return f"{_count(side.trajectories, 'trajectory')}, {units.size(side.bytes)}"


def _names(pairs: Sequence[Pair]) -> list[str]:
    return list(dict.fromkeys(each.name for pair in pairs for each in pair.stored))


def _numbers(side: Side) -> str:
    return _listed([str(number) for number in side.only])


def _of(count: int, whole: int) -> str:
    return f"{count} of {whole}" if count < whole else "all" if whole > 1 else "it"


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "none"
    shown = ", ".join(names[:_MANY]) + (", …" if len(names) > _MANY else "")
    return shown if len(names) == 1 else f"{len(names)}: {shown}"


def _short(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"


def _count(count: int, noun: str) -> str:
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{count} {noun if count == 1 else plural}"

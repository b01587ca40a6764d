"""The name of a checkpoint, split into texts and the numbers between them."""

from __future__ import annotations

import re
from glob import escape
from pathlib import PurePath
from typing import Final, NamedTuple

from trajfmt.sources.checkpoints.roles import bare

__all__ = ["Name", "folder_stated", "has_number", "inner_stated", "literal", "natural", "pattern_of"]

_NUMBER: Final = re.compile(r"([0-9]+(?:\.[0-9]+)*(?:e[-+]?[0-9]+)?)([kKM](?![A-Za-z0-9]))?")
"""A number, with what makes it more than a whole number: a fraction, an exponent, or a unit."""


class Name(NamedTuple):
    """The parts of a name. There is one text more than numbers, and texts may be empty."""

    full: str
    """The name with its ending: that of a file or folder, or a path with slashes."""

    texts: tuple[str, ...]
    numbers: tuple[str, ...]
    units: tuple[str, ...]
    """The unit after each number: `k`, `K`, `M` or nothing."""

    @classmethod
    def of(cls, full: str) -> Name:
        """Split a name.

        >>> Name.of("net_1k-0.5.pth").texts, Name.of("net_1k-0.5.pth").numbers
        (('net_', '-', ''), ('1', '0.5'))
        """
        pieces = _NUMBER.split(bare(full))
        return cls(full, tuple(pieces[::3]), tuple(pieces[1::3]), tuple(unit or "" for unit in pieces[2::3]))

    def before(self, place: int) -> str:
        """Return everything before the number at a place, other numbers included."""
        parts = zip(self.texts[:place], self.numbers, self.units, strict=False)
        return "".join(piece for part in parts for piece in part) + self.texts[place]

    def pattern(self, numbers: tuple[str, ...]) -> str:
        """Return a pattern for `--select` with other patterns in the places of the numbers."""
        parts = zip(self.texts, numbers, self.units, strict=False)
        joined = "".join(f"{literal(text)}{number}{unit}" for text, number, unit in parts)
        return joined + literal(self.texts[-1] + self.full[len(bare(self.full)) :])


def literal(text: str) -> str:
    """Return a pattern of `--select` that matches only this text.

    >>> literal("net[a]_{step}")
    'net[[]a]_[{]step}'
    """
    return escape(text).replace("{", "[{]")


def pattern_of(full: str) -> str:
    """Return a pattern for names of the same form, for `--select`.

    >>> pattern_of("epoch_12.pth"), pattern_of("net[a]_1.pt")
    ('epoch_[0-9]*.pth', 'net[[]a]_[0-9]*.pt')
    """
    name = Name.of(full)
    return name.pattern(("[0-9]*",) * len(name.numbers))


def folder_stated(path: PurePath) -> str | None:
    """Return a pattern of `--select` in which the last number of a file's folder is the step.

    Return None if there is no whole number in the name of the folder.

    >>> folder_stated(PurePath("runs/net2_100/final.pt"))
    'net2_{step}/final.pt'
    """
    name = Name.of(path.parent.name)
    whole = [place for place, number in enumerate(name.numbers) if number.isdigit()]
    if not whole:
        return None
    numbers = [*name.numbers]
    numbers[whole[-1]] = "{step}"
    return f"{name.pattern(tuple(numbers))}/{literal(path.name)}"


def inner_stated(one: PurePath, other: PurePath) -> str | None:
    """Return a pattern of `--select` for files in folders of steps, with further numbers in the names inside.

    Return None if more than the numbers differ.

    Args:
        one: the file of one step, relative to the folder of the run.
        other: the file of another step.

    >>> inner_stated(PurePath("ckpt-1/global_step1/a.pt"), PurePath("ckpt-2/global_step2/a.pt"))
    'ckpt-{step}/{any}/a.pt'
    """
    names, others = [[Name.of(part) for part in path.parts] for path in (one, other)]
    if [name.texts for name in names] != [name.texts for name in others] or len(names[0].numbers) != 1:
        return None
    first = names[0].pattern(("{step}",))
    pairs = zip(one.parts[1:], other.parts[1:], strict=True)
    return "/".join([first, *(literal(part) if part == rest else "{any}" for part, rest in pairs)])


def has_number(full: str) -> bool:
    """Return whether there is a number in a name.

    >>> has_number("step_1.pt"), has_number("vocab.pt")
    (True, False)
    """
    return _NUMBER.search(bare(full)) is not None


def natural(full: str) -> list[tuple[int, int, str]]:
    """Return a sort key that compares the numbers in names as numbers.

    >>> sorted(["run10", "run9"], key=natural)
    ['run9', 'run10']
    """
    parts = re.split("([0-9]+)", full)
    return [(0, int(part), "") if index % 2 else (1, 0, part) for index, part in enumerate(parts)]

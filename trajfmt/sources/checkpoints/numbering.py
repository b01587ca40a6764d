"""The training step of a checkpoint, from its name.

Training scripts number their checkpoints in many ways: `step=1000`, `epoch=3-step=1200`, `checkpoint-500`,
`model_12`, `ckpt_00500`, `iter_0001000`. Names are compared only if they have the same form. Of a mixture,
such as epochs beside updates or `500` beside `1k`, no order is certain, and none is guessed.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import PurePath
from typing import Final, Literal, NamedTuple

from trajfmt.errors import SourceError, display
from trajfmt.sources.checkpoints.roles import LABELS, bare, is_identity, is_score, is_setting

__all__ = ["Numbered", "Unit", "has_number", "natural", "numbers_of", "pattern_of", "spacing"]

Unit = Literal["step", "epoch"]

_NUMBER: Final = re.compile(r"([0-9]+(?:\.[0-9]+)*(?:e[-+]?[0-9]+)?)([kKM](?![A-Za-z0-9]))?")
"""A number, with what makes it more than a whole number: a fraction, an exponent, or a unit."""

_UNITS: Final = {"": 1, "k": 1000, "K": 1000, "M": 1_000_000}
_LABELLED: Final[dict[Unit, re.Pattern[str]]] = {
    "step": re.compile(f".*{LABELS['step']}", re.I | re.S),
    "epoch": re.compile(f".*{LABELS['epoch']}", re.I | re.S),
}
"""The text before a number of this unit."""

_OF: Final = re.compile(r"[-_. ]?(?:of|mp|tp|pp)[-_. ]?", re.I)
"""The text between the number of a part and how many parts there are."""

_SEPARATORS: Final = ("=", "-", "_", " ", ".")
_GROUPS: Final = ("_", ",", "-", " ", "'")
"""What separates the thousands of a number."""

_TRAINER: Final = ("checkpoint-", "")
"""The form of transformers' folders, whose number is a step."""

_INTERVAL: Final = 50
"""The least interval of fairseq's updates that is told from other numbers."""

_FAIRSEQ: Final = ("checkpoint_", "_", "")
"""The form of fairseq's names, whose numbers are the epoch and the update."""

_MOST: Final = 2**53
"""The largest number of the format."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """The numbers of some checkpoints."""

    numbers: tuple[int, ...]
    """The numbers, in the order of the given names."""

    unit: Unit | None
    """The unit of the numbers, or None if the names do not contain it."""


class _Name(NamedTuple):
    """The parts of a name: texts, and the numbers between them."""

    full: str
    texts: tuple[str, ...]
    numbers: tuple[str, ...]
    units: tuple[str, ...]
    """The unit after each number: `k`, `M` or nothing."""

    @classmethod
    def of(cls, full: str) -> _Name:
        pieces = _NUMBER.split(bare(full))
        return cls(full, tuple(pieces[::3]), tuple(pieces[1::3]), tuple(unit or "" for unit in pieces[2::3]))

    def labelled(self, unit: Unit) -> int | None:
        """Return the position of the first number that is called a step, or an epoch."""
        places = range(len(self.numbers))
        return next((i for i in places if _LABELLED[unit].fullmatch(self.texts[i])), None)


def pattern_of(name: str) -> str:
    """Return a pattern for names of the same form, for `--select`.

    >>> pattern_of("epoch_12.pth"), pattern_of("net[a]_1.pt")
    ('epoch_[0-9]*.pth', 'net[[]a]_[0-9]*.pt')
    """
    plain = bare(name)
    texts = [escape(text) for text in _NUMBER.split(plain)[::3]]
    units = [unit or "" for unit in _NUMBER.split(plain)[2::3]]
    joined = "".join(f"{text}[0-9]*{unit}" for text, unit in zip(texts, units, strict=False))
    return joined + texts[-1] + name[len(plain) :]


def has_number(name: str) -> bool:
    """Return whether there is a number in a name.

    >>> has_number("step_1.pt"), has_number("vocab.pt")
    (True, False)
    """
    return _NUMBER.search(bare(name)) is not None


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key that compares the numbers in names as numbers.

    >>> sorted(["run10", "run9"], key=natural)
    ['run9', 'run10']
    """
    parts = re.split("([0-9]+)", name)
    return [(0, int(part), "") if index % 2 else (1, 0, part) for index, part in enumerate(parts)]


def numbers_of(names: Sequence[str], folder: object) -> Numbered:
    """Return the number of every checkpoint: the step, otherwise the epoch, otherwise the number that varies.

    Args:
        names: the names of the checkpoints. A name without an ending is that of a folder.
        folder: their folder, for error messages.

    Raises:
        SourceError: a name has no number, names have different forms, another number varies, or the number is
            no step. The message contains the names, and says what to do.
    """
    parsed = [_Name.of(name) for name in names]
    for name in parsed:
        if not name.numbers:
            raise _refused(
                f"{display(name.full)} has no number in its name, so its place in the run is unknown;"
                " rename it, e.g. to step=1000 with the same ending, or move it elsewhere",
                folder,
            )
        if name.texts != parsed[0].texts:
            raise _mixed(parsed, parsed[0], name, folder)
    if not parsed:
        return Numbered((), None)
    place, unit = _place(parsed, folder)
    numbers = _read(parsed, place, folder)
    epochs = parsed[0].labelled("epoch")
    if unit == "step" and epochs is not None and not _agree(parsed, epochs, numbers):
        raise _refused(
            f"the steps of {display(parsed[0].full)} and the others begin again in each epoch, so they give"
            " no order; rename them, e.g. to step=1000",
            folder,
        )
    return Numbered(numbers, unit)


def _place(parsed: Sequence[_Name], folder: object) -> tuple[int, Unit | None]:
    """Return which number of names of one form is the step, and its unit if it is known."""
    first = parsed[0]
    columns = list(zip(*(name.numbers for name in parsed), strict=True))
    varying = [index for index, column in enumerate(columns) if len(set(column)) > 1]
    if first.texts == _TRAINER and first.full == bare(first.full):
        return 0, "step"
    updates = columns[1] if first.texts == _FAIRSEQ else ()
    if _are_updates(updates) and _agree(parsed, 0, list(map(int, updates))):
        return 1, "step"
    labelled = {unit: place for unit in _LABELLED if (place := first.labelled(unit)) is not None}
    for unit, place in sorted(labelled.items(), key=lambda found: found[1] not in varying):
        others = [index for index in varying if index not in labelled.values()]
        for index in others:
            if not _is_score(parsed, index):
                raise _several(parsed, index, folder)
        return place, unit
    if len(varying) > 1:
        raise _several(parsed, varying[0], folder)
    place = (varying or [len(columns) - 1])[0]
    if varying and _tells_apart(first.texts[place], first.texts[place + 1]):
        raise _refused(
            f"{display(first.full)} and the others differ in the number after"
            f" '{display(first.texts[place])}', which is no step; if they are the steps of one run, rename"
            " them, e.g. to step=1000",
            folder,
        )
    return place, None


def _are_updates(numbers: Sequence[str]) -> bool:
    """Return whether numbers may be those of fairseq's updates: multiples of a round interval."""
    return all(map(str.isdigit, numbers)) and math.gcd(*map(int, numbers)) >= _INTERVAL


def _tells_apart(before: str, after: str) -> bool:
    """Return whether the text around a number says that it is no step."""
    return is_identity(before) or is_score(before) or is_setting(before) or _OF.fullmatch(after) is not None


def _is_score(parsed: Sequence[_Name], place: int) -> bool:
    """Return whether a number beside that of the step may differ: a score, or a value with a fraction."""
    before = parsed[0].texts[place]
    fraction = any(not name.numbers[place].isdigit() for name in parsed) and before.endswith(_SEPARATORS)
    named = is_identity(before) or is_setting(before) or ("=" in before and "val" not in before)
    return is_score(before) or (fraction and not named)


def _several(parsed: Sequence[_Name], place: int, folder: object) -> SourceError:
    other = next(name for name in parsed if name.numbers[place] != parsed[0].numbers[place])
    return _refused(
        f"{display(parsed[0].full)} and {display(other.full)} differ in several numbers, or in one that is no"
        " step; choose those of one run with --select, or say in the names which it is, as in step=1000",
        folder,
    )


def _agree(parsed: Sequence[_Name], place: int, numbers: Sequence[int]) -> bool:
    """Return whether a second number, the epoch, never falls where the first one rises."""
    epochs = [name.numbers[place] for name in parsed]
    if not all(epoch.isdigit() for epoch in epochs):
        return False
    pairs = sorted((number, int(epoch)) for number, epoch in zip(numbers, epochs, strict=True))
    return all(a[1] <= b[1] for a, b in itertools.pairwise(pairs))


def _read(parsed: Sequence[_Name], place: int, folder: object) -> tuple[int, ...]:
    """Return the whole number at a place of each name."""
    factor = _UNITS[parsed[0].units[place]]
    found = []
    for name in parsed:
        text = name.numbers[place]
        if name.units[place] != parsed[0].units[place]:
            raise _mixed(parsed, parsed[0], name, folder)
        if not text.isdigit():
            raise _refused(
                f"{display(name.full)}: {text} is no whole number, as steps are; rename it", folder
            )
        if name.texts[place + 1] in _GROUPS and _grouped(parsed, place):
            both = f"{text}{name.texts[place + 1]}{name.numbers[place + 1]}"
            raise _refused(
                f"{display(name.full)}: {both} may be one number or two; rename it, e.g. to step=1000", folder
            )
        if len(text) > len(str(_MOST)) or int(text) * factor > _MOST:
            raise _refused(f"{display(name.full)}: no step is that large", folder)
        found.append(int(text) * factor)
    return tuple(found)


def _grouped(parsed: Sequence[_Name], place: int) -> bool:
    """Return whether the number after a place may be the thousands of the same number, as in `1_000`."""
    after = {name.numbers[place + 1] for name in parsed if len(name.numbers) > place + 1}
    return all(len(number) == 3 for number in after) and (len(after) > 1 or after == {"000"})


def _mixed(parsed: Sequence[_Name], one: _Name, other: _Name, folder: object) -> SourceError:
    pattern, count = Counter(pattern_of(name.full) for name in parsed).most_common(1)[0]
    chosen = [name for name in parsed if PurePath(name.full).match(pattern)]
    choice = f"choose those of one kind, e.g. with --select '{display(pattern)}', or "
    return _refused(
        f"{display(one.full)} and {display(other.full)} are named in different ways, so their order is not"
        f" certain; {choice if count == len(chosen) > 1 else ''}rename them, e.g. to step=1000",
        folder,
    )


def _refused(message: str, folder: object) -> SourceError:
    return SourceError("nothing_to_convert", message, path=folder)


def spacing(numbers: Sequence[int]) -> int | None:
    """Return the difference of consecutive numbers, or None if it varies.

    >>> spacing([500, 1000, 1500]), spacing([1, 2, 4])
    (500, None)
    """
    steps = {b - a for a, b in itertools.pairwise(numbers)}
    return steps.pop() if len(steps) == 1 else None

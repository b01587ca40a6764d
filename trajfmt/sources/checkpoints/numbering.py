"""The training step of each checkpoint, from their names.

Names are compared only if they have the same form. Which of their numbers is the step must be certain:
`labels` holds the closed lists of what is. Of everything else nothing is guessed, and the error shows the
pattern with which the user states it.
"""

from __future__ import annotations

import itertools
import math
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from trajfmt.errors import SourceError, display
from trajfmt.sources.checkpoints.elsewhere import are_parts
from trajfmt.sources.checkpoints.labels import Unit, is_count, is_joined, is_plain, is_score, labels_of
from trajfmt.sources.checkpoints.names import Name, literal, pattern_of
from trajfmt.sources.checkpoints.progress import STEPS, Counts
from trajfmt.sources.checkpoints.roles import bare

__all__ = ["MOST", "UNITS", "Numbered", "numbers_of", "spacing"]

UNITS: Final = {"": 1, "k": 1000, "K": 1000, "M": 1_000_000}
"""What a letter behind a number multiplies it by."""

_TRAINER: Final = ("checkpoint-", "")
"""The form of transformers' folders, whose number is a step."""

_INTERVAL: Final = 50
"""The least interval of fairseq's updates that is told from other numbers."""

_DIGITS: Final = 5
"""The digits that an epoch does not have."""

_FAIRSEQ: Final = ("checkpoint_", "_", "")
"""The form of fairseq's names, whose numbers are the epoch and the update."""

MOST: Final = 2**53
"""The largest number of the format."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """The numbers of some checkpoints."""

    numbers: tuple[int, ...]
    """The numbers, in the order of the given names."""

    unit: Unit | None
    """The unit of the numbers, or None if the names do not contain it."""


def numbers_of(names: Sequence[str], folder: object, counts: Sequence[Counts] = ()) -> Numbered:
    """Return the number of every checkpoint: the step, otherwise the epoch, otherwise the only number.

    Args:
        names: the names of the checkpoints. A name without an ending is that of a folder.
        folder: their folder, for error messages.
        counts: what the checkpoints store about their place in the run, if that has been read. It makes a
            number certain that is the same in all names.

    Raises:
        SourceError: a name has no number, names have different forms, or it is not certain which number is
            the step. The message contains the names, and says what to do.
    """
    parsed = [Name.of(name) for name in names]
    for name in parsed:
        if not name.numbers:
            raise _refused(
                f"{display(name.full)} has no number in its name, so its place in the run is unknown;"
                " rename it, e.g. to step=1000 with the same ending, or move it elsewhere",
                folder,
            )
        if (name.texts, name.units) != (parsed[0].texts, parsed[0].units):
            raise _mixed(parsed, parsed[0], name, folder)
    if not parsed:
        return Numbered((), None)
    labels = [found[0] if len(found) == 1 else None for found in labels_of(parsed[0].texts)]
    place, unit = _place(parsed, labels, folder, counts)
    numbers = _read(parsed, place, folder)
    if unit == "step" and "epoch" in labels and not _agree(parsed, labels.index("epoch"), numbers):
        raise _refused(
            f"the steps of {display(parsed[0].full)} and the others begin again in each epoch, so they give"
            " no order; rename them, e.g. to step=1000",
            folder,
        )
    return Numbered(numbers, unit)


def _place(
    parsed: Sequence[Name], labels: list[Unit | None], folder: object, counts: Sequence[Counts]
) -> tuple[int, Unit | None]:
    """Return which number of names of one form is the step, and its unit if it is known."""
    first = parsed[0]
    columns = list(zip(*(name.numbers for name in parsed), strict=True))
    varying = [place for place, column in enumerate(columns) if len(set(column)) > 1]
    if first.texts == _TRAINER and first.full == bare(first.full):
        return 0, "step"
    updates = columns[1] if first.texts == _FAIRSEQ else ()
    if _are_updates(updates) and _are_epochs(parsed, list(map(int, updates))):
        return 1, "step"
    named = [place for unit in ("step", "epoch") for place, label in enumerate(labels) if label == unit]
    if not varying:  # one checkpoint, or several with the same number
        place = (named or [len(columns) - 1])[0]
        return place, labels[place]
    certain = [place for place in named if place in varying]
    free = [place for place in varying if is_score(parsed, place) or _is_seen(parsed, place, certain)]
    others = [place for place in varying if place not in (*certain, *free)]
    once = len({labels[place] for place in certain}) == len(certain)
    if len(varying) == 1 and not any(labels_of(first.texts)) and is_plain(first, varying[0]):
        return varying[0], None
    if others or not once or not certain or any(is_joined(first.texts, place) for place in certain):
        parts = are_parts([name.full for name in parsed])
        if not parts and (stored := _stored(parsed, varying, counts)) is not None:
            return stored
        raise _uncertain(parsed, [*certain, *others[::-1], *varying], varying, labels, folder)
    return certain[0], labels[certain[0]]


def _stored(
    parsed: Sequence[Name], varying: Sequence[int], counts: Sequence[Counts]
) -> tuple[int, Unit] | None:
    """Return which number of the names all checkpoints store themselves, and its unit, or None.

    Beside it, only scores may vary, and the epochs in the names of fairseq.
    """
    units: list[tuple[str, Unit]] = [*((key, "step") for key in STEPS), ("epoch", "epoch")]
    for key, unit in units if len(counts) == len(parsed) else ():
        values = [count.get(key) for count in counts]
        for place in varying if len(set(values)) == len(values) else ():
            texts = [name.numbers[place] for name in parsed]
            whole = all(
                text.isdigit() and not name.units[place] for text, name in zip(texts, parsed, strict=True)
            )
            if not whole or list(map(int, texts)) != values:
                continue
            others = [each for each in varying if each != place and not is_score(parsed, each)]
            fairseq = (
                parsed[0].texts == _FAIRSEQ and place == 1 and _are_epochs(parsed, list(map(int, texts)))
            )
            if not others or fairseq:
                return place, unit
    return None


def _is_seen(parsed: Sequence[Name], place: int, certain: Sequence[int]) -> bool:
    """Return whether a number is that of the data seen, and rises with the step."""
    if not certain or not is_count(parsed[0], place):
        return False
    pairs = sorted((float(name.numbers[certain[0]]), float(name.numbers[place])) for name in parsed)
    return all(a[1] <= b[1] for a, b in itertools.pairwise(pairs))


def _are_updates(numbers: Sequence[str]) -> bool:
    """Return whether numbers may be those of fairseq's updates: multiples of a round interval."""
    whole = all(number.isdigit() and not number.startswith("0") for number in numbers)
    return whole and math.gcd(*map(int, numbers)) >= _INTERVAL


def _are_epochs(parsed: Sequence[Name], updates: Sequence[int]) -> bool:
    """Return whether the first numbers of names may be the epochs of fairseq, given the updates.

    They begin anywhere, leave none out, never fall, and are smaller than the updates.
    """
    texts = [name.numbers[0] for name in parsed]
    if not all(text.isdigit() and len(text) < _DIGITS for text in texts):
        return False
    epochs = [int(text) for text in texts]
    dense = max(epochs) - min(epochs) < len(set(epochs))
    below = all(epoch < update for epoch, update in zip(epochs, updates, strict=True))
    return dense and below and _agree(parsed, 0, updates)


def _uncertain(
    parsed: Sequence[Name], places: list[int], varying: list[int], labels: list[Unit | None], folder: object
) -> SourceError:
    """Return the error for names whose order is not certain, with the pattern that states it.

    Args:
        parsed: the names.
        places: the places of the numbers that may be the step, the most likely first.
        varying: the places of all numbers that vary.
        labels: what each number is called.
        folder: the folder of the checkpoints.
    """
    first = parsed[0]
    if are_parts([name.full for name in parsed]):
        return _refused(
            f"{display(first.full)} and the others are parts of the weights, by their names; merge them"
            " first, or leave one of each step here if it holds all weights",
            folder,
        )
    place = next((each for each in places if all(name.numbers[each].isdigit() for name in parsed)), None)
    other = next(name for name in parsed if name.numbers != first.numbers)
    both = f"{display(first.full)} and {display(other.full)} differ in"
    if place is None:
        return _refused(
            f"{both} numbers that are not known to be steps, and not whole; if they give the order, rename"
            " them, e.g. to step=1000",
            folder,
        )
    unit = labels[place] or "step"
    numbers = [literal(number) for number in first.numbers]
    for index in varying:
        numbers[index] = "*"
    numbers[place] = f"{{{unit}}}"
    option = f"--select {shlex.quote(display(first.pattern(tuple(numbers))))}"
    if len(varying) > 1:
        return _refused(
            f"{both} several numbers, and not each is known; say which one is the {unit}: {option} for a run"
            " of each text of *, or with {any} in place of * for one run",
            folder,
        )
    what = "may be a part of a longer one" if is_joined(first.texts, place) else f"may be no {unit}"
    epochs = " ({epoch} for epochs)" if labels[place] is None else ""
    return _refused(f"{both} a number that {what}; if it is the {unit}, say so: {option}{epochs}", folder)


def _agree(parsed: Sequence[Name], place: int, numbers: Sequence[int]) -> bool:
    """Return whether a second number, the epoch, never falls where the first one rises."""
    epochs = [name.numbers[place] for name in parsed]
    if not all(epoch.isdigit() for epoch in epochs):
        return False
    pairs = sorted((number, int(epoch)) for number, epoch in zip(numbers, epochs, strict=True))
    return all(a[1] <= b[1] for a, b in itertools.pairwise(pairs))


def _read(parsed: Sequence[Name], place: int, folder: object) -> tuple[int, ...]:
    """Return the whole number at a place of each name."""
    factor = UNITS[parsed[0].units[place]]
    found = []
    for name in parsed:
        text = name.numbers[place]
        if not text.isdigit():
            raise _refused(
                f"{display(name.full)}: {text} is no whole number, as steps are; rename it", folder
            )
        if len(text) > len(str(MOST)) or int(text) * factor > MOST:
            raise _refused(f"{display(name.full)}: no step is that large", folder)
        found.append(int(text) * factor)
    return tuple(found)


def _mixed(parsed: Sequence[Name], one: Name, other: Name, folder: object) -> SourceError:
    pattern, count = Counter(pattern_of(name.full) for name in parsed).most_common(1)[0]
    chosen = [name for name in parsed if PurePath(name.full).match(pattern)]
    choice = f"choose those of one kind, e.g. with --select {shlex.quote(display(pattern))}, or "
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

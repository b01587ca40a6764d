"""The training step of a checkpoint, from its name.

Training scripts number their files in many ways: `step=1000`, `epoch=3-step=1200`, `checkpoint-500`,
`model_12`, `ckpt_00500`, `iter_0001000`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from trajfmt.errors import SourceError, display

__all__ = ["Numbered", "Unit", "bare", "is_alias", "natural", "numbers_of", "spacing"]

Unit = Literal["step", "epoch"]

_SUFFIXES: Final = re.compile(r"(\.(pt|pth|ckpt|bin|safetensors|tar))+\Z", re.IGNORECASE)
_VERSION: Final = re.compile(r"-v\d+\Z")
"""The suffix that Lightning appends if a name is already used."""

_COUNT: Final = r"[=_\-. ]?([0-9]+)(\.[0-9]+(?![\-_.0-9]))?"
"""A number, and a fraction that follows it, as in `epoch=1.5`. Steps have no fraction."""

_LABELLED: Final[dict[Unit, re.Pattern[str]]] = {
    "step": re.compile(r"(?<![a-z])(?:global_?step|steps?|iters?|iterations?|itr)" + _COUNT, re.I),
    "epoch": re.compile(r"(?<![a-z])(?:epochs?|ep)" + _COUNT, re.I),
}
_HUGGINGFACE: Final = re.compile(r"checkpoint-([0-9]+)()")
_NUMBER: Final = re.compile(r"[0-9]+")
_WORDS: Final = "last|latest|best|final|top|init|swa|ema|averaged"
_ALIAS: Final = re.compile(
    rf"(?:.*[_\-.])?(?:{_WORDS})|(?:{_WORDS})[_\-.][^0-9]*|"
    "(?:pytorch_)?model|checkpoint|ckpt|weights|adapter_model|consolidated",
    re.I,
)
_MOST: Final = 2**53
"""The largest number of the format."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """The numbers of some checkpoints."""

    numbers: tuple[int, ...]
    """The numbers, in the order of the given names."""

    unit: Unit | None
    """The unit of the numbers, or None if the names do not contain it."""


def bare(name: str) -> str:
    """Return a name without the suffixes of checkpoints and without Lightning's version suffix.

    >>> bare("epoch=3-step=1200-v1.ckpt"), bare("model_12.pth.tar")
    ('epoch=3-step=1200', 'model_12')
    """
    return _VERSION.sub("", _SUFFIXES.sub("", name))


def is_alias(name: str) -> bool:
    """Return whether a name refers to a checkpoint without its step, such as `last.ckpt` or `model_best.pth`.

    >>> is_alias("last-v1.ckpt"), is_alias("resnet18_best.pth.tar"), is_alias("best-epoch=1.ckpt")
    (True, True, False)
    """
    return _ALIAS.fullmatch(bare(name)) is not None


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
        names: the names of the checkpoints.
        folder: their folder, for error messages.

    Raises:
        SourceError: a name has no number, or several numbers vary. The message contains the name.
    """
    plain = [bare(name) for name in names]
    numbered = _labelled(plain, folder) or Numbered(_varying(names, plain, folder), None)
    for name, number in zip(names, numbered.numbers, strict=True):
        if number > _MOST:
            raise SourceError("nothing_to_convert", f"{display(name)}: no step is that large", path=folder)
    return numbered


def _labelled(plain: Sequence[str], folder: object) -> Numbered | None:
    """Return the numbers that all names label as steps, or all as epochs. Otherwise None."""
    if (found := _all(_HUGGINGFACE, plain, folder, whole=True)) is not None:
        return Numbered(found, "step")
    for unit, pattern in _LABELLED.items():
        if (found := _all(pattern, plain, folder)) is not None:
            return Numbered(found, unit)
    return None


def _all(
    pattern: re.Pattern[str], texts: Sequence[str], folder: object, *, whole: bool = False
) -> tuple[int, ...] | None:
    """Return the number that a pattern finds in each text, or None if one text does not match.

    Raises:
        SourceError: a number has a fraction.
    """
    found = [pattern.fullmatch(text) if whole else pattern.search(text) for text in texts]
    matches = [match for match in found if match]
    if len(matches) != len(texts):
        return None
    for text, match in zip(texts, matches, strict=True):
        if match[2]:
            raise SourceError(
                "nothing_to_convert",
                f"{display(text)}: {match[1]}{match[2]} is no whole number, as steps are; rename it",
                path=folder,
            )
    return tuple(int(match[1]) for match in matches)


def _varying(names: Sequence[str], plain: Sequence[str], folder: object) -> tuple[int, ...]:
    """Return the number at the only place where names of the same form differ.

    If only one name has a form, it is the last number in that name.

    Raises:
        SourceError: a name has no number, or names of one form differ in several numbers.
    """
    forms: dict[str, list[int]] = {}
    for index, text in enumerate(plain):
        if not _NUMBER.search(text):
            raise SourceError(
                "nothing_to_convert",
                f"{display(names[index])} has no number in its name, so its place in the run is unknown;"
                " rename it, e.g. to step=1000 with the same ending, or move it elsewhere",
                path=folder,
            )
        forms.setdefault(_NUMBER.sub("0", text), []).append(index)
    found = [0] * len(names)
    for members in forms.values():
        columns = list(zip(*(map(int, _NUMBER.findall(plain[index])) for index in members), strict=True))
        varying = [column for column in columns if len(set(column)) > 1]
        if len(varying) > 1:
            raise SourceError(
                "nothing_to_convert",
                f"{display(names[members[0]])} and {display(names[members[1]])} differ in several numbers;"
                " say in the names which is the step, as in step=1000",
                path=folder,
            )
        for index, number in zip(members, (varying or columns)[-1], strict=True):
            found[index] = number
    return tuple(found)


def spacing(numbers: Sequence[int]) -> int | None:
    """Return the difference of consecutive numbers, or None if it varies.

    >>> spacing([500, 1000, 1500]), spacing([1, 2, 4])
    (500, None)
    """
    steps = {b - a for a, b in itertools.pairwise(numbers)}
    return steps.pop() if len(steps) == 1 else None

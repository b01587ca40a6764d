"""Which step of training a checkpoint is of, from its name alone.

Owns the ways in which training scripts number their files: `step=1000`, `epoch=3-step=1200`,
`checkpoint-500`, `model_12`, `ckpt_00500`, `iter_0001000`. Numbers are compared as numbers.
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
"""What Lightning appends where a name is taken."""

_COUNT: Final = r"[=_\-. ]?([0-9]+)(\.[0-9]+(?![\-_.0-9]))?"
"""A number, and what makes it none of steps, as in `epoch=1.5`."""

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
    """In the order of the names that were given."""

    unit: Unit | None
    """What they count, if the names say."""


def bare(name: str) -> str:
    """Return a name without the suffixes of checkpoints, and without Lightning's version.

    >>> bare("epoch=3-step=1200-v1.ckpt"), bare("model_12.pth.tar")
    ('epoch=3-step=1200', 'model_12')
    """
    return _VERSION.sub("", _SUFFIXES.sub("", name))


def is_alias(name: str) -> bool:
    """Return whether a name stands for a checkpoint without saying which: `last.ckpt`, `model_best.pth`.

    >>> is_alias("last-v1.ckpt"), is_alias("resnet18_best.pth.tar"), is_alias("best-epoch=1.ckpt")
    (True, True, False)
    """
    return _ALIAS.fullmatch(bare(name)) is not None


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts names as people number them.

    >>> sorted(["run10", "run9"], key=natural)
    ['run9', 'run10']
    """
    parts = re.split("([0-9]+)", name)
    return [(0, int(part), "") if index % 2 else (1, 0, part) for index, part in enumerate(parts)]


def numbers_of(names: Sequence[str], folder: object) -> Numbered:
    """Return the number of every checkpoint: its step, else its epoch, else the one number that varies.

    Raises:
        SourceError: a name has no number, or several that could be meant; the message names it.
    """
    plain = [bare(name) for name in names]
    numbered = _labelled(plain, folder) or Numbered(_varying(names, plain, folder), None)
    for name, number in zip(names, numbered.numbers, strict=True):
        if number > _MOST:
            raise SourceError("nothing_to_convert", f"{display(name)}: no step is that large", path=folder)
    return numbered


def _labelled(plain: Sequence[str], folder: object) -> Numbered | None:
    """Return the numbers that all names call a step, or all call an epoch."""
    if (found := _all(_HUGGINGFACE, plain, folder, whole=True)) is not None:
        return Numbered(found, "step")
    for unit, pattern in _LABELLED.items():
        if (found := _all(pattern, plain, folder)) is not None:
            return Numbered(found, unit)
    return None


def _all(
    pattern: re.Pattern[str], texts: Sequence[str], folder: object, *, whole: bool = False
) -> tuple[int, ...] | None:
    """Return what a pattern finds in every text, or None if it does not.

    Raises:
        SourceError: it finds a number with a fraction.
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
    """Return the number at the one place where names of one form differ; of a single name, the last."""
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
    """Return the distance of neighbouring numbers, or None if it varies.

    >>> spacing([500, 1000, 1500]), spacing([1, 2, 4])
    (500, None)
    """
    steps = {b - a for a, b in itertools.pairwise(numbers)}
    return steps.pop() if len(steps) == 1 else None

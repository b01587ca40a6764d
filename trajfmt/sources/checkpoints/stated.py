"""A pattern of `--select` in which the user says what the number in the names is: `'gpt2_{step}.pt'`.

`{step}` or `{epoch}` stands for a whole number: all digits 0 to 9 that follow each other at its place, and
nothing else, so that `1_000`, `1k` and `0.5` do not match, under a wildcard neither. `{any}` stands for text
that may differ within one run. Everything else in the path is the name of the run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import translate
from pathlib import PurePath
from typing import Final, NamedTuple, cast

from trajfmt.errors import SourceError, UsageError, display
from trajfmt.sources.checkpoints.labels import Unit
from trajfmt.sources.checkpoints.numbering import MOST, UNITS

__all__ = ["Reading", "Stated"]

_NUMBER: Final = re.compile(r"\{(step|epoch)\}")
_DIGITS: Final = re.compile(r"[0-9]+")
_TOKEN: Final = re.compile(r"\{any\}|\*+|\[!?\]?[^\]]*\]|.", re.S)


_WILD_END: Final = re.compile(r"(?:\*|\?|\]|\{any\})\Z")
_WILD_START: Final = re.compile(r"\*|\?|\[|\{any\}")
_PART_BEFORE: Final = re.compile(r"(?:(?:\A|[-_. =])-|[0-9][-_.,' ]|[0-9]e[-+]?)\Z")
_PART_BEHIND: Final = re.compile(r"[-_.,' ][0-9]|[kKM](?![A-Za-z0-9])|e[-+]?[0-9]")
"""What makes digits under a wildcard a part of a longer number: `0.5`, `-5`, `1_000`, `1k`, `1e5`."""

_LETTER: Final = re.compile(r"[kKM](?![A-Za-z0-9])")


class Reading(NamedTuple):
    """What a pattern finds in a path."""

    number: int
    run: str
    """The name of the run: the path with a zero byte in place of the number and of what `{any}` is."""


@dataclass(frozen=True, slots=True)
class Stated:
    """A pattern with `{step}` or `{epoch}`."""

    pattern: str
    unit: Unit

    @classmethod
    def of(cls, pattern: str) -> Stated | None:
        """Return a pattern of `--select`, or None if it does not say what a number is.

        >>> Stated.of("net_{epoch}.pt").unit, Stated.of("net_*.pt")
        ('epoch', None)

        Raises:
            UsageError: it has several such numbers.
        """
        found = _NUMBER.findall(pattern)
        if len(found) > 1:
            raise UsageError(
                f"--select {display(pattern)!r} has {len(found)} numbers that give the order: use {{step}} or"
                " {epoch} once, and {any} for what else differs"
            )
        return cls(pattern, cast(Unit, found[0])) if found else None

    def nearly(self, path: PurePath) -> bool:
        """Return whether a path would match if any text might be in the place of the number."""
        return path.match(_NUMBER.sub("*", self.pattern).replace("{any}", "*"))

    def read(self, path: PurePath) -> Reading | None:
        """Return the number in a path and the name of its run, or None if the path does not match.

        The pattern is compared with the end of the path, folder by folder.

        >>> Stated.of("a_{step}.pt").read(PurePath("x/a_010.pt")).number
        10
        >>> Stated.of("a_{step}k.pt").read(PurePath("a_10k.pt")).number
        10000

        Raises:
            SourceError: the pattern fits in several ways, or the number is too large.
        """
        parts, patterns = path.parts, PurePath(self.pattern).parts
        kept = list(parts[: -len(patterns)])
        if len(parts) < len(patterns):
            return None
        number = None
        for part, pattern in zip(parts[-len(patterns) :], patterns, strict=True):
            readings = _readings(part, pattern)
            if not readings:
                return None
            if len(readings) > 1:
                raise SourceError(
                    "nothing_to_convert",
                    f"--select {display(self.pattern)!r} fits this path in several ways; write more of the"
                    " name around the number",
                    path=path,
                )
            found, rest = readings.pop()
            number = number if found is None else found
            kept.append(rest)
        assert number is not None
        if number > MOST:
            raise SourceError("nothing_to_convert", "no step is that large", path=path)
        return Reading(number, "/".join(kept))


def _readings(part: str, pattern: str) -> set[tuple[int | None, str]]:
    """Return the ways in which a pattern fits a name: the number, if it has one, and the text without it."""
    split = _NUMBER.split(pattern)
    if len(split) == 1:
        return {(None, rest) for rest in _rests(part, pattern)}
    return {
        (int(digits[0]) * _factor(part[digits.end() :]), left + "\0" + right)
        for digits in _DIGITS.finditer(part)
        if not (_WILD_END.search(split[0]) and _PART_BEFORE.search(part[: digits.start()]))
        if not (_WILD_START.match(split[2]) and _PART_BEHIND.match(part[digits.end() :]))
        for left in _rests(part[: digits.start()], split[0])
        for right in _rests(part[digits.end() :], split[2])
    }


def _factor(behind: str) -> int:
    """Return what a letter behind the number in a pattern multiplies it by: `{step}k` is thousands."""
    letter = _LETTER.match(behind)
    return UNITS[letter[0]] if letter else 1


def _rests(text: str, pattern: str) -> set[str]:
    """Return a text without what `{any}` stands for, in up to two ways; nothing if it does not match."""
    found = {_regex(pattern, wild).fullmatch(text) for wild in (".*", ".*?")}  # the first and the last way
    return {_without(match) for match in found if match}


def _without(match: re.Match[str]) -> str:
    kept, start = "", 0
    for index in range(1, len(match.groups()) + 1):
        kept += match.string[start : match.start(index)] + "\0"
        start = match.end(index)
    return kept + match.string[start:]


def _regex(pattern: str, wild: str) -> re.Pattern[str]:
    pieces = []
    for token in _TOKEN.findall(pattern):
        if token == "{any}":
            pieces.append(f"({wild})")
        else:
            pieces.append(wild if token[0] == "*" else translate(token)[4:].rpartition(")")[0])
    return re.compile("".join(pieces), re.S)

"""Which of two statements about the experts is used, such as an option and the name of a folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from trajfmt.schema.facts import CALLED, ORIGINS, phrase
from trajfmt.schema.facts import parts as parts_of
from trajfmt.schema.provenance import KnownFrom

__all__ = ["Statement", "preferred"]


class Statement(NamedTuple):
    """A fact, and how it is known."""

    fact: Any
    """The value; None if nothing is stated."""

    origin: KnownFrom | None = None
    contradicts: bool = False
    """Whether it replaces another one that contradicts it."""


def preferred(name: str, stronger: Statement, weaker: Statement, notice: Callable[[str], None]) -> Statement:
    """Return the stronger of two statements, with what only the weaker says.

    Args:
        name: the name of the fact in the provenance.
        stronger: the statement that is used.
        weaker: the one that it replaces.
        notice: called with a message if the two contradict each other.
    """
    if stronger.fact is None or weaker.fact is None:
        return weaker if stronger.fact is None else stronger
    ours, theirs = parts_of(stronger.fact), parts_of(weaker.fact)
    differing = [key for key in ours if key in theirs and ours[key] != theirs[key]]
    more = {key: getattr(weaker.fact, key) for key in theirs if key not in ours}
    if differing:
        used, left = (phrase({key: each[key] for key in differing}) for each in (ours, theirs))
        known = f" (known from {ORIGINS[weaker.origin]})" if weaker.origin else ", as the source says"
        notice(
            f"{CALLED.get(name, name)}: {used}, as {ORIGINS[stronger.origin or 'flag']} says, and not"
            f" {left}{known}"
        )
        if name != "model" or "family" in differing:
            return stronger._replace(contradicts=True)
    fact = msgspec.structs.replace(stronger.fact, **more) if more else stronger.fact
    says_less = more and not differing and ours.keys() <= theirs.keys()
    return Statement(fact, weaker.origin if says_less else stronger.origin, bool(differing))

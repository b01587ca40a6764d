"""The page of one thing or of several: sections for each, and a comparison of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from trajfmt.errors import counted
from trajfmt.pages.markup import Markup, brief, element
from trajfmt.pages.page import fitting, page, section
from trajfmt.pages.parts import note

__all__ = ["MOST", "Report"]

Thing = TypeVar("Thing")

MOST: Final = 10
"""Things that have sections of their own at most. All are in the comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Generic[Thing]):
    """How to report on things of one kind."""

    noun: str
    """What a thing is called, such as `bundle`."""

    where: str
    """The preposition before its place, such as `at`."""

    sections: Sequence[tuple[str, str, Callable[[Thing], Markup]]]
    """Anchor, title and content of each section."""

    compared: Callable[[Sequence[Thing], Sequence[str]], Markup]
    """The comparison of several things, given with their names."""

    foot: str
    """The line below everything."""

    def render(self, things: Sequence[Thing], places: Sequence[str], names: Sequence[str]) -> bytes:
        """Return the page in UTF-8. Equal things give equal bytes.

        Args:
            things: what the page is about, at least one.
            places: the place of each, such as its path.
            names: short and different names of them.
        """
        names = [brief(name, 80) for name in names]
        if len(things) == 1:
            return page(
                names[0],
                *(section(anchor, title, make(things[0])) for anchor, title, make in self.sections),
                lead=f"Report of the {self.noun} {self.where} {brief(places[0], 200)}",
                contents=[(anchor, title) for anchor, title, _ in self.sections],
                foot=self.foot,
            )
        numbered = enumerate(zip(things, places, names, strict=True), start=1)
        own = (self._of_one(f"{self.noun[0]}{number}", *each) for number, each in numbered)
        made = fitting(section("comparison", "Comparison", self.compared(things, names)), own, MOST)
        shown = names[: len(made) - 1]
        contents = [(f"{self.noun[0]}{number}", name) for number, name in enumerate(shown, start=1)]
        if left := len(things) - len(shown):
            more = counted(left, f"more {self.noun}")
            made.append(note(f"{more} in the comparison only: those before have sections of their own."))
        return page(
            counted(len(things), self.noun),
            *made,
            lead=f"Report of {brief(', '.join(names), 300)}",
            contents=[("comparison", "Comparison"), *contents],
            foot=self.foot,
        )

    def _of_one(self, anchor: str, thing: Thing, place: str, name: str) -> Markup:
        """Return the section with all sections of one thing."""
        lead = None if name == place else element("p", {"class": "lead"}, brief(place, 200))
        own = [
            section(f"{anchor}-{part}", title, make(thing), level=3) for part, title, make in self.sections
        ]
        return section(anchor, name, lead, *own)

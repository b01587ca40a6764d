"""The skeleton of a page: head, contents and sections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from trajfmt.pages.markup import Markup, element, group
from trajfmt.pages.style import STYLE

__all__ = ["LIMIT", "fitting", "page", "section"]

LIMIT: Final = 2_000_000
"""Largest size of a page in bytes, which whoever fills one keeps to."""

_ROOM: Final = 50_000
"""Bytes for the style sheet, the title and the list of contents."""

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What a browser may load for a page: nothing but the styles and images in it, and no script at all."""


def section(anchor: str, title: str, *content: Markup | None, level: int = 2) -> Markup:
    """Return a section with a heading.

    Args:
        anchor: its name in addresses; letters, digits and hyphens.
        title: the heading.
        content: what it shows.
        level: level of the heading, from 2.
    """
    heading = element(f"h{level}", {"id": f"{anchor}-title"}, title)
    return element("section", {"id": anchor, "aria-labelledby": f"{anchor}-title"}, heading, *content)


def fitting(first: Markup, others: Iterable[Markup], most: int) -> list[Markup]:
    """Return a section and the first others that fit on a page with it, at most `most` of them.

    Args:
        first: the section that is always shown.
        others: the sections after it. Those that do not fit are not made, if this is a generator.
        most: number of others to return at most.

    Example:
        >>> short, long = Markup("x"), Markup("x" * LIMIT)
        >>> len(fitting(short, [short, short, long], 5)), len(fitting(short, [short, short], 1))
        (3, 2)
    """
    made, left = [first], LIMIT - _ROOM - len(first.encode())
    for other in others:
        left -= len(other.encode())
        if left < 0 or len(made) > most:
            break
        made.append(other)
    return made


def page(
    title: str,
    *content: Markup | None,
    lead: str,
    contents: Sequence[tuple[str, str]],
    foot: str,
) -> bytes:
    """Return a whole page in UTF-8.

    Args:
        title: the title.
        content: its sections.
        lead: a sentence below the title.
        contents: anchor and title of the sections in the list of contents.
        foot: the last line.
    """
    head = group(
        element("meta", {"charset": "utf-8"}),
        element("meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        element("title", {}, title),
        element("style", {}, Markup(STYLE)),
    )
    links = [element("li", {}, element("a", {"href": f"#{anchor}"}, name)) for anchor, name in contents]
    body = group(
        element("header", {}, element("h1", {}, title), element("p", {"class": "lead"}, lead)),
        element("nav", {"aria-label": "Contents"}, element("ul", {}, *links)) if links else None,
        element("main", {}, *content),
        element("footer", {}, foot),
    )
    made = element("html", {"lang": "en"}, element("head", {}, head), element("body", {}, body))
    return f"<!DOCTYPE html>\n{made}\n".encode()

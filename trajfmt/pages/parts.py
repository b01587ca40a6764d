"""Parts of a page: figures with captions, tables, tiles with the most important numbers, and notes."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence

from trajfmt.pages.markup import Markup, element

__all__ = ["figure", "figures", "note", "picture", "table", "tiles"]

Cell = str | int | float | None


def tiles(facts: Iterable[tuple[str, Cell, Cell]]) -> Markup:
    """Return the most important facts as a row of tiles: name, value, and a remark or None."""
    return element(
        "dl",
        {"class": "tiles"},
        *(
            element(
                "div",
                {},
                element("dt", {}, name),
                element("dd", {}, value, None if remark is None else element("small", {}, remark)),
            )
            for name, value, remark in facts
        ),
    )


def table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    numeric: Iterable[int] = (),
    wide: Iterable[int] = (),
) -> Markup:
    """Return a table whose first column names its rows. A wide one scrolls on a narrow screen.

    Args:
        caption: what the table shows.
        head: names of the columns.
        rows: the cells of each row.
        numeric: numbers of the columns that hold numbers, which are aligned on the right.
        wide: numbers of the columns that take the space that is left.
    """
    kinds = dict.fromkeys(numeric, "number") | dict.fromkeys(wide, "wide")
    names = [
        element("th", {"scope": "col", "class": kinds.get(n)}, text or Markup("&nbsp;"))
        for n, text in enumerate(head)
    ]
    body = []
    for row in rows:
        first = element("th", {"scope": "row", "class": kinds.get(0)}, row[0])
        rest = [element("td", {"class": kinds.get(n)}, cell) for n, cell in enumerate(row[1:], start=1)]
        body.append(element("tr", {}, first, *rest))
    made = element(
        "table",
        {},
        element("caption", {}, caption),
        element("thead", {}, element("tr", {}, *names)),
        element("tbody", {}, *body),
    )
    return element("div", {"class": "scroll", "role": "region", "tabindex": 0, "aria-label": caption}, made)


def figure(title: str, content: Markup, *caption: Cell) -> Markup:
    """Return a chart or a picture with a title above and an explanation below."""
    return element(
        "figure",
        {},
        element("p", {"class": "title"}, title),
        content,
        element("figcaption", {}, *caption) if caption else None,
    )


def figures(*made: Markup | None) -> Markup:
    """Return figures side by side where there is room."""
    return element("div", {"class": "figures"}, *made)


def note(*content: Cell) -> Markup:
    """Return a remark on what is missing, or on how something is shown."""
    return element("p", {"class": "note", "role": "note"}, *content)


def picture(png: bytes, alt: str, *, width: int, height: int) -> Markup:
    """Return a PNG that is part of the page.

    Args:
        png: the content of the file.
        alt: what it shows, for screen readers.
        width: width in pixels of the page.
        height: height in pixels of the page.
    """
    data = Markup(f"data:image/png;base64,{base64.b64encode(png).decode()}")
    return element("img", {"src": data, "alt": alt, "width": width, "height": height})

"""Facts, a table and a picture as one fragment of HTML, which notebooks show for an object.

The fragment has neither scripts nor colours: it takes those of the page, so that it can be read in light and
in dark notebooks. All text is escaped and cut, so that the whole is small whatever is in it.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from typing import Final

from trajfmt.errors import display

__all__ = ["LIMIT", "MAX_PICTURE", "card"]

LIMIT: Final = 50_000
"""Largest fragment in bytes, so that a notebook with many of them stays small."""

MAX_PICTURE: Final = 34_000
"""Largest picture in bytes. In base64 it takes a third more, which leaves room for the facts."""

_CELL, _VALUE, _NOTE = 50, 160, 240
"""Characters that are shown of a text in the table, of the value of a fact, and of the note."""

_FACTS, _ROWS, _COLUMNS = 12, 20, 4
"""Facts, rows and columns that are shown. An escaped character takes up to six bytes."""

_LEFT: Final = ' style="text-align:left"'


def card(
    title: str,
    facts: Sequence[tuple[str, object]],
    *,
    columns: Sequence[str] = (),
    rows: Sequence[Sequence[object]] = (),
    total: int | None = None,
    picture: bytes | None = None,
    width: int = 0,
    note: str = "",
) -> str:
    """Return a fragment of HTML of at most `LIMIT` bytes.

    Args:
        title: what the object is.
        facts: names and values, shown one below the other.
        columns: names of the columns of the table, at most 4.
        rows: the rows of the table. After the first 20, the others are only counted.
        total: number of rows, if `rows` are only the first ones.
        picture: a picture as PNG. It is left out if the fragment would be too large.
        width: the width in pixels at which the picture is shown.
        note: a remark below the picture.

    Example:
        >>> card("Two facts", [("name", "<b>"), ("number", 3)]).count("&lt;b&gt;")
        1
    """
    parts = [f"<div><strong>{_text(title)}</strong>"]
    if facts:
        shown = "".join(_fact(name, value) for name, value in facts[:_FACTS])
        parts.append(f"<table>{shown}</table>")
    if columns and rows:
        shown = "".join(_row("td", row) for row in rows[:_ROWS])
        parts.append(f"<table><thead>{_row('th', columns)}</thead><tbody>{shown}</tbody></table>")
        if (left := (total or len(rows)) - min(len(rows), _ROWS)) > 0:
            parts.append(f"<div>… and {left:,} more</div>")
    end = f"<div>{_text(note, _NOTE)}</div></div>" if note else "</div>"
    if picture is not None:
        data = base64.b64encode(picture).decode()
        style = f"width:{width}px;max-width:100%;image-rendering:pixelated"
        image = f'<img alt="{_text(title)}" style="{style}" src="data:image/png;base64,{data}">'
        if len("".join([*parts, image, end]).encode()) <= LIMIT:
            parts.append(image)
    return "".join([*parts, end])


def _fact(name: str, value: object) -> str:
    return f"<tr><th{_LEFT}>{_text(name)}</th><td{_LEFT}>{_text(value, _VALUE)}</td></tr>"


def _row(cell: str, values: Sequence[object]) -> str:
    return "<tr>" + "".join(f"<{cell}{_LEFT}>{_text(v)}</{cell}>" for v in values[:_COLUMNS]) + "</tr>"


def _text(value: object, most: int = _CELL) -> str:
    """Return a value as one escaped line of at most `most` characters."""
    text = str(value)
    text = display(text[: most + 1])
    return html.escape(text if len(text) <= most else text[: most - 1] + "…")

"""Self-contained HTML pages: markup, charts as inline SVG, and the skeleton with its style.

A page has no script, loads nothing, and is readable in print and in light and dark. Every text is escaped in
one place, `markup.element`. This folder knows no bundle: it may import `errors` only.

Modules:
    markup: elements of HTML and SVG, with all text escaped.
    numbers: numbers and other plain values as text.
    axes: the frame of a chart: scales, ticks and labels.
    charts: line charts, plane curves, bars and sparklines.
    parts: figures, tables and tiles.
    style: the style sheet.
    page: the skeleton of a page.
    report: the page of one thing or of several.
"""

from trajfmt.pages.charts import Series, bar, lines, plane, sparkline
from trajfmt.pages.markup import Markup, brief, element, group
from trajfmt.pages.numbers import fact, number, percent, seconds
from trajfmt.pages.page import LIMIT, fitting, page, section
from trajfmt.pages.parts import figure, figures, note, picture, table, tiles
from trajfmt.pages.report import Report

__all__ = [
    "LIMIT",
    "Markup",
    "Report",
    "Series",
    "bar",
    "brief",
    "element",
    "fact",
    "figure",
    "figures",
    "fitting",
    "group",
    "lines",
    "note",
    "number",
    "page",
    "percent",
    "picture",
    "plane",
    "seconds",
    "section",
    "sparkline",
    "table",
    "tiles",
]

"""The page of one bundle or of several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from trajfmt.pages import Markup, brief, element, many, note, page, section
from trajfmt.reports import comparison, layers, path, sections
from trajfmt.reports.bundle import BundleReport
from trajfmt.reports.names import short_names
from trajfmt.version import __version__

__all__ = ["MOST_SECTIONS", "render"]

MOST_SECTIONS: Final = 10
"""Bundles that have sections of their own at most. All are in the comparison."""

_SECTIONS: Final[tuple[tuple[str, str, Callable[[BundleReport], Markup]], ...]] = (
    ("summary", "Summary", sections.summary),
    ("path", "The path", path.content),
    ("progress", "Progress of the layers", layers.progress),
    ("layers", "Parameters and layers", layers.layers),
    ("storage", "Storage", sections.storage),
    ("integrity", "Integrity", sections.integrity),
    ("provenance", "Provenance", sections.provenance),
)


def render(reports: Sequence[BundleReport]) -> bytes:
    """Return the page in UTF-8. Equal bundles give equal bytes.

    Args:
        reports: the bundles, at least one.
    """
    places = [report.summary.path for report in reports]
    names = [brief(name, 80) for name in short_names(places)]
    foot = f"Made by trajfmt {__version__} from the files of the bundle alone; the page loads nothing."
    if len(reports) == 1:
        (report,) = reports
        shown = [section(anchor, title, make(report)) for anchor, title, make in _SECTIONS]
        contents = [(anchor, title) for anchor, title, _ in _SECTIONS]
        return page(names[0], *shown, lead=f"Report of {brief(places[0], 200)}", contents=contents, foot=foot)
    made = [section("comparison", "Comparison", comparison.content(reports, names))]
    contents = [("comparison", "Comparison")]
    for number, (name, report) in enumerate(zip(names[:MOST_SECTIONS], reports, strict=False), start=1):
        own = [section(f"b{number}-{a}", title, make(report), level=3) for a, title, make in _SECTIONS]
        place = element("p", {"class": "lead"}, brief(report.summary.path, 200))
        made.append(section(f"b{number}", name, place, *own))
        contents.append((f"b{number}", name))
    if len(reports) > MOST_SECTIONS:
        left = many(len(reports) - MOST_SECTIONS, "more bundle")
        made.append(
            note(f"{left} in the comparison only: the first {MOST_SECTIONS} have sections of their own.")
        )
    title = many(len(reports), "bundle")
    return page(title, *made, lead=f"Report of {brief(', '.join(names), 300)}", contents=contents, foot=foot)

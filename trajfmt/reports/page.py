"""The page of one bundle or of several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from trajfmt.pages import Markup, brief, element, fitting, many, note, page, section
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
        lead = f"Report of the bundle at {brief(places[0], 200)}"
        return page(names[0], *shown, lead=lead, contents=contents, foot=foot)
    own = (
        _section(f"b{number}", name, report)
        for number, (name, report) in enumerate(zip(names, reports, strict=True), start=1)
    )
    made = fitting(
        section("comparison", "Comparison", comparison.content(reports, names)), own, MOST_SECTIONS
    )
    count = len(made) - 1
    contents = [("comparison", "Comparison"), *((f"b{n + 1}", names[n]) for n in range(count))]
    if len(reports) > count:
        left = many(len(reports) - count, "more bundle")
        made.append(note(f"{left} in the comparison only: those before have sections of their own."))
    title = many(len(reports), "bundle")
    return page(title, *made, lead=f"Report of {brief(', '.join(names), 300)}", contents=contents, foot=foot)


def _section(anchor: str, name: str, report: BundleReport) -> Markup:
    """Return the section with all sections of one bundle."""
    where = report.summary.path
    place = None if name == where else element("p", {"class": "lead"}, brief(where, 200))
    own = [section(f"{anchor}-{part}", title, make(report), level=3) for part, title, make in _SECTIONS]
    return section(anchor, name, place, *own)

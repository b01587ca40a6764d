"""The page of one bundle or of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trajfmt.pages import Report
from trajfmt.reports import comparison, layers, path, sections
from trajfmt.reports.bundle import BundleReport
from trajfmt.storage import short_names
from trajfmt.version import __version__

__all__ = ["render"]

_REPORT: Final = Report(
    noun="bundle",
    where="at",
    sections=(
        ("summary", "Summary", sections.summary),
        ("path", "The path", path.content),
        ("progress", "Progress of the layers", layers.progress),
        ("layers", "Parameters and layers", layers.layers),
        ("storage", "Storage", sections.storage),
        ("integrity", "Integrity", sections.integrity),
        ("provenance", "Provenance", sections.provenance),
    ),
    compared=comparison.content,
    foot=f"Made by trajfmt {__version__} from the files of the bundle alone; the page loads nothing.",
)


def render(reports: Sequence[BundleReport]) -> bytes:
    """Return the page in UTF-8. Equal bundles give equal bytes.

    Args:
        reports: the bundles, at least one.
    """
    places = [report.summary.path for report in reports]
    return _REPORT.render(reports, places, short_names(places))

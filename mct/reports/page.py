"""The page of one run or of several."""

from collections.abc import Sequence
from typing import Final

import trajfmt
from mct.reports import classes, comparison, sections
from mct.reports.run import Described
from trajfmt.pages import Report
from trajfmt.storage import short_names

_REPORT: Final = Report(
    noun="run",
    where="in",
    sections=(
        ("summary", "Summary", sections.summary),
        ("images", "Images", sections.images),
        ("curves", "Curves", sections.curves),
        ("classes", "Accuracy by class", classes.classes),
        ("settings", "Settings", sections.settings),
        ("times", "Times and machine", sections.times),
        ("bundle", "Trajectories", sections.bundle),
    ),
    compared=comparison.content,
    foot=f"Made by trajfmt {trajfmt.__version__} from the files of the run alone; the page loads nothing.",
)


def render(runs: Sequence[Described]) -> bytes:
    """Return the page in UTF-8. Equal runs give equal bytes.

    Args:
        runs: The runs, at least one.
    """
    places = [run.facts.path for run in runs]
    return _REPORT.render(runs, places, short_names(places))

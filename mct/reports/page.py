"""The page of one run or of several."""

from collections.abc import Callable, Sequence
from typing import Final

import trajfmt
from mct.reports import comparison, sections
from mct.reports.run import Described
from trajfmt.pages import Markup, brief, element, fitting, many, note, page, section
from trajfmt.reports import short_names

MOST_SECTIONS: Final = 10
"""Runs that have sections of their own at most. All are in the comparison."""

_SECTIONS: Final[tuple[tuple[str, str, Callable[[Described], Markup]], ...]] = (
    ("summary", "Summary", sections.summary),
    ("images", "Images", sections.images),
    ("curves", "Curves", sections.curves),
    ("settings", "Settings", sections.settings),
    ("times", "Times and machine", sections.times),
    ("bundle", "Trajectories", sections.bundle),
)


def render(runs: Sequence[Described]) -> bytes:
    """Return the page in UTF-8. Equal runs give equal bytes.

    Args:
        runs: The runs, at least one.
    """
    places = [run.facts.path for run in runs]
    names = [brief(name, 80) for name in short_names(places)]
    foot = f"Made by trajfmt {trajfmt.__version__} from the files of the run alone; the page loads nothing."
    if len(runs) == 1:
        (run,) = runs
        made = [section(anchor, title, make(run)) for anchor, title, make in _SECTIONS]
        contents = [(anchor, title) for anchor, title, _ in _SECTIONS]
        return page(
            names[0],
            *made,
            lead=f"Report of the run in {brief(places[0], 200)}",
            contents=contents,
            foot=foot,
        )
    own = (
        _section(f"r{number}", name, run)
        for number, (name, run) in enumerate(zip(names, runs, strict=True), start=1)
    )
    made = fitting(section("comparison", "Comparison", comparison.content(runs, names)), own, MOST_SECTIONS)
    count = len(made) - 1
    contents = [("comparison", "Comparison"), *((f"r{n + 1}", names[n]) for n in range(count))]
    if len(runs) > count:
        left = many(len(runs) - count, "more run")
        made.append(note(f"{left} in the comparison only: those before have sections of their own."))
    title = many(len(runs), "run")
    return page(title, *made, lead=f"Report of {brief(', '.join(names), 300)}", contents=contents, foot=foot)


def _section(anchor: str, name: str, run: Described) -> Markup:
    """Return the section with all sections of one run."""
    where = run.facts.path
    place = None if name == where else element("p", {"class": "lead"}, brief(where, 200))
    own = [section(f"{anchor}-{part}", title, make(run), level=3) for part, title, make in _SECTIONS]
    return section(anchor, name, place, *own)

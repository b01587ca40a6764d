"""The accuracy of every class, as a section of the page of a run."""

from typing import Final

from mct.reports.run import Described, Evaluated
from mct.reports.sections import best, held, tested_on
from trajfmt.pages import Markup, brief, element, group, note, percent, table

NOT_RECORDED: Final = "No evaluation has recorded the accuracy of every class."
"""What the page says where there is none."""


def classes(run: Described) -> Markup:
    """Return the accuracy of every class, the lowest first."""
    facts = run.facts
    found = _chosen([facts.tested, *(best(facts, on) for on in reversed(tested_on([facts])))])
    if found is None or found.by_class is None or len(found.by_class) != len(facts.class_names):
        return note(NOT_RECORDED)
    pairs = zip(facts.class_names, found.by_class, strict=True)
    known = sorted(((share, brief(name, 40)) for name, share in pairs if share is not None), key=_share)
    rows = [(name, percent(share)) for share, name in known]
    where = f"On {held(found.on)}, after {found.step:,} outer steps; the mean over all networks."
    return group(
        element("p", {}, where), table("Accuracy by class", ("class", "accuracy"), rows, numeric=(1,))
    )


def _share(row: tuple[float, str]) -> float:
    return row[0]


def _chosen(found: list[Evaluated | None]) -> Evaluated | None:
    """Return the first evaluation that has recorded the accuracy of every class."""
    return next((one for one in found if one is not None and one.by_class is not None), None)

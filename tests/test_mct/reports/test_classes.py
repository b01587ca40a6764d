"""The section of a page with the accuracy of every class."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("torch")
from mct.reports import classes
from mct.reports.run import Evaluated


def run_of(*evaluations: Evaluated, tested: Evaluated | None = None) -> SimpleNamespace:
    """Return a run of three classes."""
    facts = SimpleNamespace(evaluations=evaluations, tested=tested, class_names=("cat", "<dog>", "emu"))
    return SimpleNamespace(facts=facts)


def evaluated(mean: float, by_class: tuple[float | None, ...] | None, on: str = "heldout") -> Evaluated:
    """Return an evaluation after seven steps."""
    return Evaluated(step=7, mean=mean, std=None, networks=1, on=on, by_class=by_class)


def test_lowest_class_is_first_and_names_are_escaped() -> None:
    """Of the best evaluation, or of the test of the best images; a class without images is left out."""
    poor, good = evaluated(0.2, (0.1, 0.1, 0.1)), evaluated(0.5, (0.9, 0.25, None))
    page = str(classes.classes(run_of(poor, good)))
    assert page.index("&lt;dog&gt;") < page.index("25%") < page.index("cat") < page.index("90%")
    assert "emu" not in page
    assert "held-out" in page
    final = evaluated(0.4, (0.3, 0.4, 0.5), "test")
    page = str(classes.classes(run_of(good, tested=final)))
    assert "the test set" in page
    assert "emu" in page


def test_runs_without_say_so() -> None:
    """Those that were not evaluated, and those of earlier versions."""
    for run in (run_of(), run_of(evaluated(0.5, None))):
        assert classes.NOT_RECORDED in str(classes.classes(run))

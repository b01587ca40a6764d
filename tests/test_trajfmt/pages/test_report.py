"""The page of one thing or of several."""

from __future__ import annotations

import pytest

from trajfmt.pages import Report, element
from trajfmt.pages.report import MOST


@pytest.fixture
def report() -> Report[str]:
    """Return a report on texts, with one section for each and the names as their comparison."""
    return Report(
        noun="text",
        where="in",
        sections=[("content", "Content", lambda text: element("p", {}, text))],
        compared=lambda texts, names: element("p", {}, f"{len(texts)}: {' and '.join(names)}"),
        foot="The end.",
    )


def test_one_thing_has_its_sections_at_the_top(report: Report[str]) -> None:
    """There is nothing to compare."""
    page = report.render(["<one>"], ["a/place"], ["name"]).decode()
    assert "Report of the text in a/place" in page
    assert "&lt;one&gt;" in page
    assert "Comparison" not in page


def test_several_things_are_compared_and_follow(report: Report[str]) -> None:
    """Those that are too many are in the comparison alone, and the page says so."""
    few = report.render(["one", "two"], ["p/a", "p/b"], ["a", "b"]).decode()
    assert "2: a and b" in few
    assert few.index('id="t1"') < few.index("<p>one") < few.index('id="t2"') < few.index("<p>two")
    count = MOST + 2
    names = [f"n{number}" for number in range(count)]
    many = report.render(["x"] * count, names, names).decode()
    assert f'id="t{MOST}"' in many
    assert f'id="t{MOST + 1}"' not in many
    assert "2 more texts in the comparison only" in many

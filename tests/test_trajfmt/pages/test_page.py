"""The skeleton of a page, with tables, tiles and pictures in it."""

from __future__ import annotations

import re

import pytest

from tests.helpers.pages import assert_sound
from trajfmt.pages import (
    figure,
    figures,
    note,
    number,
    page,
    percent,
    picture,
    seconds,
    section,
    table,
    tiles,
)
from trajfmt.pages.style import STYLE


def test_a_page_of_everything_is_sound() -> None:
    """Tables have captions and scopes, pictures a text, sections a heading, and nothing is loaded."""
    content = section(
        "one",
        "First",
        tiles([("name", "<value>", None), ("other", 3, "remark")]),
        table("Caption", ("a", ""), [("x", "1"), ("y", None)], numeric=(1,)),
        figures(figure("Title", picture(b"\x89PNG", "a picture", width=2, height=3), "text"), None),
        note("missing"),
    )
    made = page("<title>", content, lead="lead", contents=[("one", "First")], foot="foot")
    found = assert_sound(made)
    assert "<value>" in found.text
    policy = [one["content"] for one in found.all("meta") if one.get("http-equiv")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    assert made == page("<title>", content, lead="lead", contents=[("one", "First")], foot="foot")


def test_every_colour_has_a_dark_one() -> None:
    """Each variable of the light scheme but those of the layout is set again in the dark one."""
    light, dark = STYLE.split("@media screen and (prefers-color-scheme: dark)")[:2]
    assert set(re.findall(r"--\w+(?=:)", light)) == set(re.findall(r"--\w+(?=:)", dark.split("* {")[0]))


def test_style_loads_nothing() -> None:
    """No font, picture or sheet from elsewhere, and braces in pairs."""
    assert "url(" not in STYLE
    assert "@import" not in STYLE
    assert STYLE.count("{") == STYLE.count("}")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (number(-0.5), "-0.5"),
        (number(float("nan")), "-"),
        (number(123456.7), "123,457"),
        (number(-float("inf")), "-∞"),
        (percent(0.5), "50%"),
        (percent(0.0), "0%"),
        (percent(float("inf")), "-"),
        (seconds(59.99), "60 s"),
        (seconds(3599), "59 min 59 s"),
    ],
)
def test_numbers_as_text(shown: str, expected: str) -> None:
    """Numbers at the ends of their ranges."""
    assert shown == expected

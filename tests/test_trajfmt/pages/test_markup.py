"""Elements, and texts in them that would be markup if they were not escaped."""

from __future__ import annotations

from html import unescape

from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.pages import Page
from trajfmt.pages.markup import Markup, brief, element, group


@given(st.text())
def test_any_text_stays_text(text: str) -> None:
    """Neither content nor a value of an attribute opens or closes an element, or adds an attribute."""
    page = Page(element("p", {"title": text, "id": "one"}, text).encode("utf-8", "surrogatepass"))
    assert [tag for tag, _ in page.elements] == ["p"]
    assert set(page.elements[0][1]) == {"title", "id"}


def test_control_characters_and_directions_are_shown() -> None:
    """A text cannot turn the direction of what follows it, or hide behind a control character."""
    shown = element("b", {}, "a\u202eb\x1bc")
    assert unescape(shown) == "<b>a\\u202eb\\x1bc</b>"


def test_markup_is_not_escaped_twice() -> None:
    """Elements nest, None adds nothing, and numbers are text."""
    inner = element("i", {"class": None}, "<")
    assert inner == "<i>&lt;</i>"
    assert group(inner, None, 3, "<") == "<i>&lt;</i>3&lt;"
    assert isinstance(group(inner), Markup)


def test_elements_without_content_have_no_end() -> None:
    """HTML has no `</br>`, and elements of SVG are closed at once."""
    assert element("br") == "<br>"
    assert element("rect", {"width": 2}) == '<rect width="2"/>'


@given(st.text(), st.integers(3, 40))
def test_brief_keeps_the_ends(text: str, most: int) -> None:
    """A long text loses its middle only, and is never longer than asked."""
    short = brief(text, most)
    assert len(short) <= most
    assert short == text or (short[0] == text[0] and short[-1] == text[-1] and "…" in short)

"""Fragments of HTML: small and harmless whatever is in them."""

from html.parser import HTMLParser

import pytest

from trajfmt.notebooks.card import LIMIT, MAX_PICTURE, card

HOSTILE = "\"'<script>alert(1)</script>&\x1b[31m‮" * 100


class Tags(HTMLParser):
    """Collects tags, attributes and text, and requires that tags are closed in order."""

    def __init__(self, fragment: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self._open: list[str] = []
        self.feed(fragment)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a tag."""
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "img":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the tag that was opened last."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        self.text += data


@pytest.mark.parametrize("size", [0, MAX_PICTURE, 10 * MAX_PICTURE])
def test_worst_content_stays_small_and_escaped(size: int) -> None:
    """Every place of a fragment is filled to its limit with what must be escaped."""
    many = [(HOSTILE, HOSTILE)] * 100
    rows = [(HOSTILE,) * 10] * 1000
    found = card(HOSTILE, many, columns=(HOSTILE,) * 10, rows=rows, picture=b"\0" * size, note=HOSTILE)
    assert len(found.encode()) <= LIMIT
    tags = Tags(found)
    assert set(tags.tags) <= {"div", "strong", "table", "thead", "tbody", "tr", "th", "td", "img"}
    assert tags.attributes <= {"style", "alt", "src"}
    assert "\x1b" not in found
    assert "‮" not in found
    assert "… and 980 more" in tags.text


def test_facts_rows_and_picture_are_shown() -> None:
    """With the words that were given; a picture of the largest size has room beside some facts."""
    facts = [("data set", "CIFAR10"), ("classes", 10)]
    tags = Tags(card("A set", facts, columns=("n", "name"), rows=[(0, "air<plane")], note="seen"))
    assert tags.text == "A setdata setCIFAR10classes10nname0air<planeseen"
    assert "img" in Tags(card("A set", facts, picture=b"\0" * MAX_PICTURE, width=64)).tags


def test_colours_are_those_of_the_page() -> None:
    """Light and dark notebooks show it alike: no colour and no background is set."""
    found = card("A set", [("a", 1)], columns=("n",), rows=[(0,)], picture=b"x", width=8, note="n")
    assert "color" not in found
    assert "background" not in found

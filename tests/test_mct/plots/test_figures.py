"""What the figures share: sizes, equal bytes, styles, and names that are taken literally."""

import io

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")
Image = pytest.importorskip("PIL.Image")

from mct.plots import figures  # noqa: E402


def test_pixels_and_bytes() -> None:
    """The size is that asked for; the same figure gives the same bytes, without the program's name."""
    found = []
    for _ in range(2):
        made = figures.figure(320, 200)
        made.subplots().plot([0, 1], [1, 0])
        found.append(figures.png(made))
    assert found[0] == found[1]
    with Image.open(io.BytesIO(found[0])) as picture:
        assert picture.size == (320, 200)
        assert "Software" not in picture.info


def test_styles_differ_for_as_many_lines_as_there_are() -> None:
    """Seven colours, then the same with other dashes; after all of them from the start."""
    styles = [tuple(figures.style(number).values()) for number in range(28)]
    assert len(set(styles)) == 28
    assert {colour for colour, _ in styles[:7]} == set(figures.COLOURS)
    assert {dashes for _, dashes in styles[:7]} == {"-"}
    assert tuple(figures.style(28).values()) == styles[0]


def test_names_in_a_legend_are_literal() -> None:
    """`$` starts no formula, `_` hides no line, and control characters are escaped."""
    made = figures.figure(400, 300)
    axes = made.subplots()
    (line,) = axes.plot(np.arange(2))
    figures.legend(axes, [line] * 3, ["_a", "$x", "a\x1b"], title="$")
    texts = axes.get_legend().get_texts()
    assert [text.get_text() for text in texts] == ["_a", "$x", "a\\x1b"]
    assert axes.get_legend().get_title().get_text() == "$"
    assert figures.png(made).startswith(b"\x89PNG")

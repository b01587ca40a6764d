"""What figures share: sizes, equal bytes, styles, and names that are taken literally."""

import io
import re
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
Image = pytest.importorskip("PIL.Image")

from trajfmt.errors import MissingDependencyError, UsageError  # noqa: E402
from trajfmt.plots import COLOURS, FORMATS, Page, Table, bars, legend, literal, render, style  # noqa: E402


@dataclass
class Line:
    """A plot of one line."""

    title: str = ""
    size: tuple[float, float] = (3.3, 2.6)
    label: str = "β"

    def paint(self, figure: Any) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [1, 0], **style(0))
        axes.set_ylabel(self.label)

    def table(self) -> Table:
        return Table(("x", "y"), [(0, 1.0), (1, 0.0)])


def test_pixels_of_a_png() -> None:
    """The size in inches times the dots per inch, which the file records; the plot's own size by default."""
    for page, pixels in ((Page(dpi=100), (330, 260)), (Page(size=(2, 1.999), dpi=72), (144, 144))):
        with Image.open(io.BytesIO(render(Line(), "png", page))) as picture:
            assert picture.size == pixels
            assert picture.info["dpi"] == pytest.approx((page.dpi, page.dpi), abs=0.02)


def test_page_of_a_pdf_and_view_of_an_svg() -> None:
    """Both are as large as the figure, in points of 1/72 inch; the PDF has no fonts of Type 3."""
    page = Page(size=(3.5, 2.25))
    pdf = render(Line(), "pdf", page)
    assert pdf.startswith(b"%PDF-")
    assert re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", pdf) == [(b"252", b"162")]
    assert b"/Type3" not in pdf
    root = ET.fromstring(render(Line(), "svg", page))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert (root.get("width"), root.get("height"), root.get("viewBox")) == ("252pt", "162pt", "0 0 252 162")


@pytest.mark.parametrize("kind", FORMATS)
def test_equal_plots_give_equal_bytes(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with other settings of the user; no date and no program is named."""
    first = render(Line(title="a"), kind, Page(dpi=50))
    monkeypatch.setitem(matplotlib.rcParams, "axes.facecolor", "red")
    monkeypatch.setitem(matplotlib.rcParams, "svg.hashsalt", None)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert render(Line(title="a"), kind, Page(dpi=50)) == first
    assert not re.search(rb"CreationDate|<dc:date|[Mm]atplotlib [v\d]|Software", first)


def test_settings_of_matplotlib_are_left_alone() -> None:
    """Drawing changes none of them, and does not load pyplot."""
    before = matplotlib.rcParams.copy()  # dict() would choose a backend, and load pyplot
    render(Line(), "svg")
    assert matplotlib.rcParams.copy() == before
    assert "matplotlib.pyplot" not in sys.modules


def test_numbers_need_no_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is missing, CSV is written, and a figure is refused with the command that installs it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert render(Line(), "csv") == b"x,y\n0,1.0\n1,0.0\n"
    with pytest.raises(MissingDependencyError, match=r"pip install 'trajfmt\[plot\]'"):
        render(Line(), "png")


def test_titles() -> None:
    """The plot's own, another one, or none; SVG and PDF carry it as text, with control characters escaped."""
    for plot, page, found in (
        (Line(title="own"), Page(), "own"),
        (Line(title="own"), Page(title="$x_{\x1b<&"), "$x_{\\x1b<&"),
        (Line(title="own"), Page(title=""), None),
        (Line(), Page(), None),
    ):
        root = ET.fromstring(render(plot, "svg", page))
        title = root.find("{http://www.w3.org/2000/svg}title")
        assert (None if title is None else title.text) == found
    assert b"/Title (own)" in render(Line(title="own"), "pdf")


@pytest.mark.parametrize("size", [(3.0,), (3.0, 2.0, 1.0), (0.5, 3.0), (3.0, 101.0), (float("nan"), 3.0)])
def test_sizes_that_are_refused(size: tuple[float, ...]) -> None:
    """Two lengths from 1 to 100 inches."""
    with pytest.raises(UsageError, match=r"the width and the height in inches, each from 1 to 100.*got"):
        Page(size=size)


def test_resolutions_that_are_refused() -> None:
    """Too coarse, too fine, and too many pixels for the memory; a PDF of this size has no pixels."""
    for dpi in (29, 2401):
        with pytest.raises(UsageError, match=f"30 to 2400 dots per inch, got {dpi}"):
            Page(dpi=dpi)
    with pytest.raises(UsageError, match="60 x 40 inches at 300 dots per inch are 18000 x 12000 pixels"):
        render(Line(), "png", Page(size=(60, 40)))
    assert render(Line(), "pdf", Page(size=(60, 40))).startswith(b"%PDF-")


def test_size_too_small_for_the_labels() -> None:
    """An error instead of a picture without axes."""
    with pytest.raises(UsageError, match="1 x 1 inches are too small for the labels"):
        render(Line(label="one\n" * 20), "svg", Page(size=(1, 1)))


def test_styles_differ_for_as_many_lines_as_there_are() -> None:
    """Seven colours, then the same with other dashes; after all of them from the start."""
    styles = [tuple(style(number).values()) for number in range(28)]
    assert len(set(styles)) == 28
    assert {colour for colour, _ in styles[:7]} == set(COLOURS)
    assert {dashes for _, dashes in styles[:7]} == {"-"}
    assert tuple(style(28).values()) == styles[0]


def test_names_are_literal() -> None:
    """`$` starts no formula, `_` hides no line, and control characters are escaped; bars have their names."""
    import matplotlib.figure

    names = ["_a", "$x", "a\x1b"]
    axes, more = matplotlib.figure.Figure().subplots(1, 2)
    (line,) = axes.plot(np.arange(2))
    legend(axes, [line] * 3, names, title="$")
    texts = axes.get_legend().get_texts()
    assert [text.get_text() for text in texts] == ["_a", "$x", "a\\x1b"]
    assert axes.get_legend().get_title().get_text() == "$"
    title = more.set_title("")
    literal(title, "a long $title", width=8)
    assert title.get_text() == "a long\n$title"
    bars(more, [1, 0, 2], names, ["1 MB", "0", "2"], ["red"] * 3)
    assert [tick.get_text() for tick in more.get_yticklabels()] == ["_a", "$x", "a\\x1b"]
    assert [patch.get_width() for patch in more.patches] == [1, 0, 2]
    assert not any(text.get_parse_math() for text in (*texts, title, *more.get_yticklabels()))

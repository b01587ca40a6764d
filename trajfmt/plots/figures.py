"""The size, the style and the encoding of figures.

pyplot is not used, and the settings of matplotlib, including those in the user's `matplotlibrc`, are replaced
only while a figure is drawn. Equal data therefore give equal bytes with the same version of matplotlib.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from trajfmt.errors import MissingDependencyError, UsageError, display
from trajfmt.plots.plot import Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

__all__ = [
    "COLOURMAP",
    "COLOURS",
    "DASHES",
    "FORMATS",
    "Format",
    "Page",
    "bars",
    "legend",
    "literal",
    "render",
    "style",
]

Format = Literal["png", "svg", "pdf", "csv"]

FORMATS: Final[tuple[Format, ...]] = ("png", "svg", "pdf", "csv")
"""The formats of `render`, which are also the suffixes of their files."""

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The colours of Okabe and Ito, which colour-blind people can distinguish."""

COLOURMAP: Final = "viridis"
"""matplotlib's colours for ordered numbers, which colour-blind people see as others do."""

DASHES: Final = ("-", "--", "-.", ":")

_STYLE: Final[dict[str, Any]] = {
    "font.family": "DejaVu Sans",  # the font that is part of matplotlib
    "font.size": 8,
    "figure.titlesize": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
    "legend.borderpad": 0.2,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#404040",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.color": "#404040",
    "ytick.color": "#404040",
    "lines.linewidth": 1.25,
    "lines.markersize": 4,
    "pdf.fonttype": 42,  # TrueType: publishers refuse Type 3
    "svg.fonttype": "path",  # the same picture on every machine
    "svg.hashsalt": "trajfmt",  # otherwise the names of elements are random
}

_METADATA: Final[dict[str, dict[str, None]]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""What matplotlib would write into every file and is left out: dates and its version."""

_LETTERS: Final = 14
"""Letters of a title that fit on an inch."""

_PIXELS: Final = 10**8
"""Largest number of pixels of a PNG. It takes 400 MB to draw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The size and the title of a figure.

    Raises:
        UsageError: a length or the resolution is out of range.
    """

    size: tuple[float, ...] | None = None
    """Width and height in inches, each from 1 to 100; None for those that suit the figure."""

    dpi: int = 300
    """Dots per inch of a PNG, from 30 to 2400."""

    title: str | None = None
    """Title; an empty one for none, and None for that of the plot."""

    def __post_init__(self) -> None:
        if self.size is not None and (len(self.size) != 2 or not all(1 <= side <= 100 for side in self.size)):
            raise UsageError(
                "the size must be the width and the height in inches, each from 1 to 100, such as 3.5,2.6;"
                f" got {','.join(f'{side:g}' for side in self.size)}"
            )
        if not 30 <= self.dpi <= 2400:
            raise UsageError(f"the resolution must be 30 to 2400 dots per inch, got {self.dpi}")


def render(plot: Plot, kind: Format, page: Page | None = None) -> bytes:
    """Draw a figure and encode it, or encode its numbers.

    Args:
        plot: what is drawn.
        kind: `png`, `svg` or `pdf` for the figure, and `csv` for its numbers.
        page: size, resolution and title.

    Returns:
        The content of the file. It contains no date and no version of a program.

    Raises:
        UsageError: the size is too small for the labels of the figure, or a PNG would have too many pixels.
        MissingDependencyError: matplotlib is not installed, and a figure was requested.
    """
    if kind == "csv":
        return plot.table().csv()
    page = page or Page()
    width, height = page.size or plot.size
    if kind == "png":
        # A PNG has whole pixels. The excess keeps matplotlib, which rounds down, from dropping one.
        columns, rows = (max(1, round(side * page.dpi)) for side in (width, height))
        if columns * rows > _PIXELS or max(columns, rows) >= 2**16:
            raise UsageError(
                f"{width:g} x {height:g} inches at {page.dpi} dots per inch are {columns} x {rows} pixels,"
                f" but at most {_PIXELS / 1e6:.0f} million are drawn; choose a smaller size or resolution"
            )
        width, height = ((count + 1e-6) / page.dpi for count in (columns, rows))
    require()
    import matplotlib.figure
    import matplotlib.style

    title = plot.title if page.title is None else page.title
    buffer = io.BytesIO()
    with matplotlib.style.context(["default", _STYLE]), warnings.catch_warnings():
        # Names may contain any character, also those that the font does not have.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("error", message="constrained_layout not applied")
        figure = matplotlib.figure.Figure(figsize=(width, height), dpi=page.dpi, layout="constrained")
        if title:
            literal(figure.suptitle("title"), title, width=int(_LETTERS * width))
        plot.paint(figure)
        metadata = _METADATA[kind] | ({"Title": display(title)} if title else {})
        try:
            figure.savefig(buffer, format=kind, metadata=metadata)
        except UserWarning as exc:
            raise UsageError(
                f"{width:.3g} x {height:.3g} inches are too small for the labels of this figure; choose a"
                " larger size"
            ) from exc
    return buffer.getvalue()


def require() -> None:
    """Require matplotlib.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as exc:
        raise MissingDependencyError("drawing needs matplotlib: pip install 'trajfmt[plot]'") from exc


def style(number: int) -> dict[str, Any]:
    """Return the colour and the line style of line `number`. Repeated colours have different line styles.

    Example:
        >>> style(0)
        {'color': '#0072B2', 'linestyle': '-'}
    """
    turn, colour = divmod(number, len(COLOURS))
    return {"color": COLOURS[colour], "linestyle": DASHES[turn % len(DASHES)]}


def literal(drawn: Text, text: str, *, width: int | None = None) -> None:
    """Set a text that is shown literally, even if it contains `$`, with control characters escaped.

    Args:
        drawn: the text in a figure.
        text: its new content.
        width: most letters of a line, after which another one begins; None for a single line.
    """
    drawn.set_parse_math(False)
    line = display(text)
    drawn.set_text(line if width is None else textwrap.fill(line, width))


def legend(
    axes: Axes, handles: Sequence[Any], names: Sequence[str], *, title: str = "", **place: Any
) -> None:
    """Add a legend whose names are shown literally, even if they contain `$` or begin with `_`.

    Args:
        axes: the axes to which the legend belongs.
        handles: the lines, or other artists.
        names: one name for each.
        title: the title of the legend, if it has one.
        place: where the legend is, as `matplotlib.axes.Axes.legend` takes it.
    """
    labels = [f"line {number}" for number in range(len(names))]
    made = axes.legend(handles, labels, title=title and "title", alignment="left", **place)
    for drawn, name in zip(made.get_texts(), names, strict=True):
        literal(drawn, name)
    if title:
        literal(made.get_title(), title)


def bars(
    axes: Axes, lengths: Sequence[float], names: Sequence[str], labels: Sequence[str], colours: Sequence[str]
) -> None:
    """Draw horizontal bars from top to bottom, with a name before each and a label behind it.

    Args:
        axes: empty axes.
        lengths: the length of each bar, at least 0.
        names: one name for each bar, shown literally.
        labels: one short text for each bar, such as its number with a unit.
        colours: one colour for each bar.
    """
    drawn = axes.barh(range(len(lengths)), lengths, color=colours, height=0.7)
    axes.bar_label(drawn, labels, padding=2, fontsize=7)
    axes.margins(x=0.15)
    axes.set_yticks(range(len(names)), [display(name) for name in names])
    for tick in axes.get_yticklabels():
        tick.set_parse_math(False)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")

"""What the plots share: a figure with its own Agg canvas, its bytes as PNG, colours, legends.

No pyplot and no state of matplotlib's is touched, so that a plot changes nothing for the caller and the
same data give the same bytes on one machine. matplotlib is imported where something is drawn, because it
takes a second.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from trajfmt.errors import display

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, which colour-blind people can tell apart."""

STYLES: Final = ("-", "--", "-.", ":")
_DPI = 100


def figure(width: int, height: int) -> Figure:
    """Return an empty figure of a size in pixels, with a canvas of its own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(made)
    return made


def png(drawn: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file, without the name of the program in it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer, canvas = io.BytesIO(), cast(Any, FigureCanvasAgg(drawn))  # its methods have no types
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # any folder's name
        canvas.print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def style(number: int) -> dict[str, Any]:
    """Return colour and dashes of line `number`; colours repeat, with other dashes."""
    turn, colour = divmod(number, len(COLOURS))
    return {"color": COLOURS[colour], "linestyle": STYLES[turn % len(STYLES)]}


def legend(axes: Axes, handles: Sequence[Any], names: Sequence[str], *, title: str) -> None:
    """Add a legend whose names are taken literally: `$` and a leading `_` mean something to matplotlib."""
    made = axes.legend(handles, [f"line {number}" for number in range(len(names))], title="title", fontsize=9)
    made.get_title().set_fontsize(9)
    for text, name in zip([made.get_title(), *made.get_texts()], [title, *names], strict=True):
        text.set_parse_math(False)
        text.set_text(display(name))

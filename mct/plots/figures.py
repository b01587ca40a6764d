"""Creating, styling and encoding figures.

Figures have their own Agg canvas. Neither pyplot nor any other global state of matplotlib is used, so drawing
does not affect the caller, and equal data give equal bytes on the same machine. matplotlib is imported inside
functions, because the import takes a second.
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
"""The colours of Okabe and Ito, which colour-blind people can distinguish."""

STYLES: Final = ("-", "--", "-.", ":")
_DPI = 100


def figure(width: int, height: int) -> Figure:
    """Return an empty figure of `width` x `height` pixels with its own canvas."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(made)
    return made


def png(drawn: Figure) -> bytes:
    """Encode a figure as PNG, without the version of matplotlib in the metadata."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer, canvas = io.BytesIO(), cast(Any, FigureCanvasAgg(drawn))  # its methods are not typed
    with warnings.catch_warnings():
        # The name of a folder may contain any character.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        canvas.print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def style(number: int) -> dict[str, Any]:
    """Return the colour and the line style of line `number`. Repeated colours have different line styles."""
    turn, colour = divmod(number, len(COLOURS))
    return {"color": COLOURS[colour], "linestyle": STYLES[turn % len(STYLES)]}


def legend(axes: Axes, handles: Sequence[Any], names: Sequence[str], *, title: str) -> None:
    """Add a legend whose names are shown literally, even if they contain `$` or begin with `_`."""
    made = axes.legend(handles, [f"line {number}" for number in range(len(names))], title="title", fontsize=9)
    made.get_title().set_fontsize(9)
    for text, name in zip([made.get_title(), *made.get_texts()], [title, *names], strict=True):
        text.set_parse_math(False)
        text.set_text(display(name))

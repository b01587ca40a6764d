"""Elements of HTML and SVG. All text is escaped here, since facts of a bundle may be anybody's text."""

from __future__ import annotations

import html
from collections.abc import Mapping

from trajfmt.errors import display

__all__ = ["Markup", "brief", "element", "group"]

_VOID = frozenset({"br", "circle", "img", "line", "meta", "path", "polyline", "rect"})
"""Elements without content."""


class Markup(str):
    """Text that is markup already, so that `element` does not escape it again."""

    __slots__ = ()


Child = str | int | float | None
"""Content of an element. None adds nothing, and text that is no `Markup` is escaped."""


def element(name: str, attributes: Mapping[str, Child] | None = None, /, *children: Child) -> Markup:
    """Return an element.

    Args:
        name: name of the element. It is not escaped, so it must not come from data.
        attributes: values by name. The values are escaped, the names are not. A value of None is left out.
        children: the content. Text is escaped, control characters and marks of direction included.

    Example:
        >>> element("a", {"href": "#one"}, "<b> & more", element("br"))
        '<a href="#one">&lt;b&gt; &amp; more<br></a>'
    """
    given = {key: value for key, value in (attributes or {}).items() if value is not None}
    opened = "".join([name, *(f' {key}="{_escaped(value)}"' for key, value in given.items())])
    if name in _VOID and not children:
        return Markup(f"<{opened}>" if name in ("br", "img", "meta") else f"<{opened}/>")
    return Markup(f"<{opened}>{group(*children)}</{name}>")


def group(*children: Child) -> Markup:
    """Return several children as one, each of them escaped unless it is markup.

    Example:
        >>> group("1 < 2", None, element("br"))
        '1 &lt; 2<br>'
    """
    return Markup("".join(_text(child) for child in children if child is not None))


def brief(text: object, most: int = 120) -> str:
    """Return a text without its middle if it has more than `most` characters.

    Example:
        >>> brief("a" * 200, 9)
        'aaaa…aaaa'
    """
    whole = str(text)
    half = (most - 1) // 2
    return whole if len(whole) <= most else f"{whole[: most - 1 - half]}…{whole[-half:]}"


def _text(child: Child) -> str:
    return str(child) if isinstance(child, Markup) else _escaped(child)


def _escaped(value: Child) -> str:
    """Return any value as text in which no character has a meaning of its own."""
    return html.escape(display(value), quote=True)

"""Short names that distinguish several paths or addresses."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["short_names"]


def short_names(places: Sequence[str]) -> list[str]:
    """Return the end of each path, with as many folders as are needed to tell all of them apart.

    Example:
        >>> short_names(["a/x/two.mct", "b/x/two.mct"]), short_names(["runs/one/"])
        (['a/x/two.mct', 'b/x/two.mct'], ['one'])
    """
    parts = [[part for part in place.split("/") if part] or [place] for place in places]
    depth, deepest = 1, max(map(len, parts), default=1)
    while depth < deepest and len({tuple(part[-depth:]) for part in parts}) < len(set(map(tuple, parts))):
        depth += 1
    return ["/".join(part[-depth:]) for part in parts]

"""What a bundle says of itself, in the words of a figure."""

from __future__ import annotations

from collections.abc import Sequence

from trajfmt.bundle.numbering import numbering_of
from trajfmt.bundle.reader import Bundle
from trajfmt.storage.names import short_names

__all__ = ["labels", "names_of", "shortened", "timestep_axis", "title_of"]

_LONGEST = 40
"""Characters of a name that are shown at most."""

_NAMED = 2
"""Bundles that a title names at most."""


def timestep_axis(bundle: Bundle, trajectory: int = 0) -> str:
    """Return the label of an axis of timesteps, with what they are if the bundle states it.

    Timestep t is only labelled as t epochs or steps if it is that.

    Args:
        bundle: the bundle.
        trajectory: the number of the trajectory that is drawn.
    """
    found = numbering_of(bundle.manifest, trajectory=trajectory)
    if found.kind is not None and (found.every, found.first) == (1, 0):
        return f"timestep ({found.kind}s)"
    return f"timestep ({found.words})" if found.words else "timestep"


def shortened(name: str) -> str:
    """Return a name without its middle if it is long.

    Example:
        >>> shortened("a" * 20 + "b" * 20 + "c" * 20)
        'aaaaaaaaaaaaaaaaaaa…cccccccccccccccccccc'
    """
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2 - 1]}…{name[-_LONGEST // 2 :]}"


def labels(names: Sequence[str]) -> list[str]:
    """Return names that may be long as labels of one figure, of which no two are the same.

    Example:
        >>> labels(["one", "two", "two"])
        ['one', 'two', 'two (2)']
    """
    found: list[str] = []
    for name in names:
        label, number = shortened(name), 1
        while label in found:
            number += 1
            label = f"{shortened(name)} ({number})"
        found.append(label)
    return found


def names_of(bundles: Sequence[Bundle]) -> list[str]:
    """Return a label for each bundle: as much of its path or address as tells all of them apart."""
    return labels(short_names([str(bundle.place) for bundle in bundles]))


def title_of(bundles: Sequence[Bundle], trajectory: int) -> str:
    """Return the title of a figure of one trajectory, which one or several bundles hold."""
    dataset = bundles[0].manifest.provenance.dataset
    names = " and ".join(names_of(bundles)) if len(bundles) <= _NAMED else f"{len(bundles)} bundles"
    return f"{names}, {'' if dataset is None else f'{dataset}, '}trajectory {trajectory}"

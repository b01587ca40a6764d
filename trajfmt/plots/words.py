"""What a bundle says of itself, in the words of a figure."""

from __future__ import annotations

from trajfmt.bundle.numbering import numbering_of
from trajfmt.bundle.reader import Bundle

__all__ = ["last_part", "name_of", "shortened", "timestep_axis", "title_of"]

_LONGEST = 40
"""Characters of a name that are shown at most."""


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


def last_part(place: str) -> str:
    """Return the last part of the path or the address of a bundle, without its middle if it is long.

    Example:
        >>> last_part("https://host/folder/two.mct/")
        'two.mct'
    """
    return shortened(place.rstrip("/").rpartition("/")[2] or place)


def name_of(bundle: Bundle) -> str:
    """Return the name of a bundle: the last part of its path or address."""
    return last_part(str(bundle.place))


def title_of(bundle: Bundle, trajectory: int) -> str:
    """Return the title of a figure of one trajectory."""
    dataset = bundle.manifest.provenance.dataset
    return f"{name_of(bundle)}, {'' if dataset is None else f'{dataset}, '}trajectory {trajectory}"

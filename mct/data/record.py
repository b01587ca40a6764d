"""The record of a preprocessing in results of mct, which may be of one kind more than that of a bundle.

The kinds in a bundle are a part of its format, and are closed. Images of a run without a bundle may also be
whitened as directions, kind `unit-zca`. Results record it, bundles cannot.
"""

from typing import Final, Literal

import trajfmt

UNIT_ZCA: Final = "unit-zca"
"""The kind that only results have."""


class Preprocessing(trajfmt.Preprocessing, frozen=True, kw_only=True, omit_defaults=True):
    """A preprocessing of any kind. `eps` of `unit-zca` is a share of the mean eigenvalue."""

    kind: Literal["none", "normalize", "zca", "unit-zca"]  # type: ignore[assignment]  # wider than a bundle's


def known(kind: str) -> trajfmt.Preprocessing | None:
    """Return the preprocessing of a kind whose values are still to be fitted; None if there is no such kind.

    Example:
        >>> known("zca").kind, known("unit-zca").kind, known("sepia")
        ('zca', 'unit-zca', None)
    """
    match kind:
        case "none" | "normalize" | "zca":
            return trajfmt.Preprocessing(kind=kind)
        case "unit-zca":
            return Preprocessing(kind=kind)
    return None


def narrowed(found: Preprocessing) -> trajfmt.Preprocessing:
    """Return a record as a bundle's where its kind is one of a bundle, so that equal records are equal."""
    if found.kind == UNIT_ZCA:
        return found
    return trajfmt.Preprocessing(**{name: getattr(found, name) for name in found.__struct_fields__})

"""A part of a larger bundle: which of its trajectories are in this one.

Work that is divided between machines writes one bundle for each of them. A private key in the manifest of
such a bundle says which trajectories of the whole it has, so that a merge can put them into their order. The
whole, in which none is missing, has no such key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from trajfmt.errors import CorruptError, UsageError
from trajfmt.schema.manifest import Manifest

__all__ = ["KEY", "Part"]

KEY: Final = "x_trajfmt_part"
"""The private key of the manifest."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a bundle says about the larger one that it is a part of.

    Raises:
        UsageError: a number is not below `of`, or the numbers do not rise.

    Example:
        >>> Part((17,), of=100).extensions
        {'x_trajfmt_part': {'numbers': [17], 'of': 100}}
        >>> Part((0, 2, 3), of=6).missing
        [1, 4, 5]
    """

    numbers: tuple[int, ...]
    """The number in the whole of each trajectory of this bundle, in order."""

    of: int
    """How many trajectories the whole has."""

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip((-1, *self.numbers), self.numbers, strict=False))
        if not self.numbers or not rising or self.numbers[-1] >= self.of:
            raise UsageError(
                f"the numbers of a part of {self.of} trajectories must rise and be below {self.of},"
                f" got {str(self.numbers[:8])[1:-1] or 'none'}"
            )

    @classmethod
    def stated_by(cls, manifest: Manifest, *, path: object = None) -> Part | None:
        """Return the part that a manifest says it is; None if it says nothing.

        Args:
            manifest: the manifest.
            path: the path that error messages name.

        Raises:
            CorruptError: the value of the key is none that a part can have, or it names more or fewer
                trajectories than there are, as after an append.
        """
        value = manifest.extensions.get(KEY)
        if value is None:
            return None
        wrong = f"`{KEY}` must give the number of each trajectory in the whole, and how many these are"
        if not isinstance(value, Mapping) or set(value) != {"numbers", "of"}:
            raise CorruptError("manifest_inconsistent", wrong, path=path)
        numbers, of = value["numbers"], value["of"]
        whole = isinstance(numbers, list) and all(type(number) is int for number in (of, *numbers))
        count = len(manifest.trajectories) + len(manifest.refused)
        if not whole:
            raise CorruptError("manifest_inconsistent", wrong, path=path)
        if len(numbers) != count:
            raise CorruptError(
                "manifest_inconsistent",
                f"it is a part with {len(numbers)} trajectories of a larger bundle, but has {count}, as if"
                " some had been appended; traj convert makes a bundle of it that is no part",
                path=path,
            )
        try:
            return cls(tuple(numbers), of)
        except UsageError as exc:
            raise CorruptError("manifest_inconsistent", str(exc), path=path) from exc

    @classmethod
    def joined(cls, parts: Iterable[Part]) -> Part:
        """Return the part that has the trajectories of several parts of one whole."""
        parts = list(parts)
        return cls(tuple(sorted(number for part in parts for number in part.numbers)), parts[0].of)

    @property
    def missing(self) -> list[int]:
        """Return the numbers of the trajectories that the part lacks."""
        return sorted(set(range(self.of)) - set(self.numbers))

    @property
    def extensions(self) -> dict[str, Any]:
        """Return the private keys that state this in a manifest: none if nothing is missing."""
        return {KEY: {"numbers": list(self.numbers), "of": self.of}} if self.missing else {}

"""The regions of files that a manifest claims for its arrays. They lie within their files and do not overlap.

Together with a bound on how far chunks may expand, this makes the work of a reader a multiple of the bytes
that exist, whatever a manifest claims.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import CorruptError, UnsafeError

__all__ = ["Regions"]

Integers = NDArray[np.int64]


class Regions:
    """The regions that the trajectories of one manifest claim.

    Args:
        sizes: bytes of every listed file, by name.
        path: the path that error messages name.
    """

    def __init__(self, sizes: Mapping[str, int], path: object) -> None:
        self._sizes = sizes
        self._path = path
        self._claims: dict[str, list[tuple[Integers, Integers]]] = {}
        self._single: dict[str, list[tuple[int, int]]] = {}
        self._owners: dict[str, int] = {}
        self._shared: set[str] = set()

    def own(self, name: str, index: int) -> None:
        """Record that trajectory `index` alone uses a file of weights or of module buffers.

        Raises:
            CorruptError: another trajectory uses this file.
        """
        if self._owners.setdefault(name, index) != index:
            raise CorruptError(
                "manifest_inconsistent",
                f"trajectories {self._owners[name]} and {index} must not share the file {name!r}",
                path=self._path,
            )

    def require(self, name: str, index: int) -> None:
        """Require that trajectory `index` uses a listed file.

        Raises:
            CorruptError: the file is not listed.
        """
        if name not in self._sizes:
            raise CorruptError(
                "manifest_inconsistent",
                f"trajectory {index}: file {name!r} is not listed in `files`",
                path=self._path,
            )

    def share(self, name: str) -> None:
        """Record that several trajectories may use a file. `check_shared` requires that it has no weights."""
        self._shared.add(name)

    def check_shared(self) -> None:
        """Require that no shared file holds weights or module buffers, when all of these are recorded.

        Raises:
            CorruptError: a shared file does.
        """
        for name in sorted(self._shared & self._owners.keys()):
            raise CorruptError(
                "manifest_inconsistent",
                f"the digests of pieces must not be in the file {name!r}, which trajectory"
                f" {self._owners[name]} uses",
                path=self._path,
            )

    def claim(self, name: str, start: int, nbytes: int, index: int) -> None:
        """Claim `nbytes` bytes of a file from `start` on for trajectory `index`.

        Raises:
            CorruptError: the file is not listed.
            UnsafeError: the region does not end within the file.
        """
        size = self._size(name, index)
        if start + nbytes > size:
            self._beyond(name, start, nbytes, index)
        if nbytes:
            self._single.setdefault(name, []).append((start, start + nbytes))

    def claim_file(self, name: str, index: int) -> None:
        """Claim a whole file for trajectory `index`.

        Raises:
            CorruptError: the file is not listed.
        """
        self.claim(name, 0, self._size(name, index), index)

    def claim_all(self, name: str, offsets: Sequence[int], sizes: Sequence[int], index: int) -> None:
        """Claim one region for each pair of an offset and a size, which are at most 2**53.

        Raises:
            CorruptError: the file is not listed.
            UnsafeError: a region does not end within the file.
        """
        size = self._size(name, index)
        starts = np.array(offsets, np.int64)
        stops = starts + np.array(sizes, np.int64)
        beyond = np.flatnonzero(stops > size)
        if beyond.size:
            first = int(beyond[0])
            self._beyond(name, offsets[first], sizes[first], index)
        kept = stops > starts
        self._claims.setdefault(name, []).append((starts[kept], stops[kept]))

    def check(self) -> None:
        """Require that no two regions overlap.

        Raises:
            UnsafeError: two regions overlap.
        """
        for name, pairs in self._single.items():
            both = np.array(pairs, np.int64)
            self._claims.setdefault(name, []).append((both[:, 0], both[:, 1]))
        for name, claims in self._claims.items():
            starts = np.concatenate([start for start, _ in claims])
            stops = np.concatenate([stop for _, stop in claims])
            order = np.argsort(starts)
            starts, stops = starts[order], stops[order]
            clash = np.flatnonzero(starts[1:] < stops[:-1])
            if clash.size:
                raise UnsafeError(
                    "size_overflow",
                    f"two arrays in {name!r} must not share bytes, and both claim byte"
                    f" {int(starts[clash[0] + 1])}",
                    path=self._path,
                )

    def _size(self, name: str, index: int) -> int:
        self.require(name, index)
        return self._sizes[name]

    def _beyond(self, name: str, start: int, nbytes: int, index: int) -> NoReturn:
        raise UnsafeError(
            "size_overflow",
            f"trajectory {index}: bytes {start} to {start + nbytes} lie outside {name!r},"
            f" which has {self._sizes[name]}",
            path=self._path,
        )

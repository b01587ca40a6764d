"""Check a bundle completely, and list all problems.

This module defines the order of the checks. `trajfmt.storage.hdf5` checks the metadata of HDF5 files.
"""

from __future__ import annotations

import itertools
import os
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.bundle.reader import Bundle
from trajfmt.bundle.standing import read_manifest
from trajfmt.encodings.parts.digests import check_header
from trajfmt.encodings.parts.encoding import Encoding, Trajectory
from trajfmt.encodings.table import encoding_of_manifest
from trajfmt.errors import CorruptError, FormatError, Problem, UnsafeError
from trajfmt.schema.manifest import Entry, numbered
from trajfmt.schema.pieces import Pieces
from trajfmt.storage import hdf5, holes
from trajfmt.storage.address import Address, located
from trajfmt.storage.hub import pinned
from trajfmt.trajectory.measure import Digest
from trajfmt.trajectory.rounding import finite

__all__ = ["validate"]

_BLOCK: Final = 2**20
_MOST_ABSENT: Final = 1_000
"""Absent files that are reported, after which nothing else is."""

_MOST: Final = 100
"""Timesteps of a trajectory that are reported as not finite."""


def validate(
    path: str | os.PathLike[str] | Address,
    *,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Problem]:
    """Return all problems of a bundle. The list is empty if the bundle is valid.

    The checks cover the manifest, the size and hash of every file, headers, HDF5 metadata, tables, finite
    weights, and the digest of each trajectory. Tables are valid if u increases from 0 to S and follows from
    the step norms by eq. 9.

    Args:
        path: path or address of a bundle.
        on_progress: called with the bytes that have been checked, and with those that there are to check.
            Weights count twice, as they are hashed first, and their values are checked afterwards. It may be
            called from several threads, one after the other.

    Raises:
        MissingError: there is nothing at `path`.
        RemoteError: the address cannot be reached.
    """
    try:
        place = pinned(located(path))
        bundle = Bundle(place, read_manifest(place), backend="pread")  # a file may be truncated meanwhile
    except FormatError as exc:
        return [Problem.of(exc)]
    with bundle:
        manifest = bundle.manifest
        if claims := _claims(bundle):
            return [Problem.of(exc) for exc in claims]
        progress = _Progress(bundle, on_progress)
        hashes = {entry.path: entry.sha256 for entry in manifest.files}
        damaged = bundle.files.verify(hashes, pieces=True, on_file=progress.add)
        problems = [Problem.of(exc) for exc in damaged.values()]
        readable = {entry.path for entry in manifest.files} - {
            name
            for name, exc in damaged.items()
            if exc.reason != "hash_mismatch" or not bundle.files.is_here(name)
        }
        problems += [Problem.of(exc) for exc in _check_digests(bundle, readable)]
        encoding = encoding_of_manifest(manifest)
        beside = [f"{number:05d}" for number in manifest.refused]  # groups of tables that are not understood
        for name, expected in encoding.datasets(manifest, bundle.layout).items():
            if name in readable:
                found = hdf5.check(bundle.files.root / name, expected, beside=beside)
                problems += map(Problem.of, found)
        # A smoothed last knot differs from the original endpoint, from which the digest was computed.
        smoothed = encoding.describe(manifest, bundle.layout).smoothed
        problems += map(Problem.of, bundle.refused.values())
        for number, entry in numbered(manifest).items():
            trajectory = bundle[number]
            if entry.files <= readable:
                digest = None if smoothed else entry.digest
                where = bundle.files.where(entry.weight_files[0])
                problems += _gather(_check(encoding, trajectory, digest), where)
            for name in entry.weight_files:
                progress.add(name)
    return problems


class _Progress:
    """Counts the bytes that have been checked.

    Args:
        bundle: the bundle.
        report: called with the bytes that are done, and all bytes.
    """

    def __init__(self, bundle: Bundle, report: Callable[[int, int], None]) -> None:
        self._sizes = {entry.path: entry.bytes for entry in bundle.manifest.files}
        self._report = report
        self._done, self._total = 0, sum(self._sizes.values())
        for entry in numbered(bundle.manifest).values():
            self._total += sum(self._sizes.get(name, 0) for name in entry.weight_files)
        self._lock = threading.Lock()

    def add(self, name: str) -> None:
        """Count a file, which has been checked."""
        with self._lock:
            self._done += self._sizes.get(name, 0)
            self._report(self._done, self._total)


def _check_digests(bundle: Bundle, readable: set[str]) -> list[FormatError]:
    """Return the errors in the headers of files of digests. The digests themselves have been compared."""
    places: dict[str, list[tuple[int, int, int]]] = {}
    entries: Mapping[int, Entry] = numbered(bundle.manifest)
    for number, entry in entries.items():
        if entry.pieces is not None:
            count = Pieces.of(entry, bundle.layout, entry.pieces.size).count
            places.setdefault(entry.pieces.file, []).append((number, entry.pieces.data, count))
    found: list[FormatError] = []
    for name in sorted(places.keys() & readable):
        try:
            check_header(bundle.files, name, places[name], beside=bundle.manifest.refused)
        except FormatError as exc:
            found.append(exc)
    return found


def _claims(bundle: Bundle) -> list[FormatError]:
    """Return errors of a local bundle that lists far more than is there, before anything is read.

    These are the first files that do not exist, if there are very many, or the fact that files are holes.
    """
    files = bundle.files
    listed = [files.root / entry.path for entry in bundle.manifest.files if files.is_here(entry.path)]
    absent = list(itertools.islice((path for path in listed if not os.path.lexists(path)), _MOST_ABSENT))
    if len(absent) == _MOST_ABSENT:
        message = "cannot be opened: no such file, like 1,000 files of this bundle or more"
        return [CorruptError("file_missing", message, path=path) for path in absent]
    if holes.is_hollow(listed):
        return [
            UnsafeError(
                "size_overflow",
                f"the files must not consist of holes; less than one byte in {holes.RATIO} is stored",
                path=bundle.place,
            )
        ]
    return []


def _gather(findings: Iterator[FormatError], path: object) -> list[Problem]:
    """Return the errors that a check yields and the one that ends it, if any. `path` is the default path."""
    errors: list[FormatError] = []
    try:
        errors.extend(findings)
    except FormatError as exc:
        errors.append(exc)
    for error in errors:
        error.path = error.path or str(path)
    return [Problem.of(error) for error in errors]


def _check(encoding: Encoding, trajectory: Trajectory, digest: str | None) -> Iterator[FormatError]:
    """Yield the errors in a trajectory, reading one block of its weights at a time."""
    where = f"trajectory {trajectory.index}"
    yield from encoding.check(trajectory, where)
    trajectory.check_buffers()
    layout = trajectory.layout
    identity = Digest(trajectory.timesteps, layout.numpy_dtype)
    wrong: dict[int, int] = {}
    knots = trajectory.knots
    for first, start, rows in trajectory.stored(_BLOCK):
        for k in (0, len(knots) - 1):
            if first <= k < first + len(rows):
                identity.add(knots[k], rows[k - first])
        if len(wrong) == _MOST or finite(rows):
            continue
        for k, values in enumerate(rows, first):
            if knots[k] not in wrong and len(wrong) < _MOST and not finite(values):
                wrong[knots[k]] = start + _first_not_finite(values)
    for t, element in sorted(wrong.items()):
        name = layout.parameters[bisect_right(layout.offsets, element) - 1].name
        yield CorruptError("non_finite", f"{where}: weights must be finite: timestep {t}, parameter `{name}`")
    if digest is not None and identity.digest() != digest:
        yield CorruptError(
            "hash_mismatch", f"{where}: the recorded digest differs from that of its endpoints"
        )


def _first_not_finite(values: NDArray[np.generic]) -> int:
    """Return the position of the first value that is not finite, by halving."""
    low, high = 0, values.size
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if finite(values[low:middle]) else (low, middle)
    return low

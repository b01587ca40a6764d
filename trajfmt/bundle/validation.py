"""Checking a whole bundle, and listing everything that is wrong with it.

Owns the order of the checks; what HDF5 itself says about its files is `hdf5`'s.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from trajfmt.bundle.reader import Bundle, read_manifest
from trajfmt.encodings.parts.encoding import Encoding, Trajectory
from trajfmt.encodings.table import encoding_of_manifest
from trajfmt.errors import CorruptError, FormatError, Problem
from trajfmt.storage import hdf5
from trajfmt.storage.address import Address, located
from trajfmt.trajectory.measure import Digest
from trajfmt.trajectory.rounding import finite

__all__ = ["validate"]

_BLOCK: Final = 2**20


def validate(path: str | os.PathLike[str] | Address) -> list[Problem]:
    """Return every problem of a bundle; an empty list means that it is sound.

    Checks the manifest, every file's size and hash, headers, HDF5 metadata, that beta rises from 0 to S
    and is eq. 9 of the step norms, that all numbers are finite, and each trajectory's digest.

    Raises:
        MissingError: there is nothing at `path`.
    """
    try:
        place = located(path)
        bundle = Bundle(place, read_manifest(place))
    except FormatError as exc:
        return [Problem.of(exc)]
    with bundle:
        manifest = bundle.manifest
        damaged = bundle.files.verify({entry.path: entry.sha256 for entry in manifest.files})
        problems = [Problem.of(exc) for exc in damaged.values()]
        readable = {entry.path for entry in manifest.files} - {
            name
            for name, exc in damaged.items()
            if exc.reason != "hash_mismatch" or not bundle.files.is_here(name)
        }
        encoding = encoding_of_manifest(manifest)
        for name, expected in encoding.datasets(manifest, bundle.layout).items():
            if name in readable:
                problems += map(Problem.of, hdf5.check(bundle.files.root / name, expected))
        # Smoothing moves the last knot away from the endpoint that the digest was made of.
        smoothed = encoding.describe(manifest, bundle.layout).smoothed
        for trajectory in bundle:
            entry = manifest.trajectories[trajectory.index]
            if entry.files <= readable:
                digest = None if smoothed else entry.digest
                where = bundle.files.where(entry.weight_files[0])
                problems += _gather(_check(encoding, trajectory, digest), where)
    return problems


def _gather(findings: Iterator[FormatError], path: object) -> list[Problem]:
    """Return what a check yields, and what it raises in the end; `path` where it does not say."""
    errors: list[FormatError] = []
    try:
        errors.extend(findings)
    except FormatError as exc:
        errors.append(exc)
    for error in errors:
        error.path = error.path or str(path)
    return [Problem.of(error) for error in errors]


def _check(encoding: Encoding, trajectory: Trajectory, digest: str | None) -> Iterator[FormatError]:
    """Check one trajectory, a block of its weights at a time."""
    where = f"trajectory {trajectory.index}"
    yield from encoding.check(trajectory, where)
    trajectory.check_buffers()
    layout = trajectory.layout
    identity = Digest(trajectory.timesteps, layout.numpy_dtype)
    wrong: dict[int, int] = {}
    for t, start, values in trajectory.stored(_BLOCK):
        identity.add(t, values)
        if t not in wrong and not finite(values):
            wrong[t] = start + next(i for i in range(values.size) if not finite(values[i : i + 1]))
    for t, element in sorted(wrong.items()):
        name = layout.parameters[bisect_right(layout.offsets, element) - 1].name
        yield CorruptError("non_finite", f"{where}: weights must be finite: timestep {t}, parameter `{name}`")
    if digest is not None and identity.digest() != digest:
        yield CorruptError("hash_mismatch", f"{where}: its ends do not have the digest that is recorded")

"""Checking a whole bundle, and listing everything that is wrong with it.

Owns the order of the checks; what HDF5 itself says about its files is `hdf5`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajfmt import hdf5
from trajfmt.beta import curve
from trajfmt.bundle import Bundle, Trajectory, read_manifest
from trajfmt.encodings.convex import ConvexTrajectory
from trajfmt.encodings.full import FullTrajectory
from trajfmt.errors import CorruptError, FormatError, Problem
from trajfmt.manifest import ConvexEntry, ConvexManifest, FullEntry
from trajfmt.measure import Digest

__all__ = ["validate"]

_BLOCK: Final = 2**20
_TOLERANCE: Final = 1e-9
"""Between u and eq. 9 of the stored step norms; a writer may sum in another order."""


def validate(path: Path) -> list[Problem]:
    """Return every problem of a bundle; an empty list means that it is sound.

    Checks the manifest, every file's size and hash, headers, HDF5 metadata, that beta rises from 0 to S
    and is eq. 9 of the step norms, that all numbers are finite, and each trajectory's digest.

    Raises:
        MissingError: there is nothing at `path`.
    """
    try:
        bundle = Bundle(path, read_manifest(path))
    except FormatError as exc:
        return [Problem.of(exc)]
    with bundle:
        manifest = bundle.manifest
        damaged = bundle.files.verify({entry.path: entry.sha256 for entry in manifest.files})
        problems = [Problem.of(exc) for exc in damaged.values()]
        readable = {entry.path for entry in manifest.files} - {
            name for name, exc in damaged.items() if exc.reason != "hash_mismatch"
        }
        for name, expected in hdf5.places(manifest, bundle.layout).items():
            if name in readable:
                problems += map(Problem.of, hdf5.check(bundle.files.root / name, expected))
        # Smoothing moves the last knot away from the endpoint that the digest was made of.
        smoothed = isinstance(manifest, ConvexManifest) and manifest.smoothed
        for trajectory in bundle:
            entry = manifest.trajectories[trajectory.index]
            if _files(entry) <= readable:
                digest = None if smoothed else entry.digest
                problems += _gather(_check(trajectory, digest), bundle.files.root / entry.file)
    return problems


def _files(entry: ConvexEntry | FullEntry) -> set[str]:
    return {entry.file, entry.table.file} if isinstance(entry, ConvexEntry) else {entry.file}


def _gather(findings: Iterator[FormatError], path: Path) -> list[Problem]:
    """Return what a check yields, and what it raises in the end; `path` where it does not say."""
    errors: list[FormatError] = []
    try:
        errors.extend(findings)
    except FormatError as exc:
        errors.append(exc)
    for error in errors:
        error.path = error.path or str(path)
    return [Problem.of(error) for error in errors]


def _check(trajectory: Trajectory, digest: str | None) -> Iterator[FormatError]:
    where = f"trajectory {trajectory.index}"
    if isinstance(trajectory, ConvexTrajectory):
        yield from _check_tables(trajectory, where)
        rows: Iterator[NDArray[np.generic]] = map(trajectory.knot, range(len(trajectory.knots)))
    else:
        assert isinstance(trajectory, FullTrajectory)
        rows = trajectory.rows()
    identity = Digest(trajectory.timesteps)
    for t, row in zip(trajectory.knots, rows, strict=True):
        identity.add(t, row)
        if not all(np.isfinite(row[start : start + _BLOCK]).all() for start in range(0, row.size, _BLOCK)):
            views = trajectory.layout.split(row)
            name = next(name for name, view in views.items() if not np.isfinite(view).all())
            yield CorruptError(
                "non_finite", f"{where}: weights must be finite: timestep {t}, parameter `{name}`"
            )
    if digest is not None and identity.digest() != digest:
        yield CorruptError("hash_mismatch", f"{where}: its ends do not have the digest that is recorded")


def _check_tables(trajectory: ConvexTrajectory, where: str) -> Iterator[FormatError]:
    norms, gram = trajectory.step_norms, trajectory.gram
    if gram is not None and not np.isfinite(gram).all():
        yield CorruptError("beta_invalid", f"{where}: `gram` must be finite")
    if not (np.isfinite(norms) & (norms >= 0)).all():
        yield CorruptError("beta_invalid", f"{where}: step norms must be finite and >= 0")
        return
    try:
        u = trajectory.u
    except FormatError as exc:
        yield exc
        return
    error = np.abs(u - curve(norms, trajectory.knots)).max()
    if error > _TOLERANCE:
        yield CorruptError(
            "beta_invalid", f"{where}: beta must be eq. 9 of the stored step norms, differs by {error:.2g}"
        )

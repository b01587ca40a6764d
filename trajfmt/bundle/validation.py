"""Checking a whole bundle, and listing everything that is wrong with it.

Owns the order of the checks; what HDF5 itself says about its files is `hdf5`'s.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

import numpy as np

from trajfmt.bundle.reader import Bundle, Trajectory, read_manifest
from trajfmt.encodings.convex.reader import ConvexTrajectory
from trajfmt.encodings.full.reader import FullTrajectory
from trajfmt.errors import CorruptError, FormatError, Problem
from trajfmt.schema.manifest import ConvexEntry, ConvexManifest, Entry, files_of
from trajfmt.storage import hdf5
from trajfmt.storage.address import Address, located
from trajfmt.trajectory.beta import curve
from trajfmt.trajectory.measure import Digest
from trajfmt.trajectory.rounding import finite

__all__ = ["validate"]

_BLOCK: Final = 2**20
_TOLERANCE: Final = 1e-9
"""Between u and eq. 9 of the stored step norms; a writer may sum in another order."""


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
        for name, expected in hdf5.places(manifest, bundle.layout).items():
            if name in readable:
                problems += map(Problem.of, hdf5.check(bundle.files.root / name, expected))
        # Smoothing moves the last knot away from the endpoint that the digest was made of.
        smoothed = isinstance(manifest, ConvexManifest) and manifest.smoothed
        for trajectory in bundle:
            entry = manifest.trajectories[trajectory.index]
            if files_of(entry) <= readable:
                digest = None if smoothed else entry.digest
                problems += _gather(_check(trajectory, digest), bundle.files.where(_weights(entry)))
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


def _weights(entry: Entry) -> str:
    """Return the (first) file of a trajectory's weights."""
    if isinstance(entry, ConvexEntry) and entry.shards is not None:
        return entry.shards[0].file
    assert entry.file is not None
    return entry.file


def _check(trajectory: Trajectory, digest: str | None) -> Iterator[FormatError]:
    """Check one trajectory, a block of its weights at a time."""
    where = f"trajectory {trajectory.index}"
    assert isinstance(trajectory, ConvexTrajectory | FullTrajectory)
    if isinstance(trajectory, ConvexTrajectory):
        yield from _check_tables(trajectory, where)
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


def _check_tables(trajectory: ConvexTrajectory, where: str) -> Iterator[FormatError]:
    norms, gram = trajectory.step_norms, trajectory.gram
    if gram is not None and not np.isfinite(gram).all():
        yield CorruptError("beta_invalid", f"{where}: `gram` must be finite")
    if norms is not None and not (np.isfinite(norms) & (norms >= 0)).all():
        yield CorruptError("beta_invalid", f"{where}: step norms must be finite and >= 0")
        return
    try:
        u = trajectory.u
    except FormatError as exc:
        yield exc
        return
    if norms is None or trajectory.free:
        return
    error = np.abs(u - curve(norms, trajectory.knots)).max()
    if error > _TOLERANCE:
        yield CorruptError(
            "beta_invalid", f"{where}: beta must be eq. 9 of the stored step norms, differs by {error:.2g}"
        )

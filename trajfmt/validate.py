"""Checking a whole bundle, and listing everything that is wrong with it.

Owns the order of the checks. Opens HDF5 files with libhdf5 for their metadata only, since other tools will
read through it: what it says must be what the manifest says, and must not lead out of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import h5py
import numpy as np
from numpy.typing import NDArray

from trajfmt.bundle import Bundle, Trajectory, read_manifest
from trajfmt.encodings.convex import ConvexTrajectory
from trajfmt.encodings.full import FullTrajectory
from trajfmt.errors import CorruptError, FormatError, Problem, UnsafeError
from trajfmt.manifest import ConvexManifest, FullManifest

__all__ = ["validate"]

_FILTERS: Final = frozenset({1, 2, 3, 32015})
"""Deflate, shuffle, Fletcher-32 and zstd."""

_BLOCK: Final = 2**20


def validate(path: Path, *, on_trajectory: Callable[[int], None] = lambda _index: None) -> list[Problem]:
    """Return every problem of a bundle; an empty list means that it is sound.

    Checks the manifest, every file's size and hash, headers, shapes, HDF5 metadata, that beta rises from 0
    to S, and that all stored weights are finite.
    """
    try:
        bundle = Bundle(path, read_manifest(path))
    except FormatError as exc:
        return [Problem.of(exc)]
    with bundle:
        manifest = bundle.manifest
        problems = [
            Problem.of(exc) for exc in bundle.files.verify({f.path: f.sha256 for f in manifest.files})
        ]
        unreadable = {problem.where for problem in problems if problem.reason != "hash_mismatch"}
        for entry in manifest.files:
            where = bundle.files.root / entry.path
            if entry.path.endswith(".h5") and str(where) not in unreadable:
                problems += _collect(_check_hdf5(where, _expected(bundle, where)))
        for trajectory in bundle:
            found = _collect(_check_trajectory(trajectory))
            problems += [problem for problem in found if problem.where not in unreadable]
            on_trajectory(trajectory.index)
    return problems


def _collect(findings: Iterator[FormatError]) -> list[Problem]:
    """Gather what a check yields, and what it raises in the end."""
    problems: list[Problem] = []
    try:
        problems.extend(Problem.of(exc) for exc in findings)
    except FormatError as exc:
        problems.append(Problem.of(exc))
    return problems


def _check_trajectory(trajectory: Trajectory) -> Iterator[FormatError]:
    where = f"trajectory {trajectory.index}"
    if isinstance(trajectory, ConvexTrajectory):
        try:
            _ = trajectory.u
        except FormatError as exc:
            yield exc
        norms = trajectory.step_norms
        if not (np.isfinite(norms) & (norms >= 0)).all():
            yield CorruptError("beta_invalid", f"{where}: step norms must be finite and >= 0")
        rows: Iterator[NDArray[np.generic]] = map(trajectory.knot, range(len(trajectory.knots)))
    else:
        assert isinstance(trajectory, FullTrajectory)
        rows = trajectory.rows()
    for number, row in enumerate(rows):
        for start in range(0, row.size, _BLOCK):
            if not np.isfinite(row[start : start + _BLOCK]).all():
                t = trajectory.knots[number]
                name = next(
                    parameter.name
                    for parameter, view in zip(
                        trajectory.layout.parameters, trajectory.layout.split(row).values(), strict=True
                    )
                    if not np.isfinite(view).all()
                )
                yield CorruptError(
                    "non_finite", f"{where}: weights must be finite: timestep {t}, parameter `{name}`"
                )
                break


def _expected(bundle: Bundle, path: Path) -> dict[str, int | None]:
    """Return the datasets that the manifest places in a file, with their byte offsets if contiguous."""
    manifest = bundle.manifest
    name = path.relative_to(bundle.files.root).as_posix()
    expected: dict[str, int | None] = {}
    if isinstance(manifest, ConvexManifest):
        for index, entry in enumerate(manifest.trajectories):
            if entry.table.file == name:
                expected[f"{index:05d}/u"] = entry.table.u
                expected[f"{index:05d}/step_norms"] = entry.table.step_norms
                if entry.table.gram is not None:
                    expected[f"{index:05d}/gram"] = entry.table.gram
    else:
        assert isinstance(manifest, FullManifest)
        dataset = "delta" if manifest.codec.name == "archive" else "theta"
        for full in manifest.trajectories:
            if full.file == name:
                expected[dataset] = full.data
    return expected


def _check_hdf5(path: Path, expected: dict[str, int | None]) -> Iterator[FormatError]:
    """Compare a file's own metadata with the manifest; no data is read through libhdf5."""
    try:
        file = h5py.File(path, "r")
    except OSError as exc:
        yield CorruptError("header_invalid", f"not readable as HDF5: {exc}", path=path)
        return
    with file:
        found: dict[str, int | None] = {}
        yield from _walk(file, "", path, found)
        if found != expected:
            yield CorruptError(
                "header_mismatch",
                f"HDF5 holds {_places(found)}, the manifest says {_places(expected)}",
                path=path,
            )


def _places(datasets: dict[str, int | None]) -> str:
    shown = [name if offset is None else f"{name} at {offset}" for name, offset in sorted(datasets.items())]
    return ", ".join(shown[:6]) + (", …" if len(shown) > 6 else "") if shown else "nothing"


def _walk(group: h5py.Group, prefix: str, path: Path, found: dict[str, int | None]) -> Iterator[FormatError]:
    for name in group:
        full_name = f"{prefix}{name}"
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            yield UnsafeError("hdf5_unsafe", f"`{full_name}` is a link to elsewhere", path=path)
            continue
        item = group[name]
        if isinstance(item, h5py.Group):
            if prefix.count("/") > 2:
                yield UnsafeError("hdf5_unsafe", f"`{full_name}` is nested too deeply", path=path)
                continue
            yield from _walk(item, f"{full_name}/", path, found)
            continue
        if not isinstance(item, h5py.Dataset):
            yield UnsafeError("hdf5_unsafe", f"`{full_name}` is not a dataset", path=path)
            continue
        creation = item.id.get_create_plist()
        layout = creation.get_layout()
        if creation.get_external_count() or layout == h5py.h5d.VIRTUAL:
            yield UnsafeError("hdf5_unsafe", f"`{full_name}` keeps its data in other files", path=path)
            continue
        if item.dtype.kind not in "fu":
            yield UnsafeError("hdf5_unsafe", f"`{full_name}` has type {item.dtype}, not numbers", path=path)
            continue
        filters = {creation.get_filter(i)[0] for i in range(creation.get_nfilters())}
        if not filters <= _FILTERS:
            yield UnsafeError(
                "hdf5_unsafe", f"`{full_name}` uses the filters {sorted(filters - _FILTERS)}", path=path
            )
        found[full_name] = item.id.get_offset() if layout == h5py.h5d.CONTIGUOUS else None

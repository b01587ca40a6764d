"""Checking a whole bundle, and listing everything that is wrong with it.

Owns the order of the checks. Opens HDF5 files with libhdf5 for their metadata only, since other tools will
read through it: what it says must be what the manifest says, and must not lead out of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from trajfmt.bundle import Bundle, Trajectory, read_manifest
from trajfmt.codecs import unsigned
from trajfmt.encodings.convex import ConvexTrajectory
from trajfmt.encodings.full import FullTrajectory
from trajfmt.errors import CorruptError, FormatError, Problem, UnsafeError
from trajfmt.manifest import ConvexManifest, FullManifest
from trajfmt.measure import Identity

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
        # Smoothing moves the last knot away from the endpoint that the digest was made of.
        smoothed = isinstance(manifest, ConvexManifest) and manifest.smoothed
        for trajectory in bundle:
            digest = None if smoothed else manifest.trajectories[trajectory.index].digest
            found = _collect(_check_trajectory(trajectory, digest))
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


def _check_trajectory(trajectory: Trajectory, digest: str | None) -> Iterator[FormatError]:
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
    identity = Identity(trajectory.timesteps)
    for number, row in enumerate(rows):
        identity.add(trajectory.knots[number], row)
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
    if digest is not None and identity.digest() != digest:
        yield CorruptError("hash_mismatch", f"{where}: its endpoints do not have the digest that is recorded")


class _Place(NamedTuple):
    """What HDF5's own metadata must say about a dataset."""

    shape: tuple[int, ...]
    dtype: str
    offset: int | None
    """Of contiguous data."""

    chunks: tuple[tuple[int, int], ...]
    """Offset and size of every chunk, in order."""


def _expected(bundle: Bundle, path: Path) -> dict[str, _Place]:
    """Return the datasets that the manifest places in a file."""
    manifest, layout = bundle.manifest, bundle.layout
    name = path.relative_to(bundle.files.root).as_posix()
    expected: dict[str, _Place] = {}
    if isinstance(manifest, ConvexManifest):
        for index, entry in enumerate(manifest.trajectories):
            table, count = entry.table, entry.timesteps
            if table.file != name:
                continue
            group = f"{index:05d}"
            expected[f"{group}/u"] = _Place((count, layout.num_layers), "<f8", table.u, ())
            norms = _Place((count - 1, layout.num_layers), "<f8", table.step_norms, ())
            expected[f"{group}/step_norms"] = norms
            if table.gram is not None:
                expected[f"{group}/gram"] = _Place((count, count), "<f8", table.gram, ())
    else:
        assert isinstance(manifest, FullManifest)
        archive = manifest.codec.name == "archive"
        dtype = (unsigned(layout.numpy_dtype) if archive else layout.numpy_dtype).str
        for full in manifest.trajectories:
            if full.file == name:
                chunks = full.chunks
                places = tuple(zip(chunks.offsets, chunks.sizes, strict=True)) if chunks else ()
                shape = (full.timesteps, layout.size)
                expected["delta" if archive else "theta"] = _Place(shape, dtype, full.data, places)
    return expected


def _check_hdf5(path: Path, expected: dict[str, _Place]) -> Iterator[FormatError]:
    """Compare a file's own metadata with the manifest; no data is read through libhdf5."""
    try:
        file = h5py.File(path, "r")
    except OSError as exc:
        yield CorruptError("header_invalid", f"not readable as HDF5: {exc}", path=path)
        return
    with file:
        found: dict[str, _Place] = {}
        yield from _walk(file, "", path, found)
        for name in sorted(found.keys() | expected.keys()):
            said, is_ = expected.get(name), found.get(name)
            if said != is_:
                yield CorruptError(
                    "header_mismatch",
                    f"HDF5 and the manifest disagree about `{name}`: {_first_difference(said, is_)}",
                    path=path,
                )


def _first_difference(said: _Place | None, is_: _Place | None) -> str:
    if said is None or is_ is None:
        return "HDF5 lacks it" if is_ is None else "the manifest lacks it"
    for field, a, b in zip(_Place._fields, said, is_, strict=True):
        if a != b and field != "chunks":
            return f"{field} must be {a}, HDF5 says {b}"
    return "its chunks lie elsewhere"


def _walk(group: h5py.Group, prefix: str, path: Path, found: dict[str, _Place]) -> Iterator[FormatError]:
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
        contiguous = layout == h5py.h5d.CONTIGUOUS
        chunks: list[tuple[int, int]] = []
        if layout == h5py.h5d.CHUNKED:
            infos = [item.id.get_chunk_info(i) for i in range(item.id.get_num_chunks())]
            infos.sort(key=lambda info: info.chunk_offset)
            chunks = [(int(info.byte_offset), int(info.size)) for info in infos]
        offset = int(item.id.get_offset()) if contiguous else None
        found[full_name] = _Place(item.shape, item.dtype.str, offset, tuple(chunks))

"""A stored trajectory as one that has just been written: its files are taken over, and nothing is encoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trajfmt.bundle.reader import Bundle
from trajfmt.encodings.convex.reader import ConvexTrajectory
from trajfmt.encodings.parts.knots import ByteRange, index_of
from trajfmt.encodings.parts.tables import Tables
from trajfmt.encodings.parts.written import NewFile, Written
from trajfmt.schema.manifest import ConvexEntry, ConvexManifest, Entry, FileEntry
from trajfmt.schema.pieces import DIGEST, Pieces
from trajfmt.storage.copying import copy_file, link_file
from trajfmt.storage.opened import OpenFile

__all__ = ["Taken", "take"]


class Taken:
    """How many bytes were linked and copied."""

    def __init__(self) -> None:
        self.linked = 0
        self.copied = 0


def take(
    bundle: Bundle,
    number: int,
    listed: Mapping[str, FileEntry],
    new_path: Callable[[], Path],
    taken: Taken,
    *,
    copy: bool = False,
) -> Written:
    """Take over the files of a trajectory, whose bundle has been verified.

    Args:
        bundle: the bundle.
        number: the number of the trajectory in it.
        listed: the files of the bundle, by name.
        new_path: returns the path of a new file.
        taken: counts the bytes.
        copy: copy the files, also where they can be linked.

    Raises:
        SourceError: a file has been changed since it was verified.
        OSError: a file cannot be linked or copied.
    """
    entry = bundle.manifest.trajectories[number]
    names = [*entry.weight_files, *([] if entry.buffers is None else [entry.buffers])]
    files = []
    for name, (folder, tail) in zip(names, _kinds(entry), strict=True):
        path = new_path()
        _take_file(bundle, name, path, taken, copy=copy)
        files.append(NewFile(path, folder, tail, listed[name].bytes, listed[name].sha256))
    written = Written(entry.with_files([""] * len(names)), tuple(files))
    if isinstance(entry, ConvexEntry) and isinstance(bundle.manifest, ConvexManifest):
        trajectory = bundle[number]
        assert isinstance(trajectory, ConvexTrajectory)
        tables = Tables(trajectory.u, trajectory.step_norms, trajectory.gram)
        written = _replaced(
            written, tables=tables, index=_index(entry, bundle), smoothed=bundle.manifest.smoothed
        )
    if entry.pieces is None:
        return written.hashed(bundle.layout)
    count = Pieces.of(entry, bundle.layout, entry.pieces.size).count
    data = bundle.files.read(entry.pieces.file, entry.pieces.data, count * DIGEST)
    return _replaced(written, digests=np.frombuffer(data, np.uint8).reshape(-1, DIGEST))


def _replaced(written: Written, **changes: Any) -> Written:
    fields = {name: getattr(written, name) for name in Written.__slots__}
    return Written(**fields | changes)


def _kinds(entry: Entry) -> list[tuple[str, str]]:
    """Return the folder, and the end of the name, of the files of a trajectory."""
    if not isinstance(entry, ConvexEntry):
        weights = [("theta", ".h5")]
    elif entry.shards is None:
        weights = [("knots", ".safetensors")]
    else:
        count = len(entry.shards)
        weights = [("knots", f"-{i:05d}-of-{count:05d}.safetensors") for i in range(1, count + 1)]
    return weights + ([] if entry.buffers is None else [("buffers", ".safetensors")])


def _index(entry: ConvexEntry, bundle: Bundle) -> Callable[[Sequence[str]], bytes] | None:
    """Return what makes the index of several knot files, given their names; None for one file."""
    if entry.shards is None or len(entry.shards) == 1:
        return None
    contents, first = [], 0
    for shard in entry.shards:
        contents.append(ByteRange.of(bundle.layout, first, shard.tensors))
        first += shard.tensors

    def index(names: Sequence[str]) -> bytes:
        files = [name.rpartition("/")[2] for name in names]
        return index_of(bundle.layout, entry.knots, list(zip(files, contents, strict=True)))

    return index


def _take_file(bundle: Bundle, name: str, target: Path, taken: Taken, *, copy: bool) -> None:
    path = bundle.files.path(name)
    with OpenFile(path, bundle.files.where(name)) as file:
        if not copy and not bundle.files.lazy and link_file(file, path, target):
            taken.linked += file.identity.size
        else:
            copy_file(file, target)
            taken.copied += file.identity.size

"""Open a bundle for reading, with one interface for all encodings."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, overload

from trajfmt.bundle.standing import Standing, read_manifest
from trajfmt.encodings.parts.encoding import Trajectory
from trajfmt.encodings.table import encoding_of_manifest
from trajfmt.errors import NotABundleError, UsageError, counted
from trajfmt.notebooks import card, listed
from trajfmt.schema.arguments import whole
from trajfmt.schema.facts import CALLED, phrase
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import FILE_NAME, Manifest, layout_of, numbered
from trajfmt.schema.parse import parse, refusal
from trajfmt.schema.pieces import PieceMap
from trajfmt.schema.provenance import Provenance
from trajfmt.storage.address import Address, Place, located
from trajfmt.storage.files import Backend, BundleFiles
from trajfmt.storage.hub import pinned
from trajfmt.storage.remote import RemoteFiles

__all__ = ["Bundle", "Trajectory", "open", "read_manifest"]


class Bundle:
    """A bundle on disk or at an address, opened for reading.

    A bundle is a sequence of trajectories: it has a length and can be indexed, sliced and iterated over.
    Opening it reads the manifest only; other files are read when weights are requested. A bundle can be
    pickled, and used after a fork; files are then opened again. Requesting one of the trajectories in
    `refused` raises its error.

    Example:
        >>> import trajfmt
        >>> with trajfmt.open("two.mct") as bundle:
        ...     trajectory = bundle[0]
        ...     halfway = trajectory.at(trajectory.last / 2)
        >>> halfway.shape == (bundle.layout.size,)
        True
    """

    def __init__(
        self, place: Place, data: bytes, *, backend: Backend = "mmap", checked: bool = False
    ) -> None:
        self.place: Place = place
        """The path or address that was opened. An address has no credentials."""
        self.manifest: Manifest = parse(data, path=place / FILE_NAME)
        self.layout: ParamLayout = layout_of(self.manifest)
        self.sha256: str = hashlib.sha256(data).hexdigest()
        """Hash of the manifest. It identifies the bundle, as the manifest lists the hashes of all files."""
        self.manifest_bytes: int = len(data)
        self.files: BundleFiles = _files(place, data, self.manifest, self.layout, backend, checked=checked)
        self.path: Path = place if isinstance(place, Path) else self.files.root
        """The folder with the files of the bundle. For an address it is a folder in the cache."""

    @property
    def encoding(self) -> str:
        """Return the name of the encoding: `convex` or `full`."""
        return encoding_of_manifest(self.manifest).name

    @property
    def provenance(self) -> Provenance:
        """Return the facts about the experts: data set, network, preprocessing and training."""
        return self.manifest.provenance

    @property
    def refused(self) -> dict[int, NotABundleError]:
        """Return the error of each trajectory that cannot be read, by its number.

        Such a trajectory needs a feature that this library does not know. The others can be read.
        """
        path = self.place / FILE_NAME
        return {n: refusal(n, entry, path=path) for n, entry in self.manifest.refused.items()}

    def __len__(self) -> int:
        return len(self.manifest.trajectories) + len(self.manifest.refused)

    @overload
    def __getitem__(self, index: int) -> Trajectory: ...
    @overload
    def __getitem__(self, index: slice) -> list[Trajectory]: ...
    def __getitem__(self, index: int | slice) -> Trajectory | list[Trajectory]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = whole("trajectory", index)
        if not -len(self) <= number < len(self):
            raise BoundsError(f"trajectory must lie in [0, {len(self) - 1}], got {number}")
        return self._trajectory(number % len(self))

    def __iter__(self) -> Iterator[Trajectory]:
        return (self[i] for i in range(len(self)))

    def _trajectory(self, number: int) -> Trajectory:
        if number in self.manifest.refused:
            raise self.refused[number]
        return encoding_of_manifest(self.manifest).read(self.files, self.layout, self.manifest, number)

    def verify(self) -> None:
        """Compare every file, and every piece, with its sha256. At an address, this downloads all files.

        Raises:
            FormatError: a file is missing or differs. The error describes the first such file.
            RemoteError: a file cannot be downloaded.
        """
        hashes = {file.path: file.sha256 for file in self.manifest.files}
        for problem in self.files.verify(hashes, pieces=True).values():
            raise problem

    def close(self) -> None:
        """Close the files. Arrays that were returned earlier stay valid."""
        self.files.close()

    def __enter__(self) -> Bundle:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        refused = f", {len(self.manifest.refused)} of them refused" if self.manifest.refused else ""
        return f"<trajfmt.Bundle {str(self.place)!r} {self.encoding}, {self._counted()}{refused}>"

    def _counted(self) -> str:
        return counted(len(self), "trajectory")

    def _repr_html_(self) -> str:
        facts: list[tuple[str, object]] = [
            ("place", self.place),
            ("trajectories", f"{len(self):,}, {self.encoding}"),
            ("timesteps", listed(sorted({entry.timesteps for entry in self.manifest.trajectories}))),
            ("parameters", f"{self.layout.size:,} {self.layout.dtype}"),
            ("size", f"{sum(self.files.sizes.values()):,} bytes"),
        ]
        stated = ("dataset", "model", "preprocessing", "recipe", "timestep")
        facts += [
            (CALLED.get(name, name), phrase(fact))
            for name in stated
            if (fact := getattr(self.provenance, name))
        ]
        if self.manifest.refused:
            facts.append(("trajectories that cannot be read", listed(sorted(self.manifest.refused))))
        rows = [
            (number, entry.timesteps, listed(entry.stored_timesteps))
            for number, entry in itertools.islice(numbered(self.manifest).items(), 100)
        ]
        columns = ("trajectory", "timesteps", "stored timesteps")
        title = f"Bundle of {self._counted()}"
        return card(title, facts, columns=columns, rows=rows, total=len(self.manifest.trajectories))


class BoundsError(UsageError, IndexError):
    """The bundle has no trajectory with this number."""


def _files(
    place: Place, data: bytes, manifest: Manifest, layout: ParamLayout, backend: Backend, *, checked: bool
) -> BundleFiles:
    pieces = PieceMap(numbered(manifest), layout)
    if isinstance(place, Address):
        return RemoteFiles(place, data, manifest.files, pieces, backend=backend)
    return BundleFiles(
        place,
        {entry.path: entry.bytes for entry in manifest.files},
        backend=backend,
        standing=Standing(place, data, manifest.files),
        pieces=pieces,
        hashes={entry.path: entry.sha256 for entry in manifest.files} if checked else None,
    )


def open(
    path: str | os.PathLike[str] | Address,
    *,
    verify: bool | Literal["read"] = False,
    backend: Backend = "mmap",
) -> Bundle:
    """Open a bundle for reading.

    For an address, only the manifest is downloaded at first. Other files, or the pieces of them that are
    needed, are downloaded into a cache when they are first used, and compared with their hashes. On the
    Hugging Face hub, a branch is replaced by its commit, so that all files are of one revision.

    Args:
        path: folder of the bundle, or its address as fsspec writes it: `https://…`, `s3://…`, `hf://…`,
            `zip://…::…`.
        verify: compare every file with its hash first; for an address, every file that is in the cache.
            `"read"`: compare what is read with its hash, just before its first use. For an address, that is
            always done.
        backend: how files are read: `mmap`, or `pread` for network file systems.

    Raises:
        MissingError: there is nothing at `path`.
        NotABundleError: not a bundle, or one that needs a version or feature that this library does not know.
        CorruptError: the manifest or a file is damaged.
        UnsafeError: reading the bundle could do harm.
        RemoteError: the address cannot be reached.
    """
    place = pinned(located(path))
    bundle = Bundle(place, read_manifest(place), backend=backend, checked=verify == "read")
    if verify == "read":
        return bundle
    if verify and isinstance(bundle.files, RemoteFiles):
        bundle.files.verify_kept()
    elif verify:
        bundle.verify()
    return bundle

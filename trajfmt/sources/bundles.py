"""A bundle as a source, to change its encoding or its codec."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from trajfmt.bundle.adapted import StoredConvex, StoredFull
from trajfmt.bundle.reader import Bundle
from trajfmt.bundle.reader import open as open_bundle
from trajfmt.encodings.convex.reader import ConvexTrajectory
from trajfmt.encodings.table import encoding_of_manifest
from trajfmt.schema.manifest import FILE_NAME
from trajfmt.sources.base.collection import Collection, FileLayout, Found, OpenOptions
from trajfmt.sources.base.trajectories import Plain
from trajfmt.storage.address import Address
from trajfmt.storage.remote import RemoteFiles

__all__ = ["LAYOUT", "open_at"]


def _recognise(path: Path) -> str | None:
    """Return the reason if the path is a folder with a manifest."""
    return f"there is a {FILE_NAME}" if path.is_dir() and (path / FILE_NAME).exists() else None


def _open(path: Path, options: OpenOptions) -> Collection:
    """Return the trajectories of a bundle as a single part.

    Files are read and not mapped: one that another process truncates must not end this one.
    """
    return _collection(open_bundle(path, backend="pread"), options)


def open_at(address: Address) -> Collection:
    """Return the trajectories of the bundle at an address. Files are fetched when they are first used.

    Raises:
        MissingError: nothing is at the address.
        FormatError: it is no bundle, or its manifest is damaged or unsafe.
        RemoteError: the address cannot be reached.
    """
    bundle = open_bundle(address, backend="pread")
    assert isinstance(bundle.files, RemoteFiles)
    bundle.files.keep_manifest()  # a resumed conversion compares this file in the cache
    return _collection(bundle, OpenOptions(trust_pickle=False, why="it is an address"))


def _collection(bundle: Bundle, options: OpenOptions) -> Collection:
    return Found(
        folder=bundle.path,
        layout_name=f"bundle, {bundle.encoding}",
        recognised=options.why,
        parts=[BundlePart(bundle)],
        provenance=bundle.manifest.provenance,
        layout=bundle.layout,
        convex=encoding_of_manifest(bundle.manifest).takes_convexified,
    )


LAYOUT: Final = FileLayout(
    name="bundle",
    title="a bundle of this format, to change its encoding",
    files="a folder with manifest.json",
    recognise=_recognise,
    open=_open,
)


class BundlePart:
    """All trajectories of a bundle."""

    also: Sequence[Path] = ()

    @property
    def nbytes(self) -> int:
        """The bytes of the bundle's files."""
        return sum(self._bundle.files.sizes.values())

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.path = bundle.path / FILE_NAME

    @property
    def numbered(self) -> bool:
        """Whether every trajectory records the numbers of its timesteps."""
        return all(entry.numbers is not None for entry in self._bundle.manifest.trajectories)

    def verify(self) -> str:
        """Compare every file with its hash, and return the sha256 of the manifest that contains the hashes.

        Raises:
            FormatError: a file is missing or damaged.
        """
        self._bundle.verify()
        return self._bundle.sha256

    def copies(self, hashes: Sequence[str]) -> list[str]:
        """Return nothing: no file is a timestep of its own."""
        del hashes
        return []

    def unchanged(self) -> None:
        """Require that no file of the bundle has been changed since it was compared with its hash.

        Raises:
            SourceError: a file has been changed or replaced.
        """
        self._bundle.files.check_unchanged()

    def open(self, scratch: Path) -> Sequence[StoredTrajectory | StoredConvexified]:
        """Return the trajectories. Compressed ones are unpacked into `scratch` when they are read."""
        return [
            StoredConvexified(item) if isinstance(item, ConvexTrajectory) else StoredTrajectory(item, scratch)
            for item in self._bundle
        ]


class StoredTrajectory(StoredFull, Plain):
    """One trajectory of a full bundle."""


class StoredConvexified(StoredConvex, Plain):
    """One trajectory of a convex bundle."""

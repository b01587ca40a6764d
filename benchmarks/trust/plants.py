"""Faults that are planted in the library, to show that `histories.py` and `readers.py` find them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["PLANTS"]


def early_manifest() -> None:
    """An append replaces the manifest before the files that it lists are there."""
    from trajfmt.storage import publishing, staging
    from trajfmt.storage.writing import write_file

    merge = publishing.merge

    def early(root: Path, bundle: Path, destination: Path, manifest: bytes) -> None:
        write_file(destination / "manifest.json", manifest)
        time.sleep(0.05)
        merge(root, bundle, destination, manifest)

    staging.merge = early  # type: ignore[attr-defined]


def no_sync() -> None:
    """Nothing is made durable."""
    os.fsync = lambda _fd: None
    os.fdatasync = lambda _fd: None


def mixed_reader() -> None:
    """An open bundle has the length of the one that is at its path by now, and does not mind its files."""
    from trajfmt.bundle.reader import Bundle, read_manifest
    from trajfmt.bundle.standing import Standing
    from trajfmt.schema.parse import parse

    Standing.__call__ = lambda _self, _name: None  # type: ignore[method-assign]
    Bundle.__len__ = lambda self: len(parse(read_manifest(self.place)).trajectories)  # type: ignore[method-assign]


def no_lock() -> None:
    """Locks are had by everybody."""
    from trajfmt.storage import locks

    locks.fcntl.flock = lambda _fd, _operation: None  # type: ignore[assignment,misc]


def unverified() -> None:
    """Pieces and files from an address are not compared with their hashes."""
    from trajfmt.storage import arrivals, parts

    parts.require = lambda *_: None  # type: ignore[attr-defined]
    receive_rest = arrivals._receive_rest

    def trusting(fd: int, address: Any, name: str, size: int, held: int) -> str:
        receive_rest(fd, address, name, size, held)
        return hashes[name]

    hashes: dict[str, str] = {}
    receive = arrivals.receive

    def noted(fd: int, folder: Path, address: Any, name: str, size: int, sha256: str) -> None:
        hashes[name] = sha256
        receive(fd, folder, address, name, size, sha256)

    from trajfmt.storage import remote

    remote.receive = noted  # type: ignore[attr-defined]
    arrivals._receive_rest = trusting


PLANTS: dict[str, Callable[[], None]] = {
    "early-manifest": early_manifest,
    "no-sync": no_sync,
    "mixed-reader": mixed_reader,
    "no-lock": no_lock,
    "unverified": unverified,
}

"""The files of a source while they are converted: what identifies them, and that they stay as they are."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec

from trajfmt.errors import Reason, SourceError
from trajfmt.files import sha256_mapped
from trajfmt.manifest import SourceFile
from trajfmt.request import ConvertOptions
from trajfmt.sources import Part
from trajfmt.version import __version__

__all__ = ["Dealt", "Watched", "job_of"]


class Dealt(msgspec.Struct, frozen=True):
    """A part of a source that is dealt with, in the journal."""

    sources: list[SourceFile]
    end: int
    """Trajectories that the bundle had afterwards."""

    skipped: list[tuple[Reason, str]]
    """What was left out, and why."""


class Watched:
    """The files of a part: hashed by other threads, and required not to change meanwhile."""

    def __init__(self, part: Part, pool: ThreadPoolExecutor) -> None:
        self._files = (part.path, *part.also)
        self._before = [_status(path) for path in self._files]
        self._hashes: list[Future[str]] = [pool.submit(part.sha256)]
        if part.verifies:
            self._hashes[0].result()

    def hash_more(self, pool: ThreadPoolExecutor) -> None:
        """Start hashing the further files."""
        self._hashes += [pool.submit(sha256_mapped, path.resolve()) for path in self._files[1:]]

    def sources(self) -> list[SourceFile]:
        """Return the files for the provenance.

        Raises:
            SourceError: one of them has changed.
        """
        hashes = [future.result() for future in self._hashes]
        for path, status in zip(self._files, self._before, strict=True):
            if _status(path) != status:
                raise SourceError("source_changed", "the file changed while it was read", path=path)
        triples = zip(self._files, self._before, hashes, strict=True)
        return [SourceFile(path.name, size, sha256) for path, (size, _), sha256 in triples]


def _status(path: Path) -> tuple[int, int]:
    """Return size and time of a source file, which may go away while it is read."""
    try:
        status = path.stat()
    except OSError as exc:
        raise SourceError("source_changed", f"cannot be read any more: {exc.strerror}", path=path) from exc
    return status.st_size, status.st_mtime_ns


def job_of(parts: Sequence[Part], options: ConvertOptions, target: Path) -> bytes:
    """Identify the work: the same sources and settings give the same bytes."""
    paths = [path for part in parts for path in (part.path, *part.also)]
    files = [[os.fsencode(path.resolve()), *_status(path)] for path in paths]
    settings = msgspec.to_builtins(options)
    for name in ("keep_going", "trust_pickle"):  # may change between a run and its continuation
        del settings[name]
    text = msgspec.json.encode([__version__, target.suffix, files, settings], order="sorted")
    return hashlib.sha256(text).hexdigest().encode()

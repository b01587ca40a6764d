"""The files of a source while they are converted: what identifies them, and that they stay as they are."""

from __future__ import annotations

import hashlib
import mmap
import os
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from trajfmt.convert.options import ConvertOptions
from trajfmt.errors import SourceError
from trajfmt.schema.provenance import SourceFile
from trajfmt.sources.base.collection import Part
from trajfmt.storage.files import open_regular
from trajfmt.version import __version__

__all__ = ["Watched", "job_of"]

_PIECE: Final = 64 * 2**20


class Watched:
    """The files of a part: hashed by other threads, and required not to change meanwhile.

    A context manager: leaving it ends the hashing, so that an error waits for no hash that nobody will use.
    """

    def __init__(self, part: Part, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._left = threading.Event()
        self._files = (part.path, *part.also)
        self._before = [_status(path) for path in self._files]
        known = part.verify()
        self._known = [] if known is None else [known]
        self._hashes: list[Future[str]] = []
        if known is None:
            self._hash(part.path)

    def hash_more(self) -> None:
        """Start hashing the further files."""
        for path in self._files[1:]:
            self._hash(path)

    def sources(self) -> list[SourceFile]:
        """Return the files for the provenance.

        Raises:
            SourceError: one of them has changed.
        """
        hashes = [*self._known, *(future.result() for future in self._hashes)]
        for path, status in zip(self._files, self._before, strict=True):
            if _status(path) != status:
                raise SourceError("source_changed", "the file changed while it was read", path=path)
        triples = zip(self._files, self._before, hashes, strict=True)
        return [SourceFile(path.name, size, sha256) for path, (size, _), sha256 in triples]

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_error: object) -> None:
        self._left.set()

    def _hash(self, path: Path) -> None:
        self._hashes.append(self._pool.submit(_sha256, path.resolve(), self._left))


def _sha256(path: Path, stop: threading.Event) -> str:
    """Return the sha256 of a regular file, mapped and hashed in few large pieces.

    Small pieces would wait for the interpreter lock too often beside threads that compute in Python, which
    made hashing twice as slow as the whole conversion.

    Raises:
        CancelledError: `stop` was set.
    """
    digest = hashlib.sha256()
    fd = open_regular(path)
    try:
        size = os.fstat(fd).st_size
        if size:
            with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
                for start in range(0, size, _PIECE):
                    if stop.is_set():
                        raise CancelledError
                    with view[start : start + _PIECE] as piece:
                        digest.update(piece)
    finally:
        os.close(fd)
    return digest.hexdigest()


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

"""The files of a source during a conversion: their hashes, and a check that they do not change meanwhile."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path

import msgspec

from trajfmt.convert.options import ConvertOptions
from trajfmt.errors import SourceError
from trajfmt.schema.provenance import SourceFile
from trajfmt.sources.base.collection import Part
from trajfmt.storage.files import sha256_file
from trajfmt.version import __version__

__all__ = ["Watched", "job_of"]


class Watched:
    """The files of one part, hashed by the threads of a pool.

    As a context manager it ends the hashing on exit: an error does not wait for hashes that nobody needs.

    Args:
        part: the files. If the part can verify its own contents, its first file is not hashed here.
        pool: runs the hashing.

    Raises:
        SourceError: a file cannot be read any more.
        FormatError: the part has verified its contents and they are damaged.
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
        """Start hashing all files but the first, whose hashing starts at once."""
        for path in self._files[1:]:
            self._hash(path)

    def sources(self) -> list[SourceFile]:
        """Wait for the hashes and return name, size in bytes and sha256 of every file.

        Raises:
            SourceError: the size or the modification time of a file has changed.
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
        self._hashes.append(self._pool.submit(sha256_file, path.resolve(), self._check))

    def _check(self) -> None:
        if self._left.is_set():
            raise CancelledError


def _status(path: Path) -> tuple[int, int]:
    """Return size in bytes and modification time in nanoseconds of a source file."""
    try:
        status = path.stat()
    except OSError as exc:
        raise SourceError("source_changed", f"can no longer be read: {exc.strerror}", path=path) from exc
    return status.st_size, status.st_mtime_ns


def job_of(parts: Sequence[Part], options: ConvertOptions, target: Path) -> bytes:
    """Return what identifies a conversion: an interrupted one continues only if its identity is the same.

    The paths of the sources, the settings, the version and the suffix of the target are the command; the
    sizes and times of the sources are the state. The version and the source follow as text, for a message.
    See `trajfmt.storage.Staging`.
    """
    paths = [path for part in parts for path in (part.path, *part.also)]
    settings = msgspec.to_builtins(options)
    for name in ("keep_going", "trust_pickle"):  # may change between a run and its continuation
        del settings[name]
    command = [__version__, target.suffix, [os.fsencode(path.resolve()) for path in paths], settings]
    folder = os.fsencode(paths[0].resolve().parent) if paths else b""
    state = _hash([_status(path) for path in paths])
    return f"{_hash(command)}.{state} trajfmt {__version__} on ".encode() + folder


def _hash(facts: object) -> str:
    return hashlib.sha256(msgspec.json.encode(facts, order="sorted")).hexdigest()

"""The files of a source during a conversion: their hashes, and a check that they do not change meanwhile."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path

import msgspec

from trajfmt.convert.options import ConvertOptions
from trajfmt.errors import ReadError, SourceError, display
from trajfmt.schema.provenance import SourceFile
from trajfmt.sources.base.collection import Part
from trajfmt.storage.opened import Identity, OpenFile, changed, sha256_of
from trajfmt.version import __version__

__all__ = ["Watched", "check_names", "job_of"]


def check_names(parts: Iterable[Part]) -> None:
    """Refuse files whose names a bundle cannot record.

    Raises:
        SourceError: a name is not valid UTF-8.
    """
    for part in parts:
        for path in (part.path, *part.also):
            try:
                path.name.encode()
            except UnicodeEncodeError:
                raise SourceError(
                    "nothing_to_convert",
                    f"the name of {display(path.name)} is not valid UTF-8, so a bundle cannot record it;"
                    " rename the file",
                    path=path.parent,
                ) from None


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
        self._part = part
        self._pool = pool
        self._left = threading.Event()
        self._files = (part.path, *part.also)
        self._before = [_identity(path) for path in self._files]
        known = part.verify()
        self._known = [] if known is None else [known]
        self._hashes: list[Future[str]] = []
        if known is None:
            self._hash(0)

    def hash_more(self) -> None:
        """Start hashing all files but the first, whose hashing starts at once."""
        for number in range(1, len(self._files)):
            self._hash(number)

    def sources(self) -> list[SourceFile]:
        """Wait for the hashes and return name, size in bytes and sha256 of every file.

        Raises:
            SourceError: a file has been changed or replaced.
            ReadError: a file cannot be read any more.
        """
        hashes = [*self._known, *(future.result() for future in self._hashes)]
        self._part.unchanged()
        for path, before in zip(self._files, self._before, strict=True):
            if _identity(path) != before:
                raise changed(path)
        triples = zip(self._files, self._before, hashes, strict=True)
        return [SourceFile(path.name, before.size, sha256) for path, before, sha256 in triples]

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_error: object) -> None:
        self._left.set()

    def _hash(self, number: int) -> None:
        self._hashes.append(self._pool.submit(self._hashed, number))

    def _hashed(self, number: int) -> str:
        path = self._files[number]
        with OpenFile(path.resolve(), path) as file:
            if file.identity != self._before[number]:
                raise changed(path)
            return sha256_of(file, self._check)

    def _check(self) -> None:
        if self._left.is_set():
            raise CancelledError


def _identity(path: Path) -> Identity:
    """Return the identity of a source file."""
    try:
        return Identity.of(path.stat())
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise SourceError("source_changed", f"can no longer be read: {exc.strerror}", path=path) from exc
    except OSError as exc:
        raise ReadError.of(exc, path) from exc


def job_of(parts: Sequence[Part], listed: Sequence[Part], options: ConvertOptions, target: Path) -> bytes:
    """Return what identifies a conversion: an interrupted one continues only if its identity is the same.

    The paths of the sources, the settings, the version and the suffix of the target are the command; which
    files are used, their sizes and their times, are the state. The time of the last change of the status is
    one of them, because a file that is overwritten in place can keep everything else. The version and the
    source follow as text, for a message. See `trajfmt.storage.Staging`.

    Args:
        parts: the parts that are converted.
        listed: the parts without `keep_going`, which may have more files.
        options: the options of the conversion.
        target: the path of the bundle.
    """
    paths = _paths(parts)
    states = [[os.fsencode(path.resolve()), *_identity(path), path.stat().st_ctime_ns] for path in paths]
    settings = msgspec.to_builtins(options)
    for name in ("keep_going", "trust_pickle"):  # may change between a run and its continuation
        del settings[name]
    sources = [os.fsencode(path.resolve()) for path in _paths(listed)]
    command = [__version__, target.suffix, sources, settings]
    folder = os.fsencode(paths[0].resolve().parent) if paths else b""
    return f"{_hash(command)}.{_hash(states)} trajfmt {__version__} on ".encode() + folder


def _paths(parts: Sequence[Part]) -> list[Path]:
    return [path for part in parts for path in (part.path, *part.also)]


def _hash(facts: object) -> str:
    return hashlib.sha256(msgspec.json.encode(facts, order="sorted")).hexdigest()

"""A hidden sibling folder in which a bundle is built, so that nothing unfinished is ever at the destination.

Owns locking, resuming and publishing. Knows no encoding: a finished trajectory is a record and its files.

    .out.mct.partial/
        lock                 held while a process writes
        job                  what is being made; another job starts afresh
        journal/00003.json   one finished trajectory, written after its files are durable
        journal/00003.npz    its tables
    journal/source-….json  a source file that is dealt with
        bundle/…             the files, at the paths they will have
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import itertools
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import ExistsError, UnsafeError, UsageError, WriteError, display
from trajfmt.storage.files import fsync_directory, write_file

__all__ = ["Staging"]


class Staging:
    """The folder in which the bundle for `destination` is built.

    Args:
        destination: where the bundle will be.
        job: what is being made. Work of an earlier, interrupted process with the same job is kept; other
            work is discarded.

    Raises:
        UsageError: the parent folder is missing, or another process is writing there.
    """

    def __init__(self, destination: Path, job: bytes) -> None:
        destination = destination.absolute()  # a later chdir must not move it
        parent = destination.parent
        if not parent.is_dir():
            raise UsageError(f"{display(parent)}: no such folder; create it first")
        self.destination = destination
        self.root = parent / f".{destination.name}.partial"
        self.bundle = self.root / "bundle"
        self._journal = self.root / "journal"
        self._pending = self.root / "pending"
        self._counter = itertools.count()
        self._lock = self._take_lock()
        try:
            self.resumed: bool = self._is(job)
            if not self.resumed:
                self._forget()
                write_file(self.root / "job", job)
            shutil.rmtree(self._pending, ignore_errors=True)
            for folder in (self.bundle, self._journal, self._pending):
                folder.mkdir(exist_ok=True)
        except BaseException:
            self.release()
            raise

    @staticmethod
    def unfinished(destination: Path) -> bytes | None:
        """Return the job of an interrupted process that has finished trajectories for `destination`."""
        root = destination.absolute().parent / f".{destination.name}.partial"
        try:
            job = (root / "job").read_bytes()
        except OSError:
            return None
        return job if any((root / "journal").glob("[0-9]*.json")) else None

    def _take_lock(self) -> int:
        """Lock the hidden folder; again if another process removed it in between."""
        path = self.root / "lock"
        while True:
            self._take_root()
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                os.close(lock)
                raise UsageError(f"{display(self.destination)}: another process is writing it") from exc
            if path.exists() and os.path.samestat(os.fstat(lock), os.stat(path)):
                return lock
            os.close(lock)

    def _take_root(self) -> None:
        """Create the hidden folder, or take over an earlier process's; never follow a link to one."""
        try:
            self.root.mkdir(mode=0o700, exist_ok=True)
            status = os.lstat(self.root)
        except FileExistsError:
            status = os.lstat(self.root)
        except OSError as exc:
            message = f"{display(self.root.parent)}: cannot create files here: {exc.strerror}"
            raise WriteError(message) from exc
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise UsageError(
                f"{display(self.root)}: is not a folder of ours, and the bundle is built there; remove it"
            )

    def _forget(self) -> None:
        """Drop earlier work; the job goes first, so that an interruption here leaves none half-known."""
        (self.root / "job").unlink(missing_ok=True)
        for old in (self.bundle, self._journal):
            shutil.rmtree(old, ignore_errors=True)

    def _is(self, job: bytes) -> bool:
        try:
            return (self.root / "job").read_bytes() == job
        except OSError:
            return False

    def path(self, name: str) -> Path:
        """Return where a file of the bundle is built, creating its folder."""
        path = self.bundle / name
        path.parent.mkdir(exist_ok=True)
        return path

    def pending(self) -> Path:
        """Return a new path for a file whose final name is not settled."""
        return self._pending / str(next(self._counter))

    def record(self, key: str, data: bytes, arrays: Mapping[str, NDArray[np.generic]] | None = None) -> None:
        """Remember that a piece of work is finished; its files must be durable by now."""
        if arrays is not None:
            packed = io.BytesIO()
            try:
                np.savez(packed, allow_pickle=False, **arrays)
            except ValueError as exc:  # Ctrl-C inside, which closing the zip file then covers
                if isinstance(exc.__context__, KeyboardInterrupt):
                    raise exc.__context__ from None
                raise
            write_file(self._journal / f"{key}.npz", packed.getvalue())
        write_file(self._journal / f"{key}.json", data)

    def recall(self, key: str) -> tuple[bytes, dict[str, NDArray[np.generic]]] | None:
        """Return what `record` remembered, in this process or an interrupted one before it."""
        try:
            data = (self._journal / f"{key}.json").read_bytes()
        except FileNotFoundError:
            return None
        arrays: dict[str, NDArray[np.generic]] = {}
        packed = self._journal / f"{key}.npz"
        if packed.exists():
            with np.load(packed, allow_pickle=False) as loaded:
                arrays = {name: loaded[name] for name in loaded.files}
        return data, arrays

    @property
    def empty(self) -> bool:
        """Return whether no trajectory was finished yet."""
        return not any(self._journal.glob("[0-9]*.json"))

    def publish(self) -> None:
        """Give the destination what was built, in one rename.

        Raises:
            ExistsError: something appeared at the destination meanwhile.
        """
        for folder, _, _ in os.walk(self.bundle):
            fsync_directory(Path(folder))
        if os.path.lexists(self.destination):
            raise ExistsError(f"{display(self.destination)} already exists; choose another name")
        os.rename(self.bundle, self.destination)
        with contextlib.suppress(OSError):  # it is there; what follows must not say otherwise
            fsync_directory(self.destination.parent)
            self.discard()

    def publish_into(self, manifest_name: str, manifest: bytes) -> None:
        """Add the files to the existing bundle at the destination, then swap its manifest.

        Until the swap the new files are not listed, and so ignored.
        """
        for folder, _, names in os.walk(self.bundle):
            target = self.destination / Path(folder).relative_to(self.bundle)
            if target.is_symlink() and target != self.destination:
                raise UnsafeError("path_unsafe", "a link where a folder is expected", path=target)
            target.mkdir(exist_ok=True)
            for name in names:
                os.replace(Path(folder) / name, target / name)
            fsync_directory(target)
        write_file(self.destination / manifest_name, manifest)
        with contextlib.suppress(OSError):
            self.discard()

    def discard(self) -> None:
        """Remove the folder with everything in it."""
        self._forget()
        shutil.rmtree(self.root, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Leave the folder for a later process to continue."""
        shutil.rmtree(self._pending, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

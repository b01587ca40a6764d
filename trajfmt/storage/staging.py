"""The hidden folder next to the destination in which a bundle is built: lock, journal, publication.

Nothing unfinished is ever at the destination. This module knows no encoding. To it, a finished trajectory is
a record in the journal, and files.

    .out.mct.partial/
        lock                           locked while a process writes here
        owner                          instead of the lock, where the file system has none
        job                            identifies what is built, so that only the same run continues it
        manifest.sha256                of the manifest that an append is about to put into the bundle
        bundle/…                       the files of finished trajectories, under their final names
        journal/
            00003.json                 record of trajectory 3, written after its files
            00003.safetensors          its tables
            source-00001.json          record of source file 1, all of whose trajectories are finished
        pending/
            5                          a file of a trajectory in progress
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import ExistsError, LockedError, TrajfmtError, UsageError, WriteError, display
from trajfmt.storage.filesystem import our_uid
from trajfmt.storage.locks import BusyError, Lock
from trajfmt.storage.publishing import NOTE, content, hidden, is_published, merge, move, names, sync_files
from trajfmt.storage.safetensors import NAMES, SafetensorsFile, encode_header
from trajfmt.storage.writing import write_file

__all__ = ["Staging"]

_LOCK: Final = "lock"
"""File in the hidden folder, locked by the process that writes there. A folder without it is not ours."""


class Staging:
    """The folder in which the bundle for `destination` is built, locked by this process.

    Args:
        destination: where the bundle will be.
        job: `COMMAND.STATE TEXT`, of which all but the command may be missing. The finished work of an
            interrupted process is kept if it had the same job. If only the state of its inputs was another
            one, nobody can continue it; it is removed, and `stale` says so. The text describes it for a
            message. None: no process can continue it.
        durable: whether records survive a failure of the power. Otherwise they survive a kill, and what they
            name is made durable before publication.

    Raises:
        ExistsError: an interrupted process with another command has finished trajectories.
        UsageError: the parent folder is missing.
        LockedError: another process is writing to this destination.
        WriteError: files cannot be created in the parent folder.
        OSError: earlier work cannot be read.

    Warns:
        FileSystemWarning: the file system has no locks; see `trajfmt.storage.locks`.
    """

    def __init__(self, destination: Path, job: bytes | None, *, durable: bool = True) -> None:
        destination = destination.absolute()  # a later chdir must not move it
        parent = destination.parent
        if not parent.is_dir():
            raise UsageError(f"{display(parent)}: no such folder; create it first")
        self.destination = destination
        self.root = hidden(destination)
        self.bundle = self.root / "bundle"
        self._journal = self.root / "journal"
        self._pending = self.root / "pending"
        self._counter = itertools.count()
        self._durable = durable
        self._lock: Lock | None = self._take_lock()
        try:
            found = Staging.unfinished(destination)
            self.resumed: bool = job is not None and job == content(self.root / "job")
            self.stale: bool = not self.resumed and None not in (found, job) and _same(found, job)
            if not self.resumed:
                if found is not None and not self.stale:
                    raise ExistsError(_other(self.root, found))
                self._forget()
                if job is not None:
                    write_file(self.root / "job", job)
            shutil.rmtree(self._pending, ignore_errors=True)
            for folder in (self.bundle, self._journal, self._pending):
                folder.mkdir(exist_ok=True)
        except BaseException as exc:
            self.release()
            if isinstance(exc, OSError) and not isinstance(exc, TrajfmtError):
                raise WriteError(f"{display(self.root)}: cannot be written: {exc.strerror or exc}") from exc
            raise

    @staticmethod
    def unfinished(destination: Path) -> bytes | None:
        """Return the job of an interrupted process that finished trajectories for `destination`, or None.

        Raises:
            OSError: its files cannot be read.
        """
        root = hidden(destination)
        job = content(root / "job")
        if job is None or is_published(root, destination):
            return None
        return job if _finished(root / "journal") else None

    @staticmethod
    def sweep(destination: Path) -> None:
        """Remove what a killed process left, if nobody can continue it."""
        root = hidden(destination)
        with contextlib.suppress(OSError, UsageError):  # also if another process is writing
            ours = (root / _LOCK).is_file() or (root.is_dir() and not names(root))
            if ours and Staging.unfinished(destination) is None:
                Staging(destination, None).discard()

    def _take_lock(self) -> Lock:
        """Lock the hidden folder. Try again if another process has removed it in between."""
        path = self.root / _LOCK
        while True:
            self._take_root()
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW)
                opened = os.fstat(fd)
                lock = Lock(fd, self.root / "owner", self.destination)
            except FileNotFoundError:
                continue
            except BusyError as exc:
                why = f"; {exc}" if str(exc) else ""
                raise LockedError(f"{display(self.destination)}: another process is writing it{why}") from exc
            except OSError as exc:
                raise WriteError(f"{display(path)}: cannot be locked: {exc.strerror or exc}") from exc
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(opened, os.stat(path)):
                    return lock
            lock.release()

    def _take_root(self) -> None:
        """Create the hidden folder, or take over that of an earlier process. A link is refused."""
        created = False
        try:
            self.root.mkdir(mode=0o700)
            created = True
        except FileExistsError:
            pass
        except OSError as exc:
            message = f"{display(self.root.parent)}: cannot create files here: {exc.strerror}"
            raise WriteError(message) from exc
        try:
            status = os.lstat(self.root)
        except FileNotFoundError:
            return  # another process has removed it: `_take_lock` tries again
        ours = created or status.st_uid == os.geteuid() or status.st_uid == our_uid(self.root.parent)
        if not stat.S_ISDIR(status.st_mode) or not ours:
            raise UsageError(
                f"{display(self.root)}: the bundle is built here, but this is no folder of yours; remove it"
            )
        there = names(self.root)  # once: another process may be creating its files
        if there and _LOCK not in there:
            raise UsageError(
                f"{display(self.root)}: the bundle is built here, but this folder is not of an earlier run;"
                " rename it or remove it"
            )

    def _forget(self) -> None:
        """Remove earlier work. The job goes first: an interruption here leaves nothing to be continued."""
        for name in ("job", NOTE):
            (self.root / name).unlink(missing_ok=True)
        for old in (self.bundle, self._journal):
            shutil.rmtree(old, ignore_errors=True)

    def path(self, name: str) -> Path:
        """Return where the file `name` of the bundle is built, and create its folder."""
        path = self.bundle / name
        path.parent.mkdir(exist_ok=True)
        return path

    def pending(self) -> Path:
        """Return a new path for a file whose final name is not known yet."""
        return self._pending / str(next(self._counter))

    def record(self, key: str, data: bytes, arrays: Mapping[str, NDArray[np.generic]] | None = None) -> None:
        """Record that a piece of work is finished. If records are durable, its files must be so already.

        Args:
            key: name of the record. Those of trajectories begin with a digit.
            data: what `recall` returns.
            arrays: what `recall` returns besides, by name: of the types that safetensors has.
        """
        if arrays is not None:
            stored = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
            header = encode_header([(name, NAMES[x.dtype], x.shape) for name, x in stored.items()], {})
            self._write(f"{key}.safetensors", header, *(x.data for x in stored.values()))
        self._write(f"{key}.json", data, b"\n", hashlib.sha256(data).hexdigest().encode())

    def _write(self, name: str, *data: bytes | memoryview) -> None:
        """Write a file of the journal."""
        write_file(self._journal / name, *data, durable=self._durable)

    def recall(self, key: str) -> tuple[bytes, dict[str, NDArray[np.generic]]] | None:
        """Return data and arrays that `record` has stored, in this process or in an interrupted one.

        None if there is no such record, or if it is damaged.
        """
        try:
            data, _, digest = (self._journal / f"{key}.json").read_bytes().rpartition(b"\n")
        except FileNotFoundError:
            return None
        if hashlib.sha256(data).hexdigest().encode() != digest:
            return None
        arrays: dict[str, NDArray[np.generic]] = {}
        path = self._journal / f"{key}.safetensors"
        if path.exists():
            file = SafetensorsFile(path)
            arrays = {name: file.array(name) for name in file.tensors}
        return data, arrays

    @property
    def empty(self) -> bool:
        """Whether no trajectory is finished yet. An unreadable journal is not empty."""
        try:
            return not _finished(self._journal)
        except OSError:
            return False

    def publish(self) -> None:
        """Move the finished bundle to the destination, in one rename.

        Raises:
            ExistsError: something has appeared at the destination meanwhile.
            OSError: the bundle could not be moved or made durable. It is not at the destination then.
        """
        self._settle()
        move(self.bundle, self.destination)
        with contextlib.suppress(OSError, KeyboardInterrupt):  # the bundle is there, whatever happens now
            self.discard()

    def publish_into(self, manifest: bytes) -> None:
        """Move the new files into the bundle at the destination, then replace its manifest.

        Raises:
            UnsafeError: a folder of the bundle at the destination is a link.
            OSError: the files could not be moved or made durable. The bundle has its old manifest then.
        """
        self._settle()
        merge(self.root, self.bundle, self.destination, manifest)
        with contextlib.suppress(OSError, KeyboardInterrupt):
            self.discard()

    def _settle(self) -> None:
        """Make the files of records durable that were not. File systems write out all changes at once."""
        if not self._durable:
            sync_files(self.bundle)

    def discard(self) -> None:
        """Remove the folder with everything in it, and unlock it. What it is recognised by goes last."""
        with contextlib.suppress(OSError):
            last = ("job", NOTE, _LOCK)  # by which a process that is killed here is recognised
            for name in (*sorted(set(names(self.root)) - set(last)), *last[:2]):
                path = self.root / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        shutil.rmtree(self.root, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Unlock the folder, and keep the finished work for a later process."""
        shutil.rmtree(self._pending, ignore_errors=True)
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def _finished(journal: Path) -> bool:
    """Return whether there is a record of a trajectory."""
    return any(name[:1].isdigit() for name in names(journal))


def _same(found: bytes | None, job: bytes | None) -> bool:
    """Return whether two jobs are of one command; in front of it, an append has the hash of its bundle."""
    one, other = ((text or b"").partition(b" ")[0].rpartition(b"-")[2] for text in (found, job))
    return one.partition(b".")[0] == other.partition(b".")[0]


def _other(root: Path, job: bytes) -> str:
    """Return the message about finished work of another job."""
    described = job.partition(b" ")[2].decode(errors="replace")
    whose = f" ({display(described)})" if described else ""
    return (
        f"{display(root)}: an interrupted run{whose} has finished trajectories for this bundle, and it had"
        " another source, other options or another version; run its command again to finish it, or remove"
        " this folder to give them up"
    )

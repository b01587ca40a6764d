"""Files that have arrived and are being made durable, in threads of their own, while they are already read.

Waiting for the disk would cost as much time as fetching a small file. The data are in memory and verified.
Only the name of a file in the cache must wait until they are durable.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress

from trajfmt.storage.opened import OpenFile

__all__ = ["Settling"]


class Settling:
    """The files of one bundle that are being made durable, by name."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[threading.Thread, OpenFile]] = {}
        self._lock = threading.Lock()
        self._process = os.getpid()

    def __reduce__(self) -> tuple[type[Settling], tuple[()]]:
        return Settling, ()

    def __contains__(self, name: str) -> bool:
        return self._process == os.getpid() and name in self._files

    def begin(self, name: str, file: OpenFile, work: Callable[[], None]) -> None:
        """Begin to make a file durable.

        If that fails, the file does not get its name, and the next process fetches it again.

        Args:
            name: its name.
            file: the file, open for reading.
            work: makes it durable.
        """

        def run() -> None:
            try:
                with suppress(OSError):
                    work()
            finally:
                with self._lock:
                    del self._files[name]

        if self._process != os.getpid():  # forked: the threads are those of the parent
            self.__init__()  # type: ignore[misc]
        thread = threading.Thread(target=run)  # no daemon: the process ends when the file has its name
        with self._lock:
            self._files[name] = thread, file
        thread.start()

    def opened(self, name: str) -> OpenFile | None:
        """Return a file that is being made durable, open for reading; None if it is not."""
        if name not in self:
            return None
        with self._lock:
            _, file = self._files.get(name, (None, None))
            return None if file is None else OpenFile.of(os.dup(file.fd), file.where)

    def wait(self, name: str) -> None:
        """Wait until a file is durable, if it is not."""
        found = self._files.get(name) if name in self else None
        if found is not None:
            found[0].join()

    def wait_for_all(self) -> None:
        """Wait until all files are durable."""
        for name in list(self._files):
            self.wait(name)

"""A file of any origin as an input: opened when it is first read, and read by position.

Inputs are not mapped. Reading a map of a file that another process truncates would end this process, and some
file systems have no maps. Positioned reads of the pieces that the converter asks for are as fast.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from zlib_ng.zlib_ng import crc32

from trajfmt.errors import CorruptError
from trajfmt.storage.kinds import refuse_others
from trajfmt.storage.opened import OpenFile, changed

__all__ = ["InputFile", "Row"]

_TEXT: Final = 3
"""Bytes of the shortest text. The first two of a size may look like letters."""


class Row:
    """The numbers of one tensor in a file, flattened. Slicing reads them, and `np.asarray` reads all.

    Args:
        file: the file.
        dtype: their type.
        count: how many they are.
        start: position of the first byte in the file.
        verify: called with the CRC-32 of all bytes, once pieces have been read from the first to the last.
    """

    __slots__ = ("_crc", "_file", "_next", "_start", "_verify", "dtype", "shape")

    def __init__(
        self,
        file: OpenFile,
        dtype: np.dtype[Any],
        count: int,
        start: int,
        verify: Callable[[int], None] | None = None,
    ) -> None:
        self.dtype: np.dtype[Any] = dtype
        self.shape: tuple[int] = (count,)
        self._file = file
        self._start = start
        self._verify = verify
        self._crc = self._next = 0

    def __getitem__(self, piece: slice) -> NDArray[Any]:
        """Read consecutive numbers."""
        low, high, _ = piece.indices(self.shape[0])
        out = np.empty(max(0, high - low), self.dtype)
        self.read_into(out.view(np.uint8), low)
        return out

    def read_into(self, out: NDArray[np.uint8], start: int) -> None:
        """Read numbers from number `start` on, as the bytes that `out` has room for."""
        self._file.fill(out, self._start + start * self.dtype.itemsize)
        if self._verify is not None and start == self._next:
            self._crc = crc32(out.data, self._crc)
            self._next += out.size // self.dtype.itemsize
            if self._next == self.shape[0]:
                self._verify(self._crc)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read all numbers."""
        del copy
        array = self[:]
        return array if dtype is None else array.astype(dtype, copy=False)


class InputFile:
    """A regular file that is opened when it is first read.

    An open file takes a descriptor, of which a process has few.

    Args:
        path: the file.
        least: its smallest size in bytes.

    Raises:
        CorruptError: the file is shorter than `least` bytes.
        SourceError: it is, and it is of another kind, such as a text.
        UnsafeError: the path is no regular file.
        ReadError: the file cannot be opened.
    """

    def __init__(self, path: Path, *, least: int) -> None:
        self.path = path
        self._opened: OpenFile | None = OpenFile(path)
        self._identity = self._opened.identity
        self.nbytes: int = self._identity.size
        if self.nbytes < least:
            if self.nbytes >= _TEXT:
                refuse_others(path)
            raise CorruptError(
                "source_truncated", f"must have {least} bytes or more, has {self.nbytes}", path=path
            )

    def opened(self) -> OpenFile:
        """Return the open file.

        Raises:
            SourceError: the file has been changed or replaced since it was first opened.
            ReadError: the file cannot be opened any more.
        """
        opened = self._opened
        if opened is None:
            opened = OpenFile(self.path)
            if opened.identity != self._identity:
                raise changed(self.path)
            self._opened = opened
        return opened

    def __len__(self) -> int:
        return self.nbytes

    def read(self, offset: int, nbytes: int) -> bytes:
        """Return up to `nbytes` bytes from byte `offset`: fewer where the file ends.

        Raises:
            SourceError: the file has been changed meanwhile.
            ReadError: the operating system reports an error.
        """
        offset = min(offset, self.nbytes)
        return self.opened().read(offset, min(nbytes, self.nbytes - offset))

    def row(
        self,
        dtype: np.dtype[Any],
        count: int,
        start: int,
        verify: Callable[[int], None] | None = None,
    ) -> Row:
        """Return `count` numbers from byte `start`, which are read later. For the arguments see `Row`."""
        return Row(self.opened(), dtype, count, start, verify)

    def release(self) -> None:
        """Close the file until it is read again. Rows keep it open."""
        self._opened = None

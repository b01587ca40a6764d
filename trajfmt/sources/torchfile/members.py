"""The members of a zip file that torch wrote, and their byte ranges.

The zip structures are those of APPNOTE.TXT 4.3: end records, directory, local headers. Python's `zipfile`
needs 600 bytes of memory for each member, and this module 20. A replay buffer has a member for every tensor
of every timestep, and the memory of a conversion must not grow with the size of its files.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Final

import numpy as np

from trajfmt.errors import CorruptError
from trajfmt.storage.inputs import InputFile

__all__ = ["Members", "Unusual", "compare"]

_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR: Final = struct.Struct("<4sLQL")
_ENTRY: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_SATURATED: Final = 0xFFFFFFFF
"""A 32-bit number whose 64-bit value is in the entry's extra field."""

_MAX_PICKLE: Final = 64 * 2**20
"""Bytes of the longest pickle that is read here."""

_LONGEST: Final = _ENTRY.size + 3 * 2**16
"""Bytes of the longest entry: name, extra field and comment have 16-bit lengths."""

_PIECE: Final = 2**20
"""Bytes of the directory that are read at a time."""

_NUMBERED: Final = b"data/"


class Unusual(Exception):  # noqa: N818  # not an error: another reader takes over
    """The file is not of the plain kind that this reader understands."""


class Members:
    """The directory of a zip file whose members are stored as they are.

    Args:
        file: the file.
        path: the file's name in error messages.

    Raises:
        Unusual: the file is no such zip file, or two members have the same name. torch then reports the
            error.
    """

    def __init__(self, file: InputFile, path: Path) -> None:
        self.path = path
        self._file = file
        self._named: dict[bytes, tuple[int, int, int]] = {}
        try:
            self._read(*self._directory())
        except struct.error as exc:
            raise Unusual from exc

    @property
    def numbered(self) -> int:
        """A number above the numbers of all storages."""
        return len(self._headers)

    def storage(self, number: int) -> tuple[int, int, int]:
        """Return position, number and CRC-32 of the bytes of the member `data/{number}`.

        Raises:
            Unusual: there is no such member, or its local header is damaged.
        """
        if not 0 <= number < len(self._headers) or self._headers[number] < 0:
            raise Unusual
        start = self._begin(int(self._headers[number]))
        return start, int(self._sizes[number]), int(self._sums[number])

    def named(self, name: bytes) -> tuple[int, int, int] | None:
        """Return position, number and CRC-32 of the bytes of any other member, or None if there is none.

        Raises:
            Unusual: its local header is damaged.
        """
        found = self._named.get(name)
        return found and (self._begin(found[0]), *found[1:])

    @property
    def pickled(self) -> int:
        """The bytes of the pickle."""
        about = self.named(b"data.pkl")
        return 0 if about is None else about[1]

    def pickle(self) -> bytes:
        """Return the pickle.

        Raises:
            Unusual: there is no pickle, it is very long, or the file's numbers are not little-endian.
            CorruptError: the pickle does not have its CRC-32. One flipped bit can name another tensor.
        """
        about, order = self.named(b"data.pkl"), self.named(b"byteorder")
        if about is None or not 0 < about[1] <= _MAX_PICKLE or not self.holds(*about[:2]):
            raise Unusual
        if order is not None and (order[1] > 6 or self._file.read(*order[:2]) != b"little"):
            raise Unusual
        start, nbytes, crc = about
        code = self._file.read(start, nbytes)
        compare(zlib.crc32(code), crc, "its pickle", self.path)
        return code

    def holds(self, start: int, nbytes: int) -> bool:
        """Return whether the file has `nbytes` bytes from position `start` on."""
        return start + nbytes <= len(self._file)

    def _directory(self) -> tuple[int, int]:
        """Return the position of the directory and the number of its entries."""
        at = len(self._file) - _END.size
        if at < 0:
            raise Unusual
        magic, disk, first, _, count, _, start, comment = _END.unpack(self._file.read(at, _END.size))
        if magic != b"PK\x05\x06" or disk or first or comment:
            raise Unusual
        if at >= _LOCATOR.size:
            magic, disk, at64, disks = _LOCATOR.unpack(self._file.read(at - _LOCATOR.size, _LOCATOR.size))
            if magic == b"PK\x06\x07":
                magic, *_, count, _, start = _END64.unpack(self._file.read(at64, _END64.size))
                if magic != b"PK\x06\x06" or disk or disks != 1:
                    raise Unusual
        if count * _ENTRY.size > len(self._file):
            raise Unusual
        return start, count

    def _read(self, at: int, count: int) -> None:
        """Read `count` entries of the directory from position `at` on."""
        self._headers = np.full(count, -1, np.int64)
        self._sizes = np.zeros(count, np.int64)
        self._sums = np.zeros(count, np.uint32)
        folder = None
        data, base = b"", at
        for _ in range(count):
            if at + _LONGEST > base + len(data):
                data, base = self._file.read(at, max(_LONGEST, _PIECE)), at
            at -= base
            (magic, _, _, flags, method, _, _, crc, packed, size, long, extra, comment, _, _, _, header) = (
                _ENTRY.unpack_from(data, min(at, len(data)))
            )
            at += _ENTRY.size
            name = data[at : at + long]
            if size == _SATURATED or packed == _SATURATED or header == _SATURATED:
                field = data[at + long : at + long + extra]
                size, packed, header = _widen(field, size, packed, header)
            at += base + long + extra + comment
            owner, _, rest = name.partition(b"/")
            plain = magic == b"PK\x01\x02" and method == 0 and size == packed and not flags & 1
            if not plain or owner != (folder := owner if folder is None else folder):
                raise Unusual
            self._take(rest, header, size, crc)

    def _take(self, name: bytes, header: int, size: int, crc: int) -> None:
        if name != name.lower():  # torch ignores the case of a name
            raise Unusual
        digits = name.removeprefix(_NUMBERED)
        if digits == name or not digits.isdigit() or (digits[:1] == b"0" and digits != b"0"):
            if name in self._named:
                raise Unusual
            self._named[name] = header, size, crc
            return
        if len(digits) > 18:
            raise Unusual
        number = int(digits)
        if number >= len(self._headers) or self._headers[number] >= 0 or max(header, size) >= 2**62:
            raise Unusual
        self._headers[number], self._sizes[number], self._sums[number] = header, size, crc

    def _begin(self, header: int) -> int:
        """Return the position of the bytes that follow a local header."""
        if header + _LOCAL.size > len(self._file):
            raise Unusual
        magic, *_, name, extra = _LOCAL.unpack(self._file.read(header, _LOCAL.size))
        if magic != b"PK\x03\x04":
            raise Unusual
        return header + _LOCAL.size + int(name) + int(extra)


def compare(found: int, crc: int, what: str, path: Path) -> None:
    """Require that the bytes of one member have its CRC-32.

    Args:
        found: the CRC-32 of the bytes.
        crc: what it must be. The option of torch that omits it writes 0, which is not compared.
        what: the member's name in the error message.
        path: the file's name in the error message.

    Raises:
        CorruptError: they have another CRC-32.
    """
    if crc and found != crc:
        raise CorruptError(
            "source_invalid",
            f"{what}: CRC-32 must be {crc:08x}, got {found:08x}; the file is damaged",
            path=path,
        )


def _widen(extra: bytes, *values: int) -> list[int]:
    """Replace saturated values by those of the zip64 field, which has them in the same order."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
            try:
                return [next(wide) if value == _SATURATED else value for value in values]
            except StopIteration:
                raise Unusual from None
        at += 4 + length
    raise Unusual

"""The members of a zip file that torch wrote, and their byte ranges.

The zip structures are those of APPNOTE.TXT 4.3: end records, directory, local headers. Python's `zipfile`
needs 600 bytes of memory for each member, and this module 20. A replay buffer has a member for every tensor
of every timestep, and the memory of a conversion must not grow with the size of its files.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

import numpy as np
from zlib_ng.zlib_ng import crc32

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

_NUMBERED: Final = b"data/"
_LONGEST: Final = _ENTRY.size + 3 * 2**16
"""Bytes of the longest entry: name, extra field and comment have 16-bit lengths."""

_DIRECTORY: Final = 2**20
"""Bytes of the directory that are read at a time."""

_BLOCK: Final = 4 * 2**20
"""Bytes whose CRC-32 is computed at a time when a whole file is compared."""


class Unusual(Exception):  # noqa: N818  # not an error: another reader takes over
    """The file is not of the plain kind that this reader understands."""


class Members:
    """The directory of a zip file whose members are stored as they are.

    Where a CRC-32 is given as 0 here, there is none. torch has an option that writes 0 for all members of a
    file. A 0 beside other checksums is compared like these.

    Args:
        file: the file.
        path: the file's name in error messages.

    Raises:
        Unusual: the file is no such zip file, two members have the same name, or the directory contradicts
            the names in the file.
        CorruptError: a member with the CRC-32 of 0 beside others has another one.
    """

    def __init__(self, file: InputFile, path: Path) -> None:
        self.path = path
        self.file: InputFile = file
        self._named: dict[bytes, tuple[int, int, int]] = {}
        self._root = b""
        try:
            self._read(*self._directory())
        except struct.error as exc:
            raise Unusual from exc
        for name, found in self._named.items():
            self._begin(found[0], name)
        self._require_sums()

    @property
    def numbered(self) -> int:
        """A number above the numbers of storages, unless these are addresses."""
        return len(self._headers)

    def storage(self, number: int) -> tuple[int, int, int]:
        """Return position, number and CRC-32 of the bytes of the member `data/{number}`.

        Raises:
            Unusual: there is no such member, or its local header is damaged.
        """
        if number >= len(self._headers) and (found := self.named(b"data/%d" % number)):
            return found
        if not 0 <= number < len(self._headers) or self._headers[number] < 0:
            raise Unusual
        start = self._begin(int(self._headers[number]), b"data/%d" % number)
        return start, int(self._sizes[number]), int(self._sums[number])

    def named(self, name: bytes) -> tuple[int, int, int] | None:
        """Return position, number and CRC-32 of the bytes of any other member, or None if there is none.

        Raises:
            Unusual: its local header is damaged.
        """
        found = self._named.get(name)
        return found and (self._begin(found[0], name), *found[1:])

    @property
    def summed(self) -> bool:
        """Whether the members have checksums."""
        return bool(self._sums.any()) or any(crc for _, _, crc in self._named.values())

    def verify(self) -> None:
        """Compare every member with its CRC-32.

        Raises:
            Unusual: a member is not where the directory says.
            CorruptError: a member does not have its CRC-32.
        """
        for name in self._named:
            found = self.named(name)
            if found is not None:
                self._compare(name.decode(errors="replace"), *found)
        for number in np.flatnonzero(self._headers >= 0):
            self._compare(f"data/{number}", *self.storage(int(number)))

    def pickle(self, most: int = _MAX_PICKLE) -> tuple[int, int]:
        """Return the positions of the first byte of the pickle and of the byte after its last.

        Args:
            most: bytes of the longest pickle that the caller reads.

        Raises:
            Unusual: there is no pickle, or it is longer.
            CorruptError: the pickle does not have its CRC-32. One flipped bit can name another tensor.
        """
        about = self.named(b"data.pkl")
        if about is None or not 0 < about[1] <= most or not self.holds(*about[:2]):
            raise Unusual
        start, nbytes, crc = about
        compare(self._crc(start, nbytes), crc, "its pickle", self.path)
        return start, start + nbytes

    @property
    def little(self) -> bool:
        """Whether the numbers of the file are little-endian."""
        order = self.named(b"byteorder")
        return order is None or (order[1] == 6 and self.file.read(*order[:2]) == b"little")

    def holds(self, start: int, nbytes: int) -> bool:
        """Return whether the file has `nbytes` bytes from position `start` on."""
        return start + nbytes <= len(self.file)

    def _directory(self) -> tuple[int, int]:
        """Return the position of the directory and the number of its entries."""
        at = len(self.file) - _END.size
        if at < 0:
            raise Unusual
        magic, disk, first, _, count, _, start, comment = _END.unpack(self.file.read(at, _END.size))
        if magic != b"PK\x05\x06" or disk or first or comment:
            raise Unusual
        if at >= _LOCATOR.size:
            magic, disk, at64, disks = _LOCATOR.unpack(self.file.read(at - _LOCATOR.size, _LOCATOR.size))
            if magic == b"PK\x06\x07":
                magic, *_, count, _, start = _END64.unpack(self.file.read(at64, _END64.size))
                if magic != b"PK\x06\x06" or disk or disks != 1:
                    raise Unusual
        if count * _ENTRY.size > len(self.file):
            raise Unusual
        return start, count

    def _read(self, at: int, count: int) -> None:
        """Read `count` entries of the directory from position `at` on."""
        self._headers = np.full(count, -1, np.int64)
        self._sizes = np.zeros(count, np.int64)
        self._sums = np.zeros(count, np.uint32)
        data, base = b"", at
        for index in range(count):
            if at + _LONGEST > base + len(data):
                data, base = self.file.read(at, max(_LONGEST, _DIRECTORY)), at
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
            if not index:
                self._root = owner
            if not plain or owner != self._root:
                raise Unusual
            self._take(rest, header, size, crc)

    def _take(self, name: bytes, header: int, size: int, crc: int) -> None:
        if name != name.lower():  # torch ignores the case of a name
            raise Unusual
        digits = name.removeprefix(_NUMBERED)
        numbered = digits != name and digits.isdigit() and (digits[:1] != b"0" or digits == b"0")
        if numbered and len(digits) > 18:
            raise Unusual
        number = int(digits) if numbered else -1
        if not 0 <= number < len(self._headers):  # before 1.9, torch took addresses for numbers
            if name in self._named:
                raise Unusual
            self._named[name] = header, size, crc
            return
        if self._headers[number] >= 0 or max(header, size) >= 2**62:
            raise Unusual
        self._headers[number], self._sizes[number], self._sums[number] = header, size, crc

    def _begin(self, header: int, name: bytes) -> int:
        """Return the position of the bytes that follow the local header of a member."""
        if header + _LOCAL.size > len(self.file):
            raise Unusual
        full = self._root + b"/" + name
        local = self.file.read(header, _LOCAL.size + len(full))
        magic, _, _, method, _, _, _, _, _, long, extra = _LOCAL.unpack_from(local)
        if magic != b"PK\x03\x04" or method or long != len(full) or local[_LOCAL.size :] != full:
            raise Unusual
        return header + _LOCAL.size + int(long) + int(extra)

    def _require_sums(self) -> None:
        """Compare the members whose CRC-32 is 0, if others have one: a checksum cannot be flipped to none."""
        if not self.summed:
            return
        for name, (_, size, crc) in self._named.items():
            if size and not crc and (found := self.named(name)):
                self._compare(name.decode(errors="replace"), *found, certain=True)
        for number in np.flatnonzero((self._headers >= 0) & (self._sizes > 0) & (self._sums == 0)):
            self._compare(f"data/{number}", *self.storage(int(number)), certain=True)

    def _compare(self, name: str, start: int, nbytes: int, crc: int, *, certain: bool = False) -> None:
        """Compare a member with its CRC-32, a block at a time; with one of 0 only if that is certain."""
        if not crc and not certain:
            return
        if not self.holds(start, nbytes):
            raise Unusual
        if (found := self._crc(start, nbytes)) != crc:
            raise _differs(f"its member {name}", crc, found, self.path)

    def _crc(self, start: int, nbytes: int) -> int:
        found = 0
        for at in range(start, start + nbytes, _BLOCK):
            found = crc32(self.file.read(at, min(_BLOCK, start + nbytes - at)), found)
        return found


def compare(found: int, crc: int, what: str, path: Path) -> None:
    """Require that the bytes of one member have its CRC-32.

    Args:
        found: the CRC-32 of the bytes.
        crc: what it must be; 0 if there is none.
        what: the member's name in the error message.
        path: the file's name in the error message.

    Raises:
        CorruptError: they have another CRC-32.
    """
    if crc and found != crc:
        raise _differs(what, crc, found, path)


def _differs(what: str, crc: int, found: int, path: Path) -> CorruptError:
    message = f"{what}: CRC-32 must be {crc:08x}, got {found:08x}; the file is damaged"
    return CorruptError("source_invalid", message, path=path)


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

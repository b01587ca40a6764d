"""Mutations of zip archives: bytes of members, records of the directory, and members of other kinds."""

from __future__ import annotations

import io
import struct
import zlib
from random import Random
from typing import Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from benchmarks.trust.mutated.marks import places_of

__all__ = ["Member", "members", "recorded", "remade", "with_member"]

Member = tuple[str, int, int, int]
"""Name, first byte of the contents, bytes, and place of the record in the directory."""

_NUMBERS: Final = (0, 1, 8, 30, 46, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)
_FIELDS: Final = {
    b"PK\1\2": (
        (4, 2),
        (6, 2),
        (8, 2),
        (10, 2),
        (16, 4),
        (20, 4),
        (24, 4),
        (28, 2),
        (30, 2),
        (32, 2),
        (42, 4),
    ),
    b"PK\3\4": ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
    b"PK\5\6": ((4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
    b"PK\6\6": ((4, 8), (24, 8), (32, 8), (40, 8), (48, 8)),
    b"PK\6\7": ((4, 4), (8, 8), (16, 4)),
    b"PK\7\10": ((4, 4), (8, 4), (12, 4)),
}
"""Place and bytes of the numbers in each record."""


def members(data: bytes) -> list[Member]:
    """Return the members of an archive whose contents are stored as they are."""
    try:
        with ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            place, found = archive.start_dir, []
    except (BadZipFile, ValueError, NotImplementedError, OSError, struct.error, UnicodeDecodeError):
        return []
    for info in infos:
        head = data[info.header_offset : info.header_offset + 30]
        if len(head) == 30 and info.compress_type == ZIP_STORED:
            name, extra = struct.unpack("<HH", head[26:30])
            found.append((info.filename, info.header_offset + 30 + name + extra, info.file_size, place))
        lengths = struct.unpack("<HHH", data[place + 28 : place + 34])
        place += 46 + sum(lengths)
    return found


def with_member(data: bytes, member: Member, content: bytes, *, fixed: bool) -> bytes:
    """Return an archive with other contents of a member.

    Contents of another length are put at the end, before the directory, if `fixed`; else they are cut.

    Args:
        data: the archive.
        member: the member.
        content: its new contents.
        fixed: whether its checksum fits.
    """
    name, start, size, place = member
    if len(content) != size and fixed:
        return remade(data, {name: content})
    content = content[:size].ljust(size, b"\0")
    out = bytearray(data)
    out[start : start + size] = content
    if fixed:
        crc = struct.pack("<I", zlib.crc32(content))
        out[place + 16 : place + 20] = crc
        head = struct.unpack("<I", data[place + 42 : place + 46])[0]
        if out[head + 14 : head + 18] != b"\0\0\0\0":
            out[head + 14 : head + 18] = crc
        elif data[start + size : start + size + 4] == b"PK\7\10":
            out[start + size + 4 : start + size + 8] = crc
    return bytes(out)


def remade(data: bytes, changed: dict[str, bytes], chance: Random | None = None) -> bytes:
    """Return an archive written anew, with other contents of some members.

    With `chance`, something else is different too: a member is missing, twice there, renamed, compressed, out
    of order, or has a comment.
    """
    with ZipFile(io.BytesIO(data)) as archive:
        held = [(info.filename, archive.read(info)) for info in archive.infolist()]
    method, kind, out = ZIP_STORED, -1 if chance is None else chance.randrange(8), io.BytesIO()
    if chance is not None:
        number = chance.randrange(len(held))
        name, content = held[number]
        folder, _, last = name.rpartition("/")
        if kind == 0:
            del held[number]
        elif kind == 1:
            held.append((name, content if chance.random() < 0.5 else chance.randbytes(len(content))))
        elif kind == 2:
            names = (
                last,
                f"x/{name}",
                f"{folder}/../{last}",
                name.upper(),
                f"/{name}",
                f"{folder}\\{last}",
                "é",
            )
            held[number] = (chance.choice(names), content)
        elif kind == 3:
            method = ZIP_DEFLATED
        elif kind == 4:
            chance.shuffle(held)
        elif kind == 5:
            other = chance.randrange(len(held))
            held[number], held[other] = (name, held[other][1]), (held[other][0], content)
        elif kind == 6:
            held.insert(
                chance.randrange(len(held)),
                (f"{folder}/{chance.choice(('byteorder', 'version', '99'))}", b"big"),
            )
    with ZipFile(out, "w", method) as archive:
        for name, content in held:
            archive.writestr(ZipInfo(name), changed.get(name, content), method)
        if kind == 7 and chance is not None:
            archive.comment = chance.randbytes(chance.choice((1, 22, 65535)))
    return out.getvalue()


def recorded(chance: Random, data: bytes) -> bytes:
    """Return an archive with other numbers in its records."""
    places = [
        (at, field) for mark, fields in _FIELDS.items() for at in places_of(mark, data) for field in fields
    ]
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        if places:
            at, (inner, wide) = chance.choice(places)
            part = slice(at + inner, at + inner + wide)
            old = int.from_bytes(out[part], "little")
            new = chance.choice(
                (*_NUMBERS, old + 1, old - 1, old + 64, old ^ 8, 2 * old, len(data), 2**63, 2**64 - 1)
            )
            out[part] = (new % 2 ** (8 * wide)).to_bytes(wide, "little")
    return bytes(out[: len(data)])

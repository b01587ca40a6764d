"""What HDF5's own metadata says about a file, compared with what the manifest says.

Owns the only use of libhdf5 on a stranger's file, by `validate`: other tools will read through that
metadata, so it must agree, and must not lead out of the file. No data is read through it, and nothing is
followed that the manifest does not name.
"""

from __future__ import annotations

import errno
import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

import h5py

from trajfmt.codecs.table import CODECS
from trajfmt.errors import CorruptError, FormatError, ReadError, UnsafeError
from trajfmt.storage.datasets import Dataset, Scale
from trajfmt.storage.heaps import endless
from trajfmt.storage.opened import OpenFile

__all__ = ["check"]

_PIPELINES: Final = {(), *(tuple(step.number for step in codec.filters) for codec in CODECS.values())}
_NAMES: Final = {step.number: step.name for codec in CODECS.values() for step in codec.filters}

_ERRNO: Final = re.compile(r"errno = (\d+)")
_OF_CONTENTS: Final = (0, errno.EINVAL, errno.EOVERFLOW, errno.EFBIG, errno.ENOENT)
"""Error numbers of reads at places that the metadata name, and that no file has."""

_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
"""What an HDF5 file of a bundle begins with. HDF5 itself looks for it at later places, too."""

_ODD: Final = 8
"""Superfluous objects that are named."""


def check(
    path: Path, expected: Mapping[str, Dataset | Scale], *, beside: Collection[str] = ()
) -> Iterator[FormatError]:
    """Yield every disagreement of a file with the manifest.

    Args:
        path: the file.
        expected: its datasets.
        beside: names at the top of the file that nothing is required of, and that may be absent.

    Raises:
        ReadError: the operating system cannot read the file, which says nothing about its contents.
    """
    try:
        with OpenFile(path) as opened:
            begin = opened.read(0, min(len(_SIGNATURE), opened.identity.size))
            if begin != _SIGNATURE:
                message = "not an HDF5 file: it must begin with the signature of HDF5"
                yield CorruptError("header_invalid", message, path=path)
                return
        if (heap := endless(path)) is not None:
            message = f"not readable as HDF5: the free blocks of the heap at byte {heap} have no end"
            yield CorruptError("header_invalid", message, path=path)
            return
        with h5py.File(path, "r", locking=False) as file:  # some file systems have no locks
            top = dict.fromkeys((name.partition("/")[0] for name in expected), True)
            yield from _names(file, dict.fromkeys(beside, False) | top, path)
            groups: dict[str, dict[str, bool]] = defaultdict(dict)
            for name, place in expected.items():
                group, _, inner = name.rpartition("/")
                groups[group][inner] = isinstance(place, Dataset)
            for group, inner_names in groups.items():
                if group and isinstance(file.get(group, getlink=True), h5py.HardLink):
                    yield from _names(file[group], inner_names, path)
            for name, place in expected.items():
                yield from _dataset(file, name, place, path)
    except FormatError as exc:
        yield exc
    except ReadError:
        raise
    except Exception as exc:  # h5py lets through whatever damaged metadata provoke
        if (number := _system_error(exc)) is not None:
            raise ReadError.of(OSError(number, os.strerror(number)), path) from exc
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        yield CorruptError("header_invalid", f"not readable as HDF5: {reason}", path=path)


def _system_error(exc: Exception) -> int | None:
    """Return the error number of the operating system that an exception of h5py reports, if there is one.

    h5py raises several types of exceptions, and libhdf5 writes the number into the message. Damaged metadata
    that lead to impossible places in the file cause some numbers, too. These are no errors of the system.
    """
    number = exc.errno if isinstance(exc, OSError) else None
    if number is None and (said := _ERRNO.search(str(exc))):
        number = int(said[1])
    return None if number in _OF_CONTENTS else number


def _type_name(item: h5py.Dataset) -> str:
    """Return what the type of a dataset is called; h5py takes a bfloat16 for a wider type."""
    kind = item.id.get_type()
    if isinstance(kind, h5py.h5t.TypeFloatID) and kind.get_size() == 2:
        fields, bias = kind.get_fields(), kind.get_ebias()
        little = kind.get_order() == h5py.h5t.ORDER_LE
        if fields == (15, 7, 8, 0, 7) and bias == 127 and little:
            return "bfloat16"
    return str(item.dtype.str)


def _names(group: h5py.Group, expected: Mapping[str, bool], path: Path) -> Iterator[FormatError]:
    """Require plain links of the expected names in a group; those whose value is False may be absent."""
    if not isinstance(group, h5py.Group):
        raise CorruptError("header_mismatch", "a dataset where a group is expected", path=path)
    odd = 0
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            yield UnsafeError("hdf5_unsafe", f"`{name}` is a link to elsewhere", path=path)
        elif name not in expected:
            yield from _superfluous(group, name, path)
        else:
            continue
        odd += 1
        if odd == _ODD:
            break
    missing = {name for name, needed in expected.items() if needed}
    for name in sorted(missing - set(group)) if len(group) <= len(expected) + _ODD else ():
        yield CorruptError("header_mismatch", f"`{name}` is missing", path=path)


def _superfluous(group: h5py.Group, name: str, path: Path) -> Iterator[FormatError]:
    """Report an object that the manifest does not name; worse if it leads out of the file."""
    item = group[name]
    problem = _unsafe(item) if isinstance(item, h5py.Dataset) else "is not a dataset of the manifest"
    if problem:
        yield UnsafeError("hdf5_unsafe", f"`{name}` {problem}", path=path)
    else:
        yield CorruptError("header_mismatch", f"`{name}` is not in the manifest", path=path)


def _unsafe(item: h5py.Dataset, kinds: str = "fiu") -> str | None:
    """Return why the data of a dataset must not be read by other tools, or None if they may."""
    creation = item.id.get_create_plist()
    if creation.get_external_count() or creation.get_layout() == h5py.h5d.VIRTUAL:
        return "keeps its data in other files"
    try:
        kind = item.dtype.kind
    except TypeError:
        kind = "no type that numpy knows"
    return None if kind in kinds else f"has type {kind!r}, not plain numbers"


def _dataset(file: h5py.File, name: str, place: Dataset | Scale, path: Path) -> Iterator[FormatError]:
    group = name.rpartition("/")[0]
    if group and not isinstance(file.get(group, getlink=True), h5py.HardLink):
        return
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        return  # missing, or a link: reported with the names
    item = file[name]
    if not isinstance(item, h5py.Dataset):
        yield UnsafeError("hdf5_unsafe", f"`{name}` is not a dataset", path=path)
        return
    if problem := _unsafe(item, "fiu" if isinstance(place, Dataset) else place.kind):
        yield UnsafeError("hdf5_unsafe", f"`{name}` {problem}", path=path)
        return
    if isinstance(place, Scale):
        if item.shape != (place.size,):
            message = f"`{name}`: shape must be {(place.size,)}, HDF5 says {item.shape}"
            yield CorruptError("header_mismatch", message, path=path)
        return
    creation = item.id.get_create_plist()
    filters = tuple(creation.get_filter(i)[0] for i in range(creation.get_nfilters()))
    if filters not in _PIPELINES:
        yield UnsafeError("hdf5_unsafe", f"`{name}` uses the filters {filters}", path=path)
        return
    chunked = creation.get_layout() == h5py.h5d.CHUNKED
    found = {
        "shape": item.shape,
        "dtype": _type_name(item),
        "offset": None if chunked else item.id.get_offset(),
        "chunk": item.chunks[-1] if chunked and item.chunks[0] == 1 else 0,
        "keyframe": int(item.attrs["keyframe"]) if "keyframe" in item.attrs else None,
        "filters": _named(filters),
    }
    wanted = {
        "shape": place.shape,
        "dtype": place.dtype,
        "offset": place.offset,
        "chunk": place.chunk,
        "keyframe": place.keyframe,
        "filters": _named(place.filters),
    }
    for fact, value in wanted.items():
        if found[fact] != value:
            yield CorruptError(
                "header_mismatch", f"`{name}`: {fact} must be {value}, HDF5 says {found[fact]}", path=path
            )
            return
    if place.chunk:
        yield from _chunks(item, name, place, path)


def _named(filters: tuple[int, ...]) -> str:
    return " and ".join(_NAMES[number] for number in filters) or "none"


def _chunks(item: h5py.Dataset, name: str, place: Dataset, path: Path) -> Iterator[FormatError]:
    per_timestep = -(-place.shape[1] // place.chunk)
    for number, expected in enumerate(zip(*place.chunks, strict=True)):
        t, c = divmod(number, per_timestep)
        info = item.id.get_chunk_info_by_coord((t, c * place.chunk))
        if (info.byte_offset, info.size) != expected:
            yield CorruptError(
                "header_mismatch",
                f"`{name}`: chunk {c} of timestep {t} must be {expected[1]} bytes at {expected[0]},"
                f" HDF5 says {info.size} at {info.byte_offset}",
                path=path,
            )
            return

"""What torch is about to unpickle, looked through before.

torch's weights-only unpickler runs no code of a file, but a file of a few kB can make it run for ever or take
all memory. Every pickle is therefore executed here first, without its effects. It must contain nothing but
what torch writes for tensors and plain values, in sizes that the file has bytes for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from trajfmt.errors import CorruptError, SourceError, TrajfmtError, UnsafeError
from trajfmt.sources.torchfile.calls import NAMES, OtherTensor, call, harmful
from trajfmt.sources.torchfile.instructions import FAULTS, execute
from trajfmt.sources.torchfile.members import Members, Unusual
from trajfmt.sources.torchfile.nesting import check_size
from trajfmt.sources.torchfile.placement import (
    DTYPES,
    STORAGES,
    UNTYPED,
    HarmfulError,
    Name,
    Storage,
    extent,
    sizes,
)
from trajfmt.storage.inputs import InputFile
from trajfmt.storage.safetensors import NUMPY

__all__ = ["other_protocol", "screen", "unsafe"]

_LARGEST: Final = 2**28
"""Bytes of the longest pickle that torch is given."""

_LEGACY: Final = 5
"""Pickles in a file of torch before 1.6: a number, a version, the machine, the contents, keys of storages."""

_ITEMSIZES: Final = {
    **{name: NUMPY[dtype].itemsize for name, dtype in STORAGES.items()},
    **{UNTYPED: 1, "torch ComplexDoubleStorage": 16},
    **{"torch QInt8Storage": 1, "torch QUInt8Storage": 1, "torch QInt32Storage": 4},
    **{"torch QUInt4x2Storage": 1, "torch QUInt2x4Storage": 1},
}
"""Bytes of an item of each kind of storage."""

_PARTS: Final = 8
"""Parts of the description of a quantised or sparse tensor."""

_QUANTISED: Final = "torch._utils _rebuild_qtensor"
_SPARSE: Final = "torch._utils _rebuild_sparse_tensor"
_META: Final = "torch._utils _rebuild_meta_tensor_no_storage"


def screen(file: InputFile, members: Members | None, path: Path) -> int:
    """Refuse a file that torch should not unpickle. Return the protocol of its first pickle.

    Args:
        file: the file.
        members: its directory; None for a file that is no zip file, of torch before 1.6.
        path: the file's name in error messages.

    Raises:
        UnsafeError: a pickle names more than tensors and plain values.
        CorruptError: a pickle is damaged, or would crash or block torch.
        SourceError: the pickle of a zip file has protocol 0 or 1.
    """
    names = _Names(path, len(file), members)
    at, end, count = 0, min(len(file), _LARGEST), _LEGACY
    try:
        if members is not None:
            (at, end), count = members.pickle(_LARGEST), 1
        start = file.read(at, 2)
        if members is not None and start[:1] != b"\x80":
            raise other_protocol(0, path)
        names.left = end - at
        code = file.read(at, end - at)
        at, end = 0, len(code)
        for _ in range(count):
            begin = at
            content, at = execute(code, at, end, {}, names)
            check_size(content, at - begin)
        return start[1]
    except HarmfulError as exc:
        raise harmful(exc, path) from None
    except TrajfmtError:
        raise
    except (Unusual, *FAULTS) as exc:
        message = "not a pickle that torch.save wrote, or a damaged one"
        raise CorruptError("source_invalid", message, path=path) from exc


def other_protocol(protocol: int, path: Path) -> SourceError:
    """Return the error for a sound file whose pickle has a protocol that is not read; 0 means 0 or 1."""
    return SourceError(
        "nothing_to_convert",
        f"a pickle of protocol {protocol or '0 or 1'}, in a form that is read only with protocol 2; load it"
        " with torch and save it again, or give --trust-pickle if you trust its author",
        path=path,
    )


def unsafe(wanted: str, path: Path) -> UnsafeError:
    """Return the error for a pickle that needs `wanted`, which is not known."""
    return UnsafeError(
        "pickle_unsafe",
        f"the pickle needs more than tensors and plain containers ({wanted[:80]}); loading it could run code."
        " Only if you trust its author, give --trust-pickle",
        path=path,
    )


class _Names:
    """The names of a pickle that torch will execute: those that torch writes, with bounded effects."""

    def __init__(self, path: Path, nbytes: int, members: Members | None) -> None:
        self._path, self._nbytes, self._members, self._legacy = path, nbytes, members, members is None
        self._sizes: dict[str, int] = {}
        self._declared = 0
        self.left = 0

    def known(self, name: Name) -> Name:
        if name not in NAMES and name not in _ITEMSIZES:
            wanted = name.replace(" ", ".").removeprefix("__builtin__.").removeprefix("builtins.")
            raise unsafe(wanted, self._path)
        return name

    def storage(self, description: Any) -> Storage:
        found = Storage(*description[: len(Storage._fields)])
        if len(description) != len(Storage._fields) + self._legacy or (self._legacy and description[-1]):
            raise Unusual  # a view of another storage, which torch has not written since 0.4
        if found.kind != "storage" or not (type(found.key) is type(found.device) is str):
            raise Unusual
        if type(found.numel) is not int or found.numel < 0:
            raise Unusual
        nbytes = found.numel * _itemsize(found)
        if found.key not in self._sizes:
            self._declared += nbytes
            if self._declared > self._nbytes:
                message = (
                    f"storages of {self._declared} bytes are declared, the file has {self._nbytes} bytes"
                )
                raise CorruptError("source_truncated", message, path=self._path)
            if self._members and self._members.storage(int(found.key))[1] != nbytes:
                raise Unusual
        if self._sizes.setdefault(found.key, nbytes) != nbytes:
            raise Unusual  # torch takes the first size, and does not look at that of the member
        return found

    def tensor(self, arguments: tuple[Any, ...]) -> OtherTensor:
        storage, offset, shape, strides, grad, hooks, *more = arguments
        itemsize = _itemsize(storage)
        if storage.name == UNTYPED:
            dtype = more.pop(0)
            if type(dtype) is not Name:
                raise Unusual
            itemsize = NUMPY[DTYPES[dtype]].itemsize
        extent(storage, offset, shape, strides, itemsize)
        if type(grad) is not bool or hooks not in ({}, None) or len(more) > 1:
            raise Unusual
        if more and more[0] is not None and not _flags(more[0]):
            raise Unusual
        return OtherTensor("")

    def call(self, name: Name, arguments: tuple[Any, ...]) -> Any:
        if name == _QUANTISED:
            storage, offset, shape, strides, scheme = arguments[:5]
            if len(scheme) > _PARTS or not all(
                isinstance(item, (str, int, float, OtherTensor)) for item in scheme
            ):
                raise Unusual
            _, _, count = extent(storage, offset, shape, strides, _itemsize(storage))
            if count > storage.numel:
                raise HarmfulError("a quantised tensor that repeats its items")
        elif name == _SPARSE:
            _, parts = arguments
            if len(parts) > _PARTS:
                raise Unusual
            for part in parts:
                if not isinstance(part, (OtherTensor, bool, type(None))):
                    sizes(part)
        elif name == _META:
            sizes(arguments[1])
            sizes(arguments[2])
        return call(self, name, arguments)


def _itemsize(storage: Any) -> int:
    if not isinstance(storage, Storage) or type(storage.name) is not Name:
        raise Unusual
    return _ITEMSIZES[storage.name]


def _flags(metadata: Any) -> bool:
    return (
        type(metadata) is dict
        and len(metadata) < 5
        and all(type(value) is bool for value in metadata.values())
    )

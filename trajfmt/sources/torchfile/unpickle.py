"""The call of `torch.load`, on files that were looked through before, and its errors explained in one line.

torch is imported when the first file is opened, so that bundles and plain files can be converted without it.
Tensors stay in the mapped file.
"""

from __future__ import annotations

import gc
import importlib
import pickle
import re
import threading
from pathlib import Path
from typing import Any, Final

from trajfmt.errors import (
    CorruptError,
    MissingDependencyError,
    ReadError,
    TrajfmtError,
    UsageError,
    display,
)
from trajfmt.sources.torchfile import pickled
from trajfmt.sources.torchfile.calls import OtherTensor
from trajfmt.sources.torchfile.members import Members, Unusual
from trajfmt.sources.torchfile.screen import other_protocol, screen, unsafe
from trajfmt.sources.torchfile.stored import TORCH, PlacedTensor, require_plain
from trajfmt.storage.filesystem import map_file
from trajfmt.storage.inputs import InputFile
from trajfmt.storage.kinds import refuse_others

__all__ = ["load"]

_GLOBAL: Final = re.compile(r"(?:Unsupported (?:global|class|operand)|GLOBAL) `?([A-Za-z_][\w.]*)")
_SAFE_TORCH: Final = (2, 10)
"""The first release whose weights-only unpickler is free of CVE-2025-32434 and CVE-2026-24747."""

_END: Final = 22
"""Bytes of the last record of a zip file without a comment."""

_MAX_DEPTH: Final = 100
"""Containers inside each other, in a file that is read for torch."""


class _StandIn:
    """What numpy's scalars and types become, which are no weights. It keeps nothing of its arguments."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


_STAND_INS: Final[list[Any]] = [
    *((_StandIn, f"numpy.{name}") for name in ("dtype", "core.multiarray.scalar", "_core.multiarray.scalar")),
    *((bytes, f"{module}.bytes") for module in ("builtins", "__builtin__")),
]
"""The names that `screen` accepts, and torch's weights-only unpickler does not."""

_REGISTERING: Final = threading.Lock()
"""Held while torch knows the names: it has one list of them for all threads."""


def load(path: Path, *, trust_pickle: bool = False) -> Any:
    """Return the contents of a file that torch saved: tensors and plain containers.

    All members of a zip file are compared with their checksums before. Files of torch before 1.6 have none.

    Args:
        path: the file.
        trust_pickle: unpickle without restriction, which runs any code in the file.

    Raises:
        UnsafeError: the pickle contains other objects, and `trust_pickle` is False.
        CorruptError: the file is truncated or damaged, or its pickle would block or crash torch.
        SourceError: the file is of another kind.
        MissingDependencyError: torch is not installed.
        UsageError: torch is too old to unpickle safely.
        ReadError: the operating system cannot read the file.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as exc:
        raise UsageError(f"{display(path)}: torch cannot open a path that is not UTF-8; rename it") from exc
    try:
        refuse_others(path, "torch")
        file = pickled.opened(path)
    except TrajfmtError:
        raise
    except OSError as exc:
        raise ReadError.of(exc, path) from exc
    members = _members(file, path)
    if not trust_pickle:
        protocol = screen(file, members, path)
        if protocol > 2:  # unknown to torch's weights-only unpickler
            return _converted(path, protocol)
    mapped = members is not None and map_file(file.opened().fd) is not None
    return _load(_torch(trust_pickle), path, mapped=mapped, trust_pickle=trust_pickle)


def _members(file: InputFile, path: Path) -> Members | None:
    """Return the directory of a zip file whose members have their checksums, or None for a legacy pickle.

    Raises:
        CorruptError: the file is damaged, or neither.
    """
    start = file.read(0, 2)
    if start[:1] == b"\x80":
        return None
    if start != b"PK":
        raise CorruptError("source_invalid", "not a file that torch.save wrote", path=path)
    try:
        members = Members(file, path)
        members.verify()
    except Unusual as exc:
        if file.read(max(0, len(file) - _END), 4) != b"PK\x05\x06":
            message = "the zip directory at its end is missing: the file is incomplete"
            raise CorruptError("source_truncated", message, path=path) from exc
        message = "its zip directory is damaged, or not one that torch.save writes"
        raise CorruptError("source_invalid", message, path=path) from exc
    return members


def _converted(path: Path, protocol: int) -> Any:
    """Return the contents of a file with a newer pickle, which is read here, with tensors of torch."""
    try:
        return _as_torch(_torch(False), pickled.read(path), path, _MAX_DEPTH)
    except Unusual as exc:
        raise other_protocol(protocol, path) from exc


def _as_torch(torch: Any, value: Any, path: Path, depth: int) -> Any:
    """Return a value with copies of its tensors as tensors of torch."""
    if not depth:
        raise Unusual
    if isinstance(value, OtherTensor):
        require_plain(value, "a tensor", path)
    if isinstance(value, PlacedTensor):
        dtype = getattr(torch, next(name for name, known in TORCH.items() if known == value.dtype))
        items = bytearray(value.read()[:].tobytes())
        flat = torch.frombuffer(items, dtype=dtype) if items else torch.empty(0, dtype=dtype)
        return flat.reshape(value.shape)
    if type(value) is dict:
        return {key: _as_torch(torch, item, path, depth - 1) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_as_torch(torch, item, path, depth - 1) for item in value)
    return value


def _load(torch: Any, path: Path, *, mapped: bool, trust_pickle: bool) -> Any:
    collecting = gc.isenabled()
    gc.disable()  # thousands of containers make each collection slow, and none of them is garbage
    try:
        with _REGISTERING, torch.serialization.safe_globals([] if trust_pickle else _STAND_INS):
            return torch.load(path, map_location="cpu", weights_only=not trust_pickle, mmap=mapped or None)
    except pickle.UnpicklingError as exc:
        if "truncated" in str(exc) or "Ran out" in str(exc):
            raise CorruptError("source_truncated", "the pickle ends in the middle", path=path) from exc
        if not trust_pickle and (wanted := _GLOBAL.search(str(exc))):
            raise unsafe(wanted[1], path) from exc
        message = "not a pickle that torch.save wrote, or a damaged one"
        raise CorruptError("source_invalid", message, path=path) from exc
    except EOFError as exc:
        raise CorruptError("source_truncated", "the file ends in the middle", path=path) from exc
    except OSError as exc:
        raise ReadError.of(exc, path) from exc
    except Exception as exc:  # torch does not translate the errors that a damaged file causes
        raise CorruptError("source_invalid", f"torch cannot read it: {_first(exc)}", path=path) from exc
    finally:
        if collecting:
            gc.enable()


def _torch(trust_pickle: bool) -> Any:
    try:
        torch = importlib.import_module("torch")
    except ImportError as exc:
        raise MissingDependencyError(
            "reading .pt files needs torch; install it with: pip install 'trajfmt[torch]'"
        ) from exc
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < _SAFE_TORCH and not trust_pickle:
        raise UsageError(
            f"torch {torch.__version__} unpickles unsafely (CVE-2025-32434, CVE-2026-24747); install 2.10"
            " or newer, or give --trust-pickle if you trust the file"
        )
    return torch


def _first(exc: BaseException) -> str:
    """Return an error's message in one line of at most 200 characters."""
    text = " ".join(str(exc).split()) or type(exc).__name__
    return text[:200]

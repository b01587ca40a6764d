"""The call of `torch.load` with its weights-only unpickler, and its errors explained in one line.

torch is imported when the first file is opened, so that bundles and plain files can be converted without it.
Tensors stay in the mapped file.
"""

from __future__ import annotations

import gc
import importlib
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any, Final

from trajfmt.errors import CorruptError, MissingDependencyError, ReadError, UnsafeError, UsageError, display
from trajfmt.storage.filesystem import map_file
from trajfmt.storage.opened import OpenFile

__all__ = ["load"]

_GLOBAL: Final = re.compile(r"(?:Unsupported (?:global|class|operand)|GLOBAL) `?([A-Za-z_][\w.]*)")
_SAFE_TORCH: Final = (2, 10)
"""The first release whose weights-only unpickler is free of CVE-2025-32434 and CVE-2026-24747."""


def load(path: Path, *, trust_pickle: bool = False) -> Any:
    """Return the contents of a file that torch saved: tensors and plain containers.

    Args:
        path: the file.
        trust_pickle: unpickle without restriction, which runs any code in the file.

    Raises:
        UnsafeError: the pickle contains other objects, and `trust_pickle` is False.
        CorruptError: the file is truncated, or torch did not write it.
        MissingDependencyError: torch is not installed.
        UsageError: torch is too old to unpickle safely.
        ReadError: the operating system cannot read the file.
    """
    torch = _torch(trust_pickle)
    try:
        str(path).encode()
    except UnicodeEncodeError as exc:
        raise UsageError(f"{display(path)}: torch cannot open a path that is not UTF-8; rename it") from exc
    zipped = _is_zip(path)
    collecting = gc.isenabled()
    gc.disable()  # thousands of containers make each collection slow, and none of them is garbage
    try:
        mapped = (zipped and _can_map(path)) or None
        return torch.load(path, map_location="cpu", weights_only=not trust_pickle, mmap=mapped)
    except pickle.UnpicklingError as exc:
        if "truncated" in str(exc) or "Ran out" in str(exc):
            raise CorruptError("source_truncated", "the pickle ends in the middle", path=path) from exc
        wanted = _GLOBAL.search(str(exc))
        if trust_pickle or wanted is None:
            raise CorruptError(
                "source_invalid", "not a pickle that torch.save wrote, or a damaged one", path=path
            ) from exc
        raise UnsafeError(
            "pickle_unsafe",
            f"the pickle needs more than tensors and plain containers ({wanted[1]}); loading it could run"
            " code. Only if you trust its author, give --trust-pickle",
            path=path,
        ) from exc
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


def _can_map(path: Path) -> bool:
    """Return whether the file system can map a file. Otherwise torch reads all of it into memory."""
    with OpenFile(path.resolve(), path) as file:
        return map_file(file.fd) is not None


def _is_zip(path: Path) -> bool:
    """Return True for a zip file and False for a legacy pickle.

    Raises:
        CorruptError: the file is neither.
        ReadError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as exc:
        raise ReadError.of(exc, path) from exc
    if start == b"PK\x03\x04":
        try:
            complete = zipfile.is_zipfile(path)
        except zipfile.BadZipFile as exc:
            raise CorruptError("source_invalid", f"not a valid zip file: {exc}", path=path) from exc
        if not complete:
            raise CorruptError(
                "source_truncated",
                "the zip directory at its end is missing: the file is incomplete",
                path=path,
            )
        _check_members(path)
        return True
    if not start:
        raise CorruptError("source_truncated", "the file is empty", path=path)
    if start == b'{"tr':
        raise CorruptError(
            "source_invalid", "a stub that names a bundle (see its text): give the bundle itself", path=path
        )
    if start[0] != 0x80:
        raise CorruptError("source_invalid", "not a file that torch.save wrote", path=path)
    return False


def _check_members(path: Path) -> None:
    """Refuse a zip file that torch would misread: torch maps compressed members and compares no CRC-32.

    Raises:
        CorruptError: members are compressed, or the pickle does not have its CRC-32.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
            for member in members:
                if stored and member.CRC and member.filename.endswith("/data.pkl"):
                    with archive.open(member) as file:
                        while file.read(2**20):
                            pass
    except zipfile.BadZipFile as exc:
        if "CRC" not in str(exc):
            return
        message = "its pickle does not have the CRC-32 that torch wrote; the file is damaged"
        raise CorruptError("source_invalid", message, path=path) from exc
    except Exception:  # caused by a damaged directory: torch reports what is wrong
        return
    if not stored:
        raise CorruptError(
            "source_invalid",
            "its members are compressed, which torch.save never does; unzip it, and zip it with `zip -0`",
            path=path,
        )


def _first(exc: BaseException) -> str:
    """Return an error's message in one line of at most 200 characters."""
    text = " ".join(str(exc).split()) or type(exc).__name__
    return text[:200]

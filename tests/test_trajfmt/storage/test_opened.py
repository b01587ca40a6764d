"""Regular files: which are opened, and what is found when they change."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import faults
from trajfmt.errors import CorruptError, ReadError, SourceError, UnsafeError
from trajfmt.storage.opened import OpenFile, open_regular, sha256_of


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("kind", ["pipe", "link", "dangling link", "folder", "loop"])
def test_only_regular_files_open(tmp_path: Path, kind: str) -> None:
    """A pipe must not hang, a link must not be followed."""
    path = tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        (tmp_path / "y").write_text("secret")
        path.symlink_to(tmp_path / "y")
    elif kind == "dangling link":
        path.symlink_to(tmp_path / "gone")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path)
    before = _descriptors()
    with pytest.raises(UnsafeError) as caught:
        open_regular(path)
    assert caught.value.reason == "path_unsafe"
    assert _descriptors() == before


def test_missing_file_is_named(tmp_path: Path) -> None:
    """The reason says that it is missing, the path which."""
    with pytest.raises(CorruptError) as caught:
        open_regular(tmp_path / "gone")
    assert (caught.value.reason, caught.value.path) == ("file_missing", str(tmp_path / "gone"))


def test_an_error_of_closing_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was written, so nothing is lost; and the end of the last reference prints no traceback."""
    (tmp_path / "file").write_bytes(b"content")
    real = os.close

    def failing(fd: int) -> None:
        real(fd)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "close", failing)
    with OpenFile(tmp_path / "file") as opened:
        assert opened.read(0, 7) == b"content"
    lost: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lost.append)
    del opened
    dropped = OpenFile(tmp_path / "file")
    del dropped
    assert lost == []


def test_errors_of_reading_say_nothing_about_the_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the operating system reports them, they are errors of reading and name the file."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    out = np.empty(7, np.uint8)
    with OpenFile(path) as file:
        faults.no_reads(monkeypatch, errno.EIO, tmp_path)
        for read in (lambda: file.read(0, 7), lambda: file.fill(out, 0), lambda: sha256_of(file)):
            with pytest.raises(ReadError, match=f"{path}: cannot be read: Input/output error"):
                read()
    monkeypatch.undo()

    def refused(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(ReadError, match=f"{path}: cannot be read: Permission denied"):
        open_regular(path)


def test_reads_that_bring_less_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system call may return a part; one that returns nothing means that the file has become shorter."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    pread, preadv = os.pread, os.preadv
    monkeypatch.setattr(os, "pread", lambda fd, count, offset: pread(fd, min(count, 3), offset))
    monkeypatch.setattr(os, "preadv", lambda fd, parts, at: preadv(fd, [memoryview(parts[0])[:2]], at))
    out = np.zeros(9, np.uint8)
    with OpenFile(path) as file:
        assert file.read(1, 8) == b"12345678"
        assert file.read(7, 3) == b"789"
        file.fill(out, 1)
        assert out.tobytes() == b"123456789"
        assert sha256_of(file) == hashlib.sha256(b"0123456789").hexdigest()
        for read in (lambda: file.read(5, 6), lambda: file.fill(out, 2)):
            with pytest.raises(SourceError, match="changed while it was read") as caught:
                read()
            assert caught.value.reason == "source_changed"

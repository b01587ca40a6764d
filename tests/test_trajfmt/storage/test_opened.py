"""Regular files: which are opened, and what is found when they change."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from trajfmt.errors import CorruptError, UnsafeError
from trajfmt.storage.opened import OpenFile, open_regular


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

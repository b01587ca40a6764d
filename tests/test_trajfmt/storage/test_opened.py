"""Regular files: which are opened, and what is found when they change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trajfmt.errors import CorruptError, UnsafeError
from trajfmt.storage.opened import open_regular


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

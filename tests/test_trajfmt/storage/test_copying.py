"""Files under a further name, and copies of them."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from trajfmt.errors import SourceError
from trajfmt.storage.copying import copy_file, link_file
from trajfmt.storage.opened import OpenFile

DATA = bytes(range(256)) * 30


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file."""
    (tmp_path / "a").write_bytes(DATA)
    return tmp_path / "a"


def test_link_is_the_same_file(file: Path, tmp_path: Path) -> None:
    """It has the inode, also if the path is a link to the file."""
    (tmp_path / "link").symlink_to("a")
    with OpenFile(file) as opened:
        assert link_file(opened, tmp_path / "link", tmp_path / "b")
    assert os.path.samefile(file, tmp_path / "b")
    assert not (tmp_path / "b").is_symlink()


def test_replaced_file_is_not_linked(file: Path, tmp_path: Path) -> None:
    """What is at the path by now is another file than the one that was opened."""
    with OpenFile(file) as opened:
        (tmp_path / "new").write_bytes(DATA)
        os.replace(tmp_path / "new", file)
        with pytest.raises(SourceError, match="changed while it was read"):
            link_file(opened, file, tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("number", "linked"), [(errno.EXDEV, False), (errno.EMLINK, False), (errno.ENOSPC, None)]
)
def test_impossible_link_is_said(
    number: int, linked: bool | None, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another file system there is none; a full disk is an error."""

    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", fail)
    with OpenFile(file) as opened:
        if linked is None:
            with pytest.raises(OSError, match="No space"):
                link_file(opened, file, tmp_path / "b")
        else:
            assert link_file(opened, file, tmp_path / "b") is linked


@pytest.mark.parametrize("call", ["kernel", "none", "refused", "short"])
def test_copy_has_the_same_bytes(
    call: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the kernel copies all of it, has no such call, refuses it, or stops in the middle."""
    original = getattr(os, "copy_file_range", None)
    if call == "none":
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    elif call != "kernel" and original is not None:
        calls: list[int] = []

        def limited(source: int, target: int, count: int, *places: int) -> int:
            calls.append(count)
            if call == "refused" or len(calls) > 1:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            return int(original(source, target, 100, *places))

        monkeypatch.setattr(os, "copy_file_range", limited)
    with OpenFile(file) as opened:
        copy_file(opened, tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == DATA
    assert not os.path.samefile(file, tmp_path / "b")


def test_failed_copy_leaves_nothing(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of a full disk, nor of a file that has become shorter."""
    with OpenFile(file) as opened:
        os.truncate(file, 10)
        with pytest.raises(SourceError, match="changed"):
            copy_file(opened, tmp_path / "b")
    assert not (tmp_path / "b").exists()

    def fail(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "copy_file_range", fail, raising=False)
    with OpenFile(file) as opened, pytest.raises(OSError, match="No space"):
        copy_file(opened, tmp_path / "b")
    assert not (tmp_path / "b").exists()

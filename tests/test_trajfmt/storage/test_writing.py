"""Durable writes: a file is replaced as a whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from tests.helpers import faults
from trajfmt.storage.writing import occupied, partial_of, replacing, reserve, write_at, write_file


def test_write_file_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    """The new content is there, the partial file is not."""
    (tmp_path / "x").write_bytes(b"old")
    write_file(tmp_path / "x", b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("x", b"new")]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that fails when the file gets its name; the temporary file is gone."""
    path = tmp_path / "file"
    write_file(path, b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(OSError, match="No space"):
                write_file(path, b"new")
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]


def test_rights_are_those_of_any_new_file(tmp_path: Path) -> None:
    """Temporary files are private, results are not."""
    mask = os.umask(0o027)
    try:
        write_file(tmp_path / "file", b"x")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_file_whose_name_is_not_durable_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller is told that it failed, so that the next try must not find it. An older file is replaced."""
    real = os.fsync

    def fail(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        real(fd)

    (tmp_path / "old").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fail)
    for name in ("new", "old"):
        with pytest.raises(OSError, match="Input/output error"):
            write_file(tmp_path / name, b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("old", b"new")]


@pytest.mark.parametrize("finished", [False, True])
def test_two_writers_of_one_file_never_mix(tmp_path: Path, finished: bool) -> None:
    """The second takes over the name of the partial file; the first says so, and touches nothing of it."""
    path = tmp_path / "file"

    def write() -> None:
        with replacing(path) as first:
            first.write(b"first")
            partial_of(path).unlink()  # as a second writer does
            partial_of(path).write_bytes(b"second")
            if finished:
                partial_of(path).replace(path)

    with pytest.raises(OSError, match="another process is writing it"):
        write()
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"second"]
    assert path.exists() == finished


def test_what_cannot_be_seen_is_not_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be looked at must not be replaced as if there were none."""
    (tmp_path / "link").symlink_to("nowhere")
    assert occupied(tmp_path / "link")
    assert not occupied(tmp_path / "nothing")
    assert not occupied(tmp_path / "nothing" / "in it")

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "lstat", fail)
    with pytest.raises(OSError, match="Input/output error"):
        occupied(tmp_path / "file")


@pytest.mark.parametrize("at_once", [1, 3])
def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """A system call may write less than it was given; one that writes nothing is an error, not a hang."""
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, data[:at_once], offset))
    with (tmp_path / "file").open("wb") as file:
        write_at(file.fileno(), b"0123456789", 2)
        monkeypatch.setattr(os, "pwrite", lambda *_: 0)
        with pytest.raises(OSError, match="Input/output error"):
            write_at(file.fileno(), b"0123456789", 2)
    assert (tmp_path / "file").read_bytes() == b"\0\x000123456789"


def test_room_is_tried_for_and_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that does not fit is an error; where the file system cannot tell, it is none. No file stays."""
    reserve(tmp_path / "x", 100)
    reserve(tmp_path / "x", 0)
    asked: list[int] = []
    for number, fails in ((errno.ENOSPC, True), (errno.EFBIG, True), *((n, False) for n in faults.LACKING)):

        def refuse(_fd: int, offset: int, count: int, number: int = number) -> None:
            asked.append(offset + count)
            raise faults.error(number)

        monkeypatch.setattr(os, "posix_fallocate", refuse)
        if fails:
            with pytest.raises(OSError, match=os.strerror(number)):
                reserve(tmp_path / "x", 100)
        else:
            reserve(tmp_path / "x", 100)
        assert list(tmp_path.iterdir()) == []
    assert set(asked) == {100}


def test_what_a_killed_process_left_is_in_nobodys_way(tmp_path: Path) -> None:
    """Its partial file is replaced."""
    partial_of(tmp_path / "x").write_bytes(b"half of something longer")
    write_file(tmp_path / "x", b"new", b"er")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("x", b"newer")]

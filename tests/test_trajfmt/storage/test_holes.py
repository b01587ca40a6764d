"""Files that consist of holes, told from files that are stored."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from trajfmt.storage.holes import LEAST, RATIO, holes_of, is_hollow

MIB = 2**20


def hollow(path: Path, size: int, stored: dict[int, int]) -> bool:
    """Return what is said of a file of `size` bytes with data of these sizes at these positions."""
    with path.open("w+b") as file:
        file.truncate(size)
        for position, count in stored.items():
            os.pwrite(file.fileno(), b"x" * count, position)
        os.fsync(file.fileno())
        if os.lseek(file.fileno(), 0, os.SEEK_HOLE) == size:
            pytest.skip("this file system has no holes")
    return is_hollow([path])


@pytest.mark.parametrize(
    ("size", "stored", "expected"),
    [
        (LEAST, {}, False),
        (LEAST + 1, {}, True),
        (4096 * MIB, {}, True),
        (4096 * MIB, {0: MIB, 2048 * MIB: MIB, 4095 * MIB: MIB}, True),
        (4096 * MIB, {0: 5 * MIB}, False),
        (4096 * MIB, {i * 100 * MIB: MIB for i in range(5)}, False),
    ],
)
def test_share_of_what_is_stored_decides(
    tmp_path: Path, size: int, stored: dict[int, int], expected: bool
) -> None:
    """A large file is hollow if less than a thousandth of it is data, wherever the data is."""
    assert hollow(tmp_path / "file", size, stored) is expected
    assert (size > LEAST and sum(stored.values()) * RATIO < size) is expected


def test_holes_are_listed_with_their_places(tmp_path: Path) -> None:
    """Before, between and behind the data. A file that is stored, or missing, has none."""
    hollow(path := tmp_path / "file", 10 * MIB, {2 * MIB: MIB, 5 * MIB: MIB})
    assert holes_of(path) == [(0, 2 * MIB), (3 * MIB, 5 * MIB), (6 * MIB, 10 * MIB)]
    path.write_bytes(bytes(MIB))
    assert holes_of(path) == holes_of(tmp_path / "missing") == []


def test_file_system_without_holes_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where holes cannot be asked for, or a file has one piece, nothing is hollow."""
    with (tmp_path / "file").open("w+b") as file:
        file.truncate(LEAST + 1)

        def refuse(_fd: int, _position: int, how: int) -> int:
            raise OSError(errno.EINVAL, "not supported") if how == os.SEEK_DATA else AssertionError

        monkeypatch.setattr(os, "lseek", refuse)
        assert not is_hollow([tmp_path / "file"])
        assert holes_of(tmp_path / "file") == []
        monkeypatch.setattr(
            os, "lseek", lambda _fd, position, how: position if how == os.SEEK_DATA else LEAST + 1
        )
        assert not is_hollow([tmp_path / "file"])


def test_files_count_together(tmp_path: Path) -> None:
    """Many small files of holes are as bad as a large one; what is no file does not count."""
    many = [tmp_path / str(i) for i in range(100)]
    for path in many:
        assert not hollow(path, LEAST // 50, {})
    assert is_hollow([tmp_path / "absent", tmp_path, *many])
    assert not hollow(tmp_path / "real", LEAST // 50, {0: LEAST // 50 - 4096})
    assert not is_hollow([*many, tmp_path / "real"])

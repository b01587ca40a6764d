"""The folder in which a bundle is built: what interrupts it arrives as it was sent."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from tests.helpers.walks import LAYOUT, write_walks
from trajfmt.storage.staging import Staging


def test_ctrl_c_while_a_record_is_packed_stays_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a member's opening and its closing numpy's zip file cannot be closed, and says only that."""
    opened = zipfile.ZipFile.open
    handles: list[Any] = []  # as if the interpreter still held it

    def interrupted(*arguments: Any, **options: Any) -> None:
        handles.append(opened(*arguments, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr(zipfile.ZipFile, "open", interrupted)
    staging = Staging(tmp_path / "out.mct", b"job")
    with pytest.raises(KeyboardInterrupt):
        staging.record("00000", b"{}", {"u": np.zeros(3)})
    monkeypatch.undo()
    for handle in handles:
        handle.close()
    assert staging.recall("00000") is None
    staging.release()


def test_failure_while_opening_gives_the_lock_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same process can try again."""
    real = os.replace

    def fail(*_arguments: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="Input/output"):
        trajfmt.create(tmp_path / "o.mct", LAYOUT, encoding="convex")
    monkeypatch.setattr(os, "replace", real)
    trajfmt.create(tmp_path / "o.mct", LAYOUT, encoding="convex").discard()
    assert list(tmp_path.iterdir()) == []


def test_lock_of_a_removed_folder_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening the lock file and locking it, its owner may have removed it."""
    import fcntl

    owner = Staging(tmp_path / "o.mct", b"1")
    real = fcntl.flock
    calls = 0

    def flock(fd: int, operation: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            owner.discard()
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    second = Staging(tmp_path / "o.mct", b"2")
    assert calls == 2
    assert os.fstat(second._lock).st_nlink == 1
    second.discard()


def test_bundle_that_is_there_is_a_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the rename nothing may say that the destination cannot be written."""
    import trajfmt.storage.staging

    real = trajfmt.storage.staging.fsync_directory

    def fsync(path: Path) -> None:
        if path == tmp_path:
            raise PermissionError(13, "Permission denied")
        real(path)

    monkeypatch.setattr(trajfmt.storage.staging, "fsync_directory", fsync)
    assert len(trajfmt.open(write_walks(tmp_path / "o.mct", 2, "convex"))) == 2

"""Durable writes: a file is replaced as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trajfmt.storage.writing import write_file


def test_write_file_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    """The new content is there, the partial file is not."""
    (tmp_path / "x").write_bytes(b"old")
    write_file(tmp_path / "x", b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("x", b"new")]


def test_write_file_that_fails_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk at fsync leaves the file as it was, and no partial one."""

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "x").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_file(tmp_path / "x", b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("x", b"old")]

"""A bundle at its destination is whole and durable, and one that is not durable is not there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

import trajfmt
from tests.helpers.walks import write_walks
from trajfmt.storage import publishing
from trajfmt.storage.staging import Staging


def test_bundle_in_a_folder_that_cannot_be_read_is_a_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a folder cannot be opened to make its entries durable; everything is written out instead."""
    real, synced = os.open, []

    def refuse(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
        if Path(path) == tmp_path and flags & os.O_DIRECTORY:
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "sync", lambda: synced.append(True))
    assert len(trajfmt.open(write_walks(tmp_path / "o.mct", 2, "convex"))) == 2
    assert synced


def test_bundle_that_is_not_durable_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If its name may be lost, it is not at the destination, and the same job publishes it later."""
    staging = Staging(tmp_path / "o", b"job")
    (staging.bundle / "file").write_bytes(b"x")
    staging.record("00000", b"{}")

    def fail(path: Path) -> None:
        if path == tmp_path:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(publishing, "fsync_directory", fail)
    with pytest.raises(OSError, match="Input/output error"):
        staging.publish()
    assert os.listdir(tmp_path) == [".o.partial"]
    staging.release()
    monkeypatch.undo()
    again = Staging(tmp_path / "o", b"job")
    assert again.resumed
    again.publish()
    assert os.listdir(tmp_path) == ["o"]


def test_append_that_is_not_durable_restores_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An append that says that it failed has appended nothing, also if the last of its calls failed."""
    bundle = write_walks(tmp_path / "o.mct", 2, "convex")
    before = (bundle / "manifest.json").read_bytes()
    real, left = os.fsync, [1]

    def fail(fd: int) -> None:
        if Path(f"/proc/self/fd/{fd}").readlink() == bundle and left[0] == 0:
            left[0] = -1
            raise OSError(5, "Input/output error")
        if Path(f"/proc/self/fd/{fd}").readlink() == bundle:
            left[0] -= 1
        real(fd)

    staging = Staging(bundle, b"job")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        staging.publish_into(b"another")
    assert left == [-2]
    assert (bundle / "manifest.json").read_bytes() == before
    staging.discard()


def test_a_folder_that_cannot_be_listed_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that were not seen must not be missing from a bundle."""
    bundle = write_walks(tmp_path / "o.mct", 1, "convex")
    staging = Staging(bundle, b"job")
    staging.path("knots/x").write_bytes(b"x")
    real = os.scandir

    def fail(path: Any = ".") -> Any:
        if Path(path).name == "knots":
            raise OSError(5, "Input/output error")
        return real(path)

    monkeypatch.setattr(os, "scandir", fail)
    with pytest.raises(OSError, match="Input/output error"):
        staging.publish_into(b"another")
    monkeypatch.undo()
    staging.discard()


def test_an_append_that_was_killed_at_its_end_is_recognised(tmp_path: Path) -> None:
    """By its own job only, and only while the bundle has the manifest that it put there."""
    bundle = write_walks(tmp_path / "o.mct", 1, "convex")
    staging = Staging(bundle, b"old-job")
    staging.record("00000", b"{}")
    manifest = (bundle / "manifest.json").read_bytes()
    assert not publishing.complete(bundle, b"-job")
    (staging.root / publishing.NOTE).write_bytes(hashlib.sha256(manifest).hexdigest().encode())
    staging.release()
    assert not publishing.complete(bundle, b"-other")
    assert publishing.complete(bundle, b"-job")
    assert Staging.unfinished(bundle) is None
    (bundle / "manifest.json").write_bytes(manifest + b" ")
    assert not publishing.complete(bundle, b"-job")
    assert Staging.unfinished(bundle) == b"old-job"


def test_names_of_a_folder() -> None:
    """In order; of one that is not there, none."""
    assert publishing.names(Path(__file__).parent)[:2] == sorted(os.listdir(Path(__file__).parent))[:2]
    assert publishing.names(Path(__file__).parent / "gone") == []


def test_append_that_could_not_write_its_manifest_leaves_the_old_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not replaced, so that nothing is written a second time to a disk that fails."""
    bundle = write_walks(tmp_path / "o.mct", 1, "convex")
    before = (bundle / "manifest.json").read_bytes()
    staging = Staging(bundle, b"job")
    real, written = publishing.write_file, []

    def fail(path: Path, *data: bytes) -> None:
        written.append(path.name)
        if path.name == "manifest.json":
            raise OSError(28, "No space left on device")
        real(path, *data)

    monkeypatch.setattr(publishing, "write_file", fail)
    with pytest.raises(OSError, match="No space left"):
        staging.publish_into(b"another")
    assert written == [publishing.NOTE, "manifest.json"]
    assert (bundle / "manifest.json").read_bytes() == before
    staging.discard()

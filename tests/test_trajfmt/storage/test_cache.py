"""The folder for what can be fetched or computed again."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.helpers import faults
from trajfmt.storage import cache
from trajfmt.storage.cache import arriving, cache_folder


def test_place_of_the_cache(monkeypatch) -> None:
    """TRAJFMT_CACHE, then XDG_CACHE_HOME, then the home; none without a home."""
    monkeypatch.setenv("TRAJFMT_CACHE", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    monkeypatch.setenv("HOME", "/c")
    found = [cache_folder()]
    for name in ("TRAJFMT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name)
        found.append(cache_folder())
    assert found == [Path("/a"), Path("/b/trajfmt"), Path("/c/.cache/trajfmt")]

    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path("/c/.cache/trajfmt")

    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder() is None


def test_a_file_that_cannot_be_made_durable_gets_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of it is left, nor a descriptor."""

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"), arriving(tmp_path / "x", lambda: False):
        pass
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("end", ["named", "removed", "replaced"])
def test_a_file_that_another_process_has_just_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """After waiting for it, its partial file is not taken for the own one."""
    path, partial = tmp_path / "x", tmp_path / ".x.partial"
    real, waited = cache.has_locks, []

    def other(fd: int, *, wait: bool) -> bool:
        if not waited:
            partial.rename(path) if end == "named" else partial.unlink()
            if end == "replaced":
                partial.write_bytes(b"other")
        waited.append(wait)
        return real(fd, wait=wait)

    monkeypatch.setattr(cache, "has_locks", other)
    with arriving(path, path.exists) as fd:
        assert (fd is None) == (end == "named")
        if fd is not None:
            assert os.read(fd, 10) == (b"other" if end == "replaced" else b"")
            os.pwrite(fd, b"mine!", 0)
    assert waited == [True, True]
    assert [each.name for each in tmp_path.iterdir()] == ["x"]
    assert path.read_bytes() == (b"" if end == "named" else b"mine!")


def test_ctrl_c_while_waiting_leaves_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file stays: it may be that of the other process."""

    def interrupted(*_: object, **_more: object) -> bool:
        raise KeyboardInterrupt

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(cache, "has_locks", interrupted)
    with pytest.raises(KeyboardInterrupt), arriving(tmp_path / "x", lambda: False):
        pass
    assert len(os.listdir("/proc/self/fd")) == before


def test_without_locks_each_process_has_a_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one process, two do not meet either; the last one gives the file its name."""
    faults.no_locks(monkeypatch, errno.ENOLCK, tmp_path)
    path = tmp_path / "x"
    with arriving(path, lambda: False) as one, arriving(path, lambda: False) as two:
        assert one is not None
        assert two is not None
        assert sorted(each.name for each in tmp_path.iterdir()) == [
            f".x.{os.getpid()}-{n}.partial" for n in (0, 1)
        ]
        os.write(one, b"one")
        os.write(two, b"two")
    assert [each.name for each in tmp_path.iterdir()] == ["x"]
    assert path.read_bytes() == b"one"

"""Locks, with and without those of the operating system."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import faults
from trajfmt.errors import FileSystemWarning
from trajfmt.storage.locks import BusyError, Lock, has_locks


def take(folder: Path) -> Lock:
    """Lock a folder, with the lock file `owner` in it where there are no locks."""
    return Lock(os.open(folder, os.O_RDONLY), folder / "owner", folder)


def descriptors() -> int:
    """Return the number of open files."""
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have no locks."""
    faults.no_locks(monkeypatch, errno.ENOLCK, tmp_path)


def test_a_lock_excludes_until_it_is_released(tmp_path: Path) -> None:
    """It needs no file, and a refusal leaves no descriptor open."""
    first = take(tmp_path)
    before = descriptors()
    with pytest.raises(BusyError):
        take(tmp_path)
    assert descriptors() == before
    first.release()
    take(tmp_path).release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("lacking")
def test_without_locks_a_file_excludes(tmp_path: Path) -> None:
    """It is said that there are no locks, who has the file is named, and the file goes with the lock."""
    with pytest.warns(FileSystemWarning, match="no locks: do not write there from two processes at once"):
        first = take(tmp_path)
    before = descriptors()
    with pytest.raises(BusyError, match=f"{tmp_path}/owner is its lock; if that process has ended, remove"):
        take(tmp_path)
    assert descriptors() == before
    first.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore::trajfmt.errors.FileSystemWarning")
@pytest.mark.usefixtures("lacking")
def test_file_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    """The process is gone, or another has its number by now; on another machine nobody can tell."""
    script = (
        "import errno, os, signal, sys, pathlib; from tests.helpers.faults import no_locks; import pytest;"
        "no_locks(pytest.MonkeyPatch(), errno.ENOLCK, None); from trajfmt.storage.locks import Lock;"
        "folder = pathlib.Path(sys.argv[1]);"
        "lock = Lock(os.open(folder, os.O_RDONLY), folder / 'owner', folder);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path], check=False, capture_output=True)
    left = json.loads((tmp_path / "owner").read_bytes())
    take(tmp_path).release()
    assert list(tmp_path.iterdir()) == []
    reused = left | {"process": os.getpid()}
    (tmp_path / "owner").write_text(json.dumps(reused))
    take(tmp_path).release()
    for elsewhere in (left | {"machine": "another"}, {}, {"process": "x"}, []):
        (tmp_path / "owner").write_text(json.dumps(elsewhere))
        with pytest.raises(BusyError, match="owner is its lock"):
            take(tmp_path)
    (tmp_path / "owner").write_bytes(b"")
    with pytest.raises(BusyError):
        take(tmp_path)


def test_a_machine_with_locks_respects_the_file_of_one_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mounts of one file system may differ in that."""
    with monkeypatch.context() as patch:
        faults.no_locks(patch, errno.ENOLCK, tmp_path)
        with pytest.warns(FileSystemWarning):
            first = take(tmp_path)
    with pytest.raises(BusyError):
        take(tmp_path)
    first.release()
    take(tmp_path).release()


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES])
def test_only_two_errors_mean_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Those that flock documents for it; no other number does."""
    fd = os.open(tmp_path, os.O_RDONLY)
    faults.no_locks(monkeypatch, number, tmp_path)
    with pytest.raises(BusyError):
        has_locks(fd)
    monkeypatch.undo()
    for other in sorted(set(errno.errorcode) - {errno.EAGAIN, errno.EACCES}):
        with monkeypatch.context() as patch:
            faults.no_locks(patch, other, tmp_path)
            assert not has_locks(fd)
    os.close(fd)

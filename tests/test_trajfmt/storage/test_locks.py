"""Locks, with and without those of the operating system."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import faults
from trajfmt.errors import FileSystemWarning
from trajfmt.storage import locks
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


@pytest.mark.usefixtures("lacking")
@pytest.mark.filterwarnings("ignore::trajfmt.errors.FileSystemWarning")
def test_the_file_of_a_process_that_took_over_stays(tmp_path: Path) -> None:
    """Releasing removes its own file only, and releasing twice is no error."""
    first = take(tmp_path)
    (tmp_path / "owner").write_bytes(b"another")
    first.release()
    first.release()
    assert (tmp_path / "owner").read_bytes() == b"another"
    (tmp_path / "owner").unlink()
    second = take(tmp_path)
    first.release()
    assert (tmp_path / "owner").is_file()  # that of the same process, but not of the same lock
    second.release()
    assert list(tmp_path.iterdir()) == []


def _left(folder: Path) -> bytes:
    """Leave the file of a process that has ended."""
    code = (
        "import fcntl, os, sys, warnings; from pathlib import Path; from trajfmt.storage.locks import Lock\n"
        "def refuse(*_): raise OSError(37, 'No locks available')\n"
        "fcntl.flock = refuse; warnings.simplefilter('ignore'); folder = Path(sys.argv[1])\n"
        "Lock(os.open(folder, os.O_RDONLY), folder / 'owner', folder); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)
    return (folder / "owner").read_bytes()


@pytest.mark.parametrize("moment", ["before reading", "before renaming"])
def test_two_processes_that_take_over_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The file that one of them has removed is no error for the other."""
    _left(tmp_path)
    name = "read_bytes" if moment == "before reading" else "rename"
    owner: Any = Path if moment == "before reading" else os
    real = getattr(owner, name)

    def gone(path: Path, *arguments: Path) -> Any:
        (tmp_path / "owner").unlink(missing_ok=True)
        return real(path, *arguments)

    monkeypatch.setattr(owner, name, gone)
    take(tmp_path).release()
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_another_process_has_just_made_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between reading the old one and moving it aside: the lock is that process's."""
    _left(tmp_path)
    real = os.rename

    def replaced(source: Path, target: Path) -> None:
        if Path(source).name == "owner":
            source.write_bytes(b"new")
        real(source, target)

    monkeypatch.setattr(os, "rename", replaced)
    with pytest.raises(BusyError):
        take(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"owner": b"new"}


def test_a_machine_without_namespaces_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers of one machine differ where the system tells them apart."""
    name = socket.gethostname()
    assert locks._machine() == f"{name} {os.readlink('/proc/self/ns/pid')}"

    def refuse(_: str) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(os, "readlink", refuse)
    assert locks._machine() == name

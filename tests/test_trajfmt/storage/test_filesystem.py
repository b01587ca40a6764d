"""Calls that a file system may lack. The commands are tried in `tests/test_cli/test_traj_filesystem.py`."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import trajfmt
from tests.helpers import faults
from tests.helpers.walks import walk_of, write_walks
from trajfmt.bundle.validation import validate
from trajfmt.errors import UsageError
from trajfmt.storage import filesystem
from trajfmt.storage.staging import Staging

FULL = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def test_sync_goes_on_only_where_the_call_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder may besides not be open for writing; an error of the disk is one."""
    (tmp_path / "a").touch()
    fd = os.open(tmp_path / "a", os.O_RDWR)
    for number in (*faults.LACKING, errno.EBADF, *FULL):
        with monkeypatch.context() as patch:
            faults.no_folder_sync(patch, number, tmp_path)
            faults.no_file_sync(patch, number, tmp_path)
            for call, lacking in (
                (lambda: filesystem.sync(fd), faults.LACKING),
                (lambda: filesystem.sync_folder(tmp_path), (*faults.LACKING, errno.EBADF)),
            ):
                if number in lacking:
                    call()
                else:
                    with pytest.raises(OSError, match=os.strerror(number)):
                        call()
    os.close(fd)


def test_free_bytes_that_are_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems answer zeros, some nothing: that is not a full disk."""
    assert filesystem.free_bytes(tmp_path) == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.5)
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 0))
    assert filesystem.free_bytes(tmp_path) is None

    def refuse(_: Path) -> None:
        raise faults.error(errno.ENOSYS)

    monkeypatch.setattr(shutil, "disk_usage", refuse)
    assert filesystem.free_bytes(tmp_path) is None


def test_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the file system gives our own files to somebody else; those are ours."""
    (tmp_path / ".a.mct.partial").mkdir()
    real = os.lstat

    def lstat(path: object, **options: object) -> os.stat_result:
        found = list(real(path, **options))  # type: ignore[call-overload]
        found[4] = 1234 if ".a.mct." in str(path) else 65534
        return os.stat_result(found)

    monkeypatch.setattr(os, "lstat", lstat)
    with pytest.raises(UsageError, match="no folder of yours"):
        Staging(tmp_path / "a.mct", b"job")
    assert [path.name for path in tmp_path.iterdir()] == [".a.mct.partial"]
    (tmp_path / ".b.mct.partial").mkdir()
    Staging(tmp_path / "b.mct", b"job").discard()
    Staging(tmp_path / "c.mct", b"job").discard()


@pytest.mark.parametrize("encoding", ["convex", "full"])
def test_bundles_are_read_where_nothing_can_be_mapped(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same weights, also all timesteps of a trajectory as one array, and of a decoded one."""
    from trajfmt.bundle.decoded import timesteps_of

    path = write_walks(tmp_path / ("a.mct" if encoding == "convex" else "a.mtt"), 1, encoding)
    zipped = write_walks(tmp_path / "z.mtt", 1, codec="zstd")
    with trajfmt.open(path) as bundle:
        expected = bundle[0].at(2), np.array(timesteps_of(bundle[0], tmp_path))
    faults.no_maps(monkeypatch, errno.ENODEV, tmp_path)
    with trajfmt.open(path) as bundle, trajfmt.open(zipped) as packed:
        np.testing.assert_array_equal(bundle[0].at(2), expected[0])
        np.testing.assert_array_equal(timesteps_of(bundle[0], tmp_path), expected[1])
        np.testing.assert_array_equal(timesteps_of(packed[0], tmp_path), walk_of(0))
        assert bundle.files.backend == "pread"


SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
int flock(int fd, int operation) { if (operation == 8) return 0; errno = ENOLCK; return -1; }
int fsync(int fd) {
  struct stat status;
  if (!fstat(fd, &status) && S_ISDIR(status.st_mode)) { errno = EINVAL; return -1; }
  return syscall(SYS_fsync, fd);
}
void *mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset) {
  void *(*real)(void *, size_t, int, int, int, off_t) = dlsym(RTLD_NEXT, "mmap");
  if (fd >= 0 && (flags & MAP_SHARED)) { errno = ENODEV; return MAP_FAILED; }
  return real(at, size, prot, flags, fd, offset);
}
void *mmap64(void *at, size_t size, int prot, int flags, int fd, off_t offset) {
  return mmap(at, size, prot, flags, fd, offset);
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler")
def test_libraries_below_python_lack_the_calls_too(tmp_path: Path) -> None:
    """A process without locks, folder syncs and shared maps writes and validates; libhdf5 locks by itself."""
    (tmp_path / "shim.c").write_text(SHIM)
    shim = tmp_path / "shim.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", shim, tmp_path / "shim.c", "-ldl"], check=True)
    script = (
        "import sys, trajfmt, pathlib; from tests.helpers.walks import write_walks;"
        "from trajfmt.bundle.validation import validate; folder = pathlib.Path(sys.argv[1]);"
        "bundles = [write_walks(folder / 'a.mct', 1, 'convex'), write_walks(folder / 'a.mtt', 1)];"
        "sys.exit(str([validate(path) for path in bundles]) if any(map(validate, bundles)) else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path],
        env={**os.environ, "LD_PRELOAD": str(shim)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("FileSystemWarning: ") == 2
    assert validate(tmp_path / "a.mtt") == []


def test_without_a_probe_the_owner_is_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder that cannot be written, nothing tells how users are mapped; a probe leaves nothing."""
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert filesystem.our_uid(tmp_path) == os.lstat(tmp_path).st_uid
    assert list(tmp_path.iterdir()) == []
    assert filesystem.our_uid(tmp_path / "gone") == 12345


@pytest.mark.parametrize("mapped", [True, False])
def test_a_file_of_our_own_is_read_from_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapped: bool
) -> None:
    """Wherever it was written last, and whether or not it can be mapped; it stays open."""
    if not mapped:
        faults.no_maps(monkeypatch, errno.ENODEV, tmp_path)
    values = np.arange(6, dtype="<f4").reshape(2, 3)
    fd = os.open(tmp_path / "x", os.O_RDWR | os.O_CREAT)
    os.write(fd, values.tobytes())
    found = filesystem.mapped_array(fd, values.dtype, (2, 3))
    assert np.array_equal(found, values)
    assert not found.flags.writeable
    assert os.fstat(fd).st_size == 24
    os.close(fd)

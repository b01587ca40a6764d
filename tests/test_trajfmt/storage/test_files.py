"""The files of a bundle: mapped, read and hashed, as long as they belong to it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

import trajfmt
from tests.helpers import faults
from tests.helpers.damage import patch_at
from tests.helpers.walks import walk_of, write_walks
from trajfmt import CorruptError, UnsafeError, UsageError
from trajfmt.errors import ReadError
from trajfmt.storage.files import BundleFiles, sha256_file

F4 = np.dtype("<f4")


def _descriptors() -> int:
    """Return how many files of bundles are open. Other tests' connections may close at any time."""
    count = 0
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += ".h5" in os.readlink(f"/proc/self/fd/{fd}")
    return count


def _files(tmp_path: Path, backend: str = "mmap") -> BundleFiles:
    (tmp_path / "theta").mkdir()
    (tmp_path / "theta/a.h5").write_bytes(np.arange(8, dtype=F4).tobytes())
    return BundleFiles(tmp_path, {"theta/a.h5": 32}, backend=backend)  # type: ignore[arg-type]


def test_sha256_of_more_than_one_block(tmp_path: Path) -> None:
    """Blocks are joined, and the last short one counts only what it has."""
    data = np.random.default_rng(0).bytes(2**23 + 17)
    (tmp_path / "x").write_bytes(data)
    assert sha256_file(tmp_path / "x") == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("backend", ["mmap", "pread"])
def test_arrays_are_read_only_and_outlive_close(tmp_path: Path, backend: str) -> None:
    """A view keeps its map; writing to it is an error."""
    files = _files(tmp_path, backend)
    array = files.array("theta/a.h5", 4, 3, F4)
    files.close()
    assert array.tolist() == [1, 2, 3]
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


@pytest.mark.parametrize("backend", ["mmap", "pread"])
def test_arrays_at_odd_offsets(tmp_path: Path, backend: str) -> None:
    """Offsets need not be aligned."""
    (tmp_path / "a.h5").write_bytes(b"x" + np.arange(3, dtype=F4).tobytes())
    files = BundleFiles(tmp_path, {"a.h5": 13}, backend=backend)  # type: ignore[arg-type]
    assert files.array("a.h5", 1, 3, F4).tolist() == [0, 1, 2]
    files.close()


@pytest.mark.parametrize("backend", ["mmap", "pread"])
def test_bytes_outside_the_listed_size_are_refused(tmp_path: Path, backend: str) -> None:
    """No read passes the end, whatever the offset."""
    files = _files(tmp_path, backend)
    for offset, count in ((4, 8), (33, 0), (2**53, 1), (0, 2**60)):
        with pytest.raises(UnsafeError) as caught:
            files.array("theta/a.h5", offset, count, F4)
        assert caught.value.reason == "size_overflow"
    files.close()


@pytest.mark.parametrize("change", [b"", b"shorter", bytes(33)])
def test_file_of_another_size_is_refused_and_closed(tmp_path: Path, change: bytes) -> None:
    """The manifest's size is compared when a file opens."""
    files = _files(tmp_path)
    (tmp_path / "theta/a.h5").write_bytes(change)
    before = _descriptors()
    with pytest.raises(CorruptError) as caught:
        files.array("theta/a.h5", 0, 1, F4)
    assert caught.value.reason == "file_size_mismatch"
    assert _descriptors() == before


def test_link_as_folder_is_refused(tmp_path: Path) -> None:
    """A folder inside the bundle must not lead out of it."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.h5").write_bytes(bytes(8))
    (tmp_path / "b").mkdir()
    (tmp_path / "b/theta").symlink_to(tmp_path / "out")
    with pytest.raises(UnsafeError) as caught:
        BundleFiles(tmp_path / "b", {"theta/a.h5": 8}).read("theta/a.h5", 0, 8)
    assert caught.value.reason == "path_unsafe"


def test_close_gives_every_descriptor_back(tmp_path: Path) -> None:
    """Also when a view is alive, once that is gone; and a second close does nothing."""
    before = _descriptors()
    files = _files(tmp_path)
    array = files.array("theta/a.h5", 0, 8, F4)
    files.read("theta/a.h5", 0, 8)
    files.close()
    files.close()
    del array
    assert _descriptors() == before


def test_pickling_keeps_paths_and_drops_handles(tmp_path: Path) -> None:
    """The copy opens its own descriptor, and works after the original is closed."""
    files = _files(tmp_path)
    files.array("theta/a.h5", 0, 8, F4)
    copy = pickle.loads(pickle.dumps(files))
    files.close()
    assert copy.array("theta/a.h5", 28, 1, F4).tolist() == [7]
    copy.close()


def test_verify_lists_every_file_that_differs(tmp_path: Path) -> None:
    """A flipped bit, a missing and a shortened file are three findings, a sound file is none."""
    sizes, hashes = {}, {}
    for name in ("a.h5", "b.h5", "c.h5", "d.h5"):
        (tmp_path / name).write_bytes(name.encode())
        sizes[name], hashes[name] = 4, hashlib.sha256(name.encode()).hexdigest()
    (tmp_path / "b.h5").write_bytes(b"c.h5")
    (tmp_path / "c.h5").unlink()
    (tmp_path / "d.h5").write_bytes(b"d.h")
    files = BundleFiles(tmp_path, sizes)
    problems = files.verify(hashes).values()
    files.close()
    found = [(type(exc), exc.reason, Path(exc.path or "").name) for exc in problems]
    assert found == [
        (CorruptError, "hash_mismatch", "b.h5"),
        (CorruptError, "file_missing", "c.h5"),
        (CorruptError, "file_size_mismatch", "d.h5"),
    ]


def test_file_that_shrinks_while_pread_reads_is_an_error(tmp_path: Path) -> None:
    """A read that ends early raises instead of giving less."""
    files = _files(tmp_path, "pread")
    files.read("theta/a.h5", 0, 1)
    (tmp_path / "theta/a.h5").write_bytes(bytes(8))
    with pytest.raises(CorruptError) as caught:
        files.array("theta/a.h5", 0, 8, F4)
    assert caught.value.reason == "file_size_mismatch"
    files.close()


def test_unknown_backend_is_a_usage_error(tmp_path: Path) -> None:
    """Only mmap and pread exist."""
    with pytest.raises(UsageError, match="backend"):
        BundleFiles(tmp_path, {}, backend="http")  # type: ignore[arg-type]


def test_a_private_map_is_compared_and_stays_private(tmp_path: Path) -> None:
    """Changes never reach the file, and the bytes are compared with their hash first."""
    path = write_walks(tmp_path / "a.mtt", 1)
    name = "theta/00000.h5"
    before = (path / name).read_bytes()
    with trajfmt.open(path, verify="read") as bundle:
        mapped = bundle.files.private_map(name, 0, len(before))
        assert mapped is not None
        assert bytes(mapped) == before
        mapped[0:4] = b"mine"
        assert (path / name).read_bytes() == before
        mapped.close()
    offset = trajfmt.open(path).manifest.trajectories[0].data
    patch_at(path / name, offset, bytes([before[offset] ^ 1]))
    with trajfmt.open(path, verify="read") as bundle, pytest.raises(trajfmt.CorruptError, match="sha256"):
        bundle.files.private_map(name, 0, len(before))


def test_too_many_open_files_are_an_error_of_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map needs a descriptor: the file is named, and nothing is called damaged."""
    path = write_walks(tmp_path / "a.mtt", 1)
    for number in (errno.EMFILE, errno.ENFILE):
        with monkeypatch.context() as patch, trajfmt.open(path) as bundle:
            faults.no_maps(patch, number, tmp_path)
            with pytest.raises(ReadError, match=rf"00000\.h5: cannot be read: {os.strerror(number)}"):
                bundle[0].at(0)
    with monkeypatch.context() as patch, trajfmt.open(path) as bundle:
        faults.no_maps(patch, errno.ENODEV, tmp_path)
        assert bundle[0].at(0).tobytes() == walk_of(0)[0].tobytes()
        assert bundle.files.private_map("theta/00000.h5", 0, 100) is None

"""HDF5 files whose skeleton is composed in memory: the bytes of libhdf5, and failures that are errors."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.helpers.folders import hashes
from tests.helpers.walks import write_walks
from trajfmt.storage import skeleton as module
from trajfmt.storage.skeleton import Skeleton, skeleton

ARRAYS = [np.random.default_rng(n).random((9 + n % 3, 1 + n % 40)) for n in range(120)]
CHUNKS = [bytes([n]) * size for n, size in enumerate([70_000, 300, 5, 1_000_000, 70_001, 2_000] * 30)]


def written_by_libhdf5(path: Path, fill: Any) -> bytes:
    """Return the bytes of a file that libhdf5 writes itself."""
    settings = {"libver": ("earliest", "v110"), "alignment_threshold": 512, "alignment_interval": 64}
    with h5py.File(path, "w", **settings) as file:
        fill(file, None)
    return path.read_bytes()


def arrays(file: Any, written: Skeleton | None) -> None:
    """Write many arrays of different sizes in groups."""
    for number, array in enumerate(ARRAYS):
        dataset = file.create_group(f"{number:05d}").create_dataset("a", data=array)
        if written:
            written.spill(dataset.id.get_offset(), array.data)


def chunks(file: Any, written: Skeleton | None) -> None:
    """Write chunks of different sizes, as a codec gives them."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk((1, 8))
    creation.set_obj_track_times(False)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple((len(CHUNKS), 8))
    dataset = h5py.h5d.create(file.id, b"c", h5py.h5t.STD_U8LE, space, creation)
    for number, data in enumerate(CHUNKS):
        dataset.write_direct_chunk((number, 0), data)
        if written:
            written.spill(dataset.get_chunk_info_by_coord((number, 0)).byte_offset, data)


def contiguous(file: Any, written: Skeleton | None) -> None:
    """Write one large array, of which libhdf5 sees a single element."""
    array = np.random.default_rng(0).random((50, 3000))
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_obj_track_times(False)
    space, kind = h5py.h5s.create_simple(array.shape), h5py.h5t.IEEE_F64LE
    dataset = h5py.h5d.create(file.id, b"t", kind, space, creation)
    if not written:
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, array)
        return
    space.select_hyperslab((0, 0), (1, 1))
    dataset.write(h5py.h5s.create_simple((1,)), space, np.zeros(1), kind)
    for number, row in enumerate(array):
        written.fill(dataset.get_offset() + number * row.nbytes, row.data)


@pytest.mark.parametrize("fill", [arrays, chunks, contiguous])
def test_bytes_are_those_of_libhdf5(tmp_path: Path, fill: Any) -> None:
    """Whatever mixture of groups, small arrays and chunks is written, and whatever was there before."""
    (tmp_path / "ours.h5").write_bytes(b"x" * 100_000_000)
    with skeleton(tmp_path / "ours.h5", threshold=512, interval=64) as written:
        fill(written.file, written)
    assert (tmp_path / "ours.h5").read_bytes() == written_by_libhdf5(tmp_path / "theirs.h5", fill)


@pytest.mark.parametrize(
    ("call", "numbers"), [("pwrite", range(1, 99, 7)), ("ftruncate", [1]), ("fsync", [1])]
)
def test_a_failed_write_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, numbers: Sequence[int]
) -> None:
    """Whichever write it is: libhdf5 has nothing to write, and closes its file in peace."""
    real = getattr(os, call)

    def write() -> None:
        with skeleton(tmp_path / "a.h5", threshold=512, interval=64) as written:
            chunks(written.file, written)

    for number in numbers:
        left = [number]

        def failing(*arguments: Any, left: list[int] = left) -> Any:
            left[0] -= 1
            if not left[0]:
                raise OSError(errno.EIO, "Input/output error")
            return real(*arguments)

        monkeypatch.setattr(os, call, failing)
        with pytest.raises(OSError, match="Input/output error"):
            write()


LIMITED = """
import resource, sys
import numpy as np
from collections.abc import Sequence
from pathlib import Path
from trajfmt.storage.skeleton import skeleton

failed = 0
for limit in range(70_000, 3_000_000, 70_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    try:
        with skeleton(Path(sys.argv[1]), threshold=512, interval=64) as written:
            for number in range(100):
                written.require(40_000)
                data = np.zeros(5000)
                dataset = written.file.create_dataset(f"{number}", data=data)
                written.spill(dataset.id.get_offset(), data.data)
    except OSError as exc:
        failed += exc.strerror == "File too large"
print(failed)
"""


def test_a_limit_for_the_size_of_files_is_an_error(tmp_path: Path) -> None:
    """`ulimit -f` also limits files in memory: nothing is given to libhdf5 that it could not write."""
    told = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "a.h5")], capture_output=True, text=True, check=True
    )
    assert (told.stdout, told.stderr) == ("42\n", "")


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="the system has no files in memory")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """What is on the disk is not kept in memory."""
    with skeleton(tmp_path / "a.h5", threshold=512, interval=64) as written:
        contiguous(written.file, written)
        data = np.zeros(200_000)
        for number in range(20):
            dataset = written.file.create_dataset(f"{number}", data=data)
            written.spill(dataset.id.get_offset(), data.data)
        assert os.fstat(written._memory).st_blocks * 512 < 300_000
    assert (tmp_path / "a.h5").stat().st_size > 32_000_000


def test_a_limit_of_file_sizes_is_met_before_libhdf5_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly what the limit leaves beside libhdf5's own bytes may be written."""
    with module.skeleton(tmp_path / "x.h5", threshold=512, interval=64) as written:
        written.file["a"] = 1
        room = 10_000
        monkeypatch.setattr(module.resource, "getrlimit", lambda _: (room + module._SLACK, -1))
        written.require(room)
        with pytest.raises(OSError, match="File too large") as caught:
            written.require(room + 1)
        assert caught.value.errno == errno.EFBIG
        written.spill(5_000, b"x" * 1_000)
        written.require(room - 6_000)
        with pytest.raises(OSError, match="File too large"):
            written.require(room - 5_999)
        monkeypatch.undo()


def test_without_files_in_memory_the_bytes_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A temporary file takes their place."""
    one = write_walks(tmp_path / "one.mtt", 1)
    monkeypatch.delattr(os, "memfd_create")
    assert hashes(write_walks(tmp_path / "two.mtt", 1)) == hashes(one)

"""Files of any origin as inputs: read by position, and never other bytes than those of the opened file."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from trajfmt.errors import CorruptError, ReadError, SourceError
from trajfmt.storage.inputs import InputFile

VALUES = np.arange(1000, dtype="<f4")


@pytest.fixture
def file(tmp_path: Path) -> InputFile:
    """Return a file of a thousand float32."""
    (tmp_path / "raw").write_bytes(VALUES.tobytes())
    return InputFile(tmp_path / "raw", least=0)


def test_checksum_is_that_of_pieces_in_order(file: InputFile) -> None:
    """Whatever the pieces; pieces out of order say nothing about the whole."""
    for length in (1, 7, 999, 1000):
        found: list[int] = []
        row = file.row(VALUES.dtype, 1000, 0, found.append)
        for start in range(0, 1000, length):
            assert row[start : start + length].tobytes() == VALUES[start : start + length].tobytes()
        assert found == [zlib.crc32(VALUES.tobytes())]
    found = []
    row = file.row(VALUES.dtype, 1000, 0, found.append)
    _ = row[500:], row[:500]
    assert found == []


def test_read_of_a_file_that_has_become_shorter(file: InputFile) -> None:
    """What is left can be read, and more is an error."""
    row = file.row(VALUES.dtype, 1000, 0)
    os.truncate(file.path, 2000)
    assert row[:500].tobytes() == VALUES[:500].tobytes()
    with pytest.raises(SourceError, match="changed while it was read") as caught:
        _ = row[499:501]
    assert caught.value.path == str(file.path)
    file.release()
    with pytest.raises(SourceError, match="changed while it was read"):
        file.read(0, 4)


def test_released_file_must_be_the_same(file: InputFile) -> None:
    """One of the same size under its name is another, and so is the same file with another time."""
    row = file.row(VALUES.dtype, 1000, 0)
    other = file.path.with_name("other")
    other.write_bytes(bytes(4000))
    other.replace(file.path)
    assert row[:3].tolist() == [0, 1, 2]
    file.release()
    with pytest.raises(SourceError) as caught:
        file.row(VALUES.dtype, 1000, 0)
    assert caught.value.reason == "source_changed"
    again = InputFile(file.path, least=0)
    again.release()
    os.utime(file.path, ns=(0, 0))
    with pytest.raises(SourceError):
        again.read(0, 1)


def test_too_many_open_files_are_explained(file: InputFile) -> None:
    """The error names the file and what to do, and nothing is called damaged."""
    script = (
        "import resource, sys, pathlib; from trajfmt.storage.inputs import InputFile\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))\n"
        "held = []\n"
        "while True: held.append(InputFile(pathlib.Path(sys.argv[1]), least=0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, file.path], capture_output=True, text=True, check=False
    )
    assert f"{ReadError.__name__}: {file.path}: cannot be read: Too many open files; raise" in done.stderr
    assert "ulimit -n" in done.stderr


TRUNCATE = """
import os, random, shutil, sys, threading, time
from pathlib import Path
from tests.helpers.replay import expert, save
from trajfmt.convert.run import convert
from trajfmt.errors import TrajfmtError

folder = Path(sys.argv[1])
source = save(folder / "in", [expert(seed, 20, ((60, 100), (7,))) for seed in range(4)])
whole = source.read_bytes()
draw = random.Random(1)

def tried():
    for left in ("out.mct", ".out.mct.partial"):
        shutil.rmtree(folder / left, ignore_errors=True)
    begin = time.perf_counter()
    try:
        convert(source, folder / "out.mct")
    except TrajfmtError as exc:
        assert chr(10) not in str(exc), exc
        return exc.reason
    return time.perf_counter() - begin

tried()  # the first time takes longer
usual = tried()
for _ in range(5):
    source.write_bytes(whole)
    cut = threading.Timer(draw.random() * usual, os.truncate, (source, draw.randrange(len(whole))))
    cut.start()
    print(tried())
    cut.join()
"""

HOOKED = """
import os, sys
from pathlib import Path
import trajfmt
from tests.helpers.walks import write_walks
from trajfmt.bundle import extraction, validation
from trajfmt.convert.run import convert
from trajfmt.trajectory.measure import Measure

folder, kind = Path(sys.argv[1]), sys.argv[2]
path = write_walks(folder / "b.mtt", 2)

def then(owner, name):  # call a function, and truncate all weights after it
    real = getattr(owner, name)
    def call(*arguments):
        found = real(*arguments)
        for file in path.rglob("*.h5"):
            os.truncate(file, 0)
        return found
    setattr(owner, name, call)

if kind == "convert":
    then(Measure, "add")
    convert(path, folder / "out.mct")
elif kind == "validate":
    then(validation, "finite")
    sys.exit(" ".join(str(problem) for problem in validation.validate(path)))
else:
    with trajfmt.open(path, backend="pread") as bundle:
        bundle[1].at(3)
        then(extraction, "checkpoint_header")
        extraction.extract(bundle, 1, 3, folder / "w.safetensors")
"""


def test_source_that_is_truncated_while_it_is_converted(tmp_path: Path) -> None:
    """At any moment: never a signal, and one line says that it has changed."""
    pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, "-c", TRUNCATE, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    assert "source_changed" in done.stdout


@pytest.mark.parametrize("kind", ["convert", "validate", "extract"])
def test_bundle_that_is_truncated_while_it_is_read(tmp_path: Path, kind: str) -> None:
    """After it was verified, opened, and read in part: an error, and no signal."""
    done = subprocess.run(
        [sys.executable, "-c", HOOKED, tmp_path, kind], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, (done.returncode, done.stderr[-2000:])
    assert "file_size_mismatch" in done.stderr or "source_changed" in done.stderr
    assert not (tmp_path / "out.mct").exists()
    assert not (tmp_path / "w.safetensors").exists()


def test_the_length_of_a_file_is_its_bytes(tmp_path: Path) -> None:
    """Reads beyond it bring what there is."""
    (tmp_path / "x").write_bytes(b"0123456789")
    file = InputFile(tmp_path / "x", least=10)
    assert len(file) == 10
    assert (file.read(7, 100), file.read(10, 1), file.read(99, 1)) == (b"789", b"", b"")
    (tmp_path / "x").write_bytes(b"\xff" * 10)
    with pytest.raises(CorruptError, match="must have 11 bytes or more, has 10"):
        InputFile(tmp_path / "x", least=11)

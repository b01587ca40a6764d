"""Bundles that a hostile author made: refused with a reason, without harm, delay or memory."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from numpy.typing import NDArray

import trajfmt
from tests.helpers.sealing import sealed, with_checksum
from trajfmt import CorruptError, FormatError, ParamLayout, UnsafeError, UsageError

Array = NDArray[np.generic]
Edit = Callable[..., None]


def _all_weights(path: Path, backend: Any = "mmap") -> None:
    with trajfmt.open(path, backend=backend) as bundle:
        for item in bundle:
            for k in range(len(item.knots)):
                item.knot(k)
            item.at(0)


def _refused(path: Path, backend: Any = "mmap") -> str:
    with pytest.raises(FormatError) as caught:
        _all_weights(path, backend)
    return caught.value.reason


@pytest.fixture
def convex(write_bundle: Callable[..., Path], layout: ParamLayout, walk: Callable[..., Array]) -> Path:
    """Return a sound bundle of one convexified trajectory."""
    return write_bundle(layout, walk(layout))


@pytest.fixture
def zstd(write_bundle: Callable[..., Path], layout: ParamLayout, walk: Callable[..., Array]) -> Path:
    """Return a sound bundle of one full trajectory, codec zstd."""
    return write_bundle(layout, walk(layout), encoding="full", codec="zstd", name="zstd.mtt")


def _replace_chunk(path: Path, edit: Edit, frame: bytes) -> None:
    """Put another frame in place of the chunk of timestep 1, at the end of the file."""
    file = path / "theta/00000.h5"
    end = file.stat().st_size
    with file.open("ab") as out:
        out.write(frame)

    def change(manifest: dict[str, Any]) -> None:
        chunks = manifest["trajectories"][0]["chunks"]
        chunks["offsets"][1], chunks["sizes"][1] = end, len(frame)

    edit(path, change)


def _pack(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


@pytest.mark.parametrize(
    "frame",
    [_pack(b"x" * 19), _pack(b""), _pack(bytes(36)) + b"\0", _pack(bytes(36))[:-1], b"", bytes(40)],
    ids=["shorter", "empty", "tail", "truncated", "nothing", "zeros"],
)
def test_chunk_that_is_not_what_it_must_be(frame: bytes, zstd: Path, edit_manifest: Edit) -> None:
    """The 19-byte chunk that crashes libhdf5 is an error here; other timesteps still read."""
    _replace_chunk(zstd, edit_manifest, frame)
    assert _refused(zstd) == "chunk_invalid"
    with trajfmt.open(zstd) as bundle:
        assert bundle[0].at(2).shape == (9,)
        with pytest.raises(CorruptError, match="timestep 1, chunk 0"):
            bundle[0].at(1)


def test_chunk_that_declares_2_gib_costs_no_memory(
    zstd: Path, edit_manifest: Edit, python: Callable[..., str]
) -> None:
    """Measured in a process of its own: less than 32 MB more than before."""
    packer = zstandard.ZstdCompressor(write_checksum=True).compressobj(size=2**31)
    zeros = bytes(2**24)
    frame = b"".join(packer.compress(zeros) for _ in range(2**7)) + packer.flush()
    _replace_chunk(zstd, edit_manifest, frame)
    peak = python(
        """
import resource, sys, trajfmt
bundle = trajfmt.open(sys.argv[1])
bundle[0].at(0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    bundle[0].at(1)
except trajfmt.CorruptError as exc:
    assert exc.reason == "chunk_invalid"
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
bundle.close()
""",
        zstd,
    )
    assert int(peak) < 32 * 1024


def _read_files(path: Path) -> list[Path]:
    """Return the files that reading weights from a disk needs, which those of digests are not."""
    return [file for file in sorted(path.glob("*/*")) if file.parent.name != "pieces"]


@pytest.mark.parametrize("backend", ["mmap", "pread"])
def test_truncated_files_are_refused(backend: str, convex: Path, zstd: Path) -> None:
    """At any length: no crash of the process, which a map beyond the end would be."""
    for path, count in ((convex, 2), (zstd, 1)):
        files = _read_files(path)
        assert len(files) == count
        for file in files:
            sound = file.read_bytes()
            for length in (0, 1, 8, len(sound) // 2, len(sound) - 1):
                file.write_bytes(sound[:length])
                assert _refused(path, backend) == "file_size_mismatch"
            file.write_bytes(sound)


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "socket link"])
def test_anything_but_a_regular_file_is_refused(kind: str, convex: Path, tmp_path: Path) -> None:
    """Without hanging, without following."""
    files = _read_files(convex)
    assert len(files) == 2
    for file in files:
        os.rename(file, tmp_path / "kept")
        if kind == "pipe":
            os.mkfifo(file)
        elif kind == "link":
            file.symlink_to(tmp_path / "kept")
        elif kind == "folder":
            file.mkdir()
        else:
            file.symlink_to("/dev/stdin")
        assert _refused(convex) == "path_unsafe"
        file.rmdir() if kind == "folder" else file.unlink()
        os.rename(tmp_path / "kept", file)
    _all_weights(convex)


def test_linked_folder_is_refused(convex: Path, tmp_path: Path) -> None:
    """Even if it leads to the very same files."""
    shutil.move(convex / "knots", tmp_path / "knots")
    (convex / "knots").symlink_to(tmp_path / "knots")
    assert _refused(convex) == "path_unsafe"


def test_file_that_is_not_listed_is_never_opened(convex: Path) -> None:
    """Pipes and links beside the listed files do no harm."""
    os.mkfifo(convex / "knots/00001.safetensors")
    (convex / "x.h5").symlink_to("/dev/zero")
    with trajfmt.open(convex, verify=True) as bundle:
        assert bundle[0].at(0.5).shape == (9,)


@pytest.mark.parametrize("length", [10**8 + 1, 2**63, 2**64 - 1])
def test_header_that_declares_too_much_is_not_read(length: int, convex: Path, edit_manifest: Edit) -> None:
    """The limit is checked on eight bytes, before anything is allocated."""
    file = convex / "knots/00000.safetensors"
    file.write_bytes(length.to_bytes(8, "little") + file.read_bytes()[8:])
    edit_manifest(convex)
    with pytest.raises(UnsafeError) as caught:
        _all_weights(convex)
    assert caught.value.reason == "header_too_large"


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["parameters"][0].update(shape=[2**31, 2**31]),
        lambda m: m["parameters"][0].update(shape=[2**32, 2**32, 2**32]),
        lambda m: m["parameters"][0].update(shape=[2, 2**40]),
        lambda m: m["trajectories"][0].update(timesteps=2**20, knots=[0, 2**20 - 1]),
        lambda m: m["trajectories"][0].update(data=2**53 - 1),
        lambda m: m["trajectories"][0]["table"].update(u=2**53 - 8),
    ],
)
def test_sizes_that_cannot_be_are_refused_by_the_manifest(
    change: Callable[[dict[str, Any]], object], convex: Path, edit_manifest: Edit
) -> None:
    """Products that would wrap around in 64 bits are exact here."""
    edit_manifest(convex, change)
    with pytest.raises(UnsafeError) as caught:
        trajfmt.open(convex)
    assert caught.value.reason == "size_overflow"


def test_file_that_claims_to_be_huge_is_compared_with_the_disk(convex: Path) -> None:
    """A forged size in the manifest allocates nothing: the file's own size decides."""
    manifest = json.loads((convex / "manifest.json").read_bytes())
    for entry in manifest["files"]:
        entry["bytes"] = 2**53 - 1
    entry = manifest["trajectories"][0]
    entry.update(timesteps=2**20, knots=[0, 2**20 - 1], data=2**50)
    entry["table"] = {"file": entry["table"]["file"], "u": 2**40}
    (convex / "manifest.json").write_bytes(sealed(manifest))
    assert _refused(convex) == "file_size_mismatch"


def test_header_of_millions_of_entries_costs_no_memory(
    write_bundle: Callable[..., Path], edit_manifest: Edit, python: Callable[..., str]
) -> None:
    """1,500 empty parameters and 1,500 knots fit in 100 kB of manifest; their header would take gigabytes."""
    n = 1500
    empty = [(f"p{i}", (0,)) for i in range(n)]
    layout = ParamLayout.of([*empty, ("w", (1,))], layers="all")
    path = write_bundle(layout, np.arange(3, dtype="<f4")[:, None])
    header = (64 - 8).to_bytes(8, "little") + b"{}".ljust(56)
    (path / "knots/00000.safetensors").write_bytes(header + bytes(4 * (n + 1)))
    (path / "tables/00000.h5").write_bytes(np.arange(n + 1, dtype="<f8").tobytes() * 2)
    edit_manifest(
        path,
        lambda manifest: manifest["trajectories"][0].update(
            timesteps=n + 1,
            knots=list(range(n + 1)),
            data=64,
            table={"file": "tables/00000.h5", "u": 0, "step_norms": 8 * (n + 1)},
        ),
    )
    assert (path / "manifest.json").stat().st_size < 200_000
    code = """
import pathlib, resource, sys, trajfmt
bundle = trajfmt.open(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
mapped = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + 2**29, mapped + 2**29))
try:
    bundle[0].at(0.5)
except trajfmt.FormatError as exc:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
bundle.close()
"""
    assert int(python(code, path)) < 64 * 1024


def test_damaged_bundles_never_crash(convex: Path, zstd: Path) -> None:
    """Any byte of any file changed: the weights are read or a FormatError says why not; both happen."""
    rng = np.random.default_rng(5)
    for path, count in ((convex, 3), (zstd, 2)):
        files = [path / "manifest.json", *_read_files(path)]
        assert len(files) == count
        for file in files:
            sound, read = file.read_bytes(), 0
            for _ in range(150):
                data = bytearray(sound)
                data[rng.integers(len(data))] = rng.integers(256)
                file.write_bytes(with_checksum(bytes(data)) if file.suffix == ".json" else data)
                with contextlib.suppress(FormatError):
                    _all_weights(path)
                    read += 1
            assert 0 < read < 150, file
            file.write_bytes(sound)


def test_parameter_named_like_the_metadata_is_refused() -> None:
    """safetensors has one key that cannot name a tensor."""
    with pytest.raises(UsageError, match="reserves it"):
        ParamLayout.of([("__metadata__", (2,)), ("w", (3,))])

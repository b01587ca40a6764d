"""Knots in several files: the same weights as in one, Hugging Face's convention, an index, memory."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import trajfmt
from tests.helpers.sealing import sealed
from trajfmt import ArrayTrajectory, ParamLayout, UsageError
from trajfmt.bundle.extraction import extract
from trajfmt.bundle.validation import validate
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert
from trajfmt.encodings.convex.reader import ConvexTrajectory
from trajfmt.encodings.parts.knots import cut
from trajfmt.encodings.parts.shards import KnotWriter
from trajfmt.trajectory.recorder import PathRecorder

Walk = Callable[..., Any]
LIMITS = [1, 4, 8, 24, 36, 40, 72, 100]


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("backend", ["mmap", "pread"])
def test_sharded_weights_are_those_of_one_file(
    tmp_path: Path, layout: ParamLayout, walk: Walk, write_bundle: Any, limit: int, backend: Any
) -> None:
    """Knots, real t, pieces, digests and tables, wherever the cuts are."""
    theta = walk(layout, timesteps=8)
    options = {"knots": (2, 5), "smooth": True}
    one = write_bundle(layout, theta, **options)
    many = write_bundle(layout, theta, name="many.mct", shard_bytes=limit, **options)
    assert validate(many) == []
    with trajfmt.open(one) as a, trajfmt.open(many, backend=backend, verify=True) as b:
        assert a.manifest.trajectories[0].digest == b.manifest.trajectories[0].digest
        for k in range(4):
            assert np.array_equal(a[0].knot(k), b[0].knot(k))
            assert not b[0].knot(k).flags.writeable
        for t in (0, 0.3, 2, 3.7, 6.999, 7):
            assert a[0].at(t).tobytes() == b[0].at(t).tobytes()
            for low, high in itertools.combinations(range(10), 2):
                assert b[0].pieces(t, low, high).tobytes() == a[0].at(t)[low:high].tobytes()
        extract(a, 0, 3.7, tmp_path / "a.safetensors")
        extract(b, 0, 3.7, tmp_path / "b.safetensors")
    one_file, other = (load_file(tmp_path / f"{name}.safetensors") for name in "ab")
    assert all(np.array_equal(one_file[name], other[name]) for name in one_file)


@pytest.mark.parametrize("limit", [8, 36, 80])
def test_files_follow_the_convention(layout: ParamLayout, walk: Walk, write_bundle: Any, limit: int) -> None:
    """Names count from 1, the index names the file of every tensor, safetensors opens each shard."""
    path = write_bundle(layout, walk(layout), knots=(2,), shard_bytes=limit)
    names = sorted(file.name for file in (path / "knots").glob("*.safetensors"))
    assert names == [f"00000-{i:05d}-of-{len(names):05d}.safetensors" for i in range(1, len(names) + 1)]
    index = json.loads((path / "knots" / "00000.safetensors.index.json").read_bytes())
    assert index["metadata"] == {"total_size": 3 * 36}
    tensors = {name: load_file(path / "knots" / name) for name in names}
    assert {key: name for name, held in tensors.items() for key in held} == index["weight_map"]
    joined = {key: value for held in tensors.values() for key, value in held.items()}
    with trajfmt.open(path) as bundle:
        for k, t in enumerate(bundle[0].knots):
            for name, value in layout.split(bundle[0].knot(k)).items():
                assert np.array_equal(joined.pop(f"{t:05d}/{name}"), value)
    assert not joined


def test_a_knot_that_fits_is_one_mapped_block(layout: ParamLayout, walk: Walk, write_bundle: Any) -> None:
    """A cut between knots costs no copy: the array is a view of its file."""
    path = write_bundle(layout, walk(layout), knots=(2,), shard_bytes=40)
    with trajfmt.open(path) as bundle:
        assert len(list((path / "knots").glob("*.safetensors"))) == 3
        for k in range(3):
            assert not bundle[0].knot(k).flags.owndata
        assert bundle[0]._knots.whole  # type: ignore[attr-defined]
    with trajfmt.open(write_bundle(layout, walk(layout), name="cut.mct", shard_bytes=30)) as bundle:
        assert not bundle[0]._knots.whole  # type: ignore[attr-defined]


def test_small_knots_stay_in_one_file(layout: ParamLayout, walk: Walk, write_bundle: Any) -> None:
    """Up to the limit nothing changes, byte for byte."""
    theta = walk(layout)
    one = write_bundle(layout, theta)
    other = write_bundle(layout, theta, name="other.mct", shard_bytes=72)
    assert (one / "manifest.json").read_bytes() == (other / "manifest.json").read_bytes()
    with pytest.raises(UsageError, match="shard_bytes"):
        write_bundle(layout, theta, name="none.mct", shard_bytes=0)


def test_the_same_bytes_come_out_again(layout: ParamLayout, walk: Walk, write_bundle: Any) -> None:
    """Two sharded bundles of the same input have equal manifests, which hold all hashes."""
    paths = [write_bundle(layout, walk(layout), name=name, shard_bytes=30) for name in ("a", "b")]
    assert len({(path / "manifest.json").read_bytes() for path in paths}) == 1


def test_append_takes_free_numbers(layout: ParamLayout, walk: Walk, write_bundle: Any) -> None:
    """Shards of an appended trajectory have names and an index of their own."""
    path = write_bundle(layout, walk(layout), walk(layout, seed=1), shard_bytes=40)
    with trajfmt.append(path, shard_bytes=8) as writer:
        assert writer.add(ArrayTrajectory(walk(layout, seed=2), layout)) == 2
    assert validate(path) == []
    assert len(list((path / "knots").glob("*.index.json"))) == 3
    with trajfmt.open(path) as bundle:
        assert [len(entry.shards or ()) for entry in bundle.manifest.trajectories] == [2, 2, 6]  # type: ignore[union-attr]
        assert np.array_equal(bundle[2].at(5), walk(layout, seed=2)[5])


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_recorded_trajectories_are_cut_alike(
    layout: ParamLayout, walk: Walk, tmp_path: Path, dtype: Any
) -> None:
    """What a recorder has convexified is sharded as a conversion would do it."""
    layout = layout.cast(dtype)
    theta = walk(layout)
    recorder = PathRecorder(layout, knots=(2,))
    for row in theta:
        recorder.add(row)
    for name, source in (("a", ArrayTrajectory(theta, layout)), ("b", recorder.finish())):
        with trajfmt.create(tmp_path / name, layout, encoding="convex", knots=(2,), shard_bytes=24) as writer:
            writer.add(source)
    assert (tmp_path / "a/manifest.json").read_bytes() == (tmp_path / "b/manifest.json").read_bytes()


@pytest.mark.parametrize("limit", [8, 10**9])
def test_a_bundle_is_cut_again_without_its_waypoints(
    tmp_path: Path, layout: ParamLayout, walk: Walk, write_bundle: Any, limit: int
) -> None:
    """Shards alone may change between two convexified bundles: tables, digests, smoothing stay."""
    source = write_bundle(
        layout, walk(layout), walk(layout, seed=1), shard_bytes=40, knots=(1, 3), smooth=True, gram=True
    )
    convert(source, tmp_path / "b.mct", ConvertOptions(shard_bytes=limit))
    assert validate(tmp_path / "b.mct") == []
    with trajfmt.open(source) as a, trajfmt.open(tmp_path / "b.mct") as b:
        assert b.manifest.smoothed  # type: ignore[union-attr]
        for one, other in zip(a, b, strict=True):
            assert isinstance(one, ConvexTrajectory)
            assert isinstance(other, ConvexTrajectory)
            assert (one.digest, one.knots) == (other.digest, other.knots)
            for fact in ("u", "step_norms", "gram"):
                assert np.array_equal(getattr(one, fact), getattr(other, fact))
            assert one.at(2.3).tobytes() == other.at(2.3).tobytes()
    with pytest.raises(UsageError, match="convexified already"):
        convert(source, tmp_path / "c.mct")
    with pytest.raises(UsageError, match="it has no waypoints"):
        convert(source, tmp_path / "c.mct", ConvertOptions(shard_bytes=8, knots=(2,)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:-1], "file_size_mismatch"),
        (lambda data: data.replace(b"fc.bias", b"fc.bios"), "header_mismatch"),
        (lambda data: data.replace(b'{"__m', b'["__m'), "header_invalid"),
    ],
)
def test_damaged_shard_is_found(
    layout: ParamLayout, walk: Walk, write_bundle: Any, change: Any, reason: str
) -> None:
    """Reading and validation name the shard that is damaged."""
    path = write_bundle(layout, walk(layout), shard_bytes=24)
    (file,) = [
        file for file in (path / "knots").glob("*.safetensors") if b"00005/fc.bias" in file.read_bytes()
    ]
    data = change(file.read_bytes())
    file.write_bytes(data)
    if reason != "file_size_mismatch":
        manifest = json.loads((path / "manifest.json").read_bytes())
        for entry in manifest["files"]:
            if entry["path"].endswith(file.name):
                entry["sha256"] = hashlib.sha256(data).hexdigest()
        (path / "manifest.json").write_bytes(sealed(manifest))
    problems = validate(path)
    assert reason in {problem.reason for problem in problems}
    assert any(re.search(file.name, problem.where) for problem in problems)
    with pytest.raises(trajfmt.FormatError) as caught, trajfmt.open(path) as bundle:
        bundle[0].at(5)
    assert caught.value.reason == reason


def test_flipped_weight_in_a_shard_is_found(layout: ParamLayout, walk: Walk, write_bundle: Any) -> None:
    """Hashes and the digest of the ends."""
    path = write_bundle(layout, walk(layout), shard_bytes=24)
    file = sorted((path / "knots").glob("*.safetensors"))[-1]
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    assert [problem.reason for problem in validate(path)] == ["hash_mismatch"] * 2


MEMORY = """
import sys, threading, time
from pathlib import Path
import numpy as np
import trajfmt
from trajfmt.bundle.extraction import extract
from trajfmt.schema.layout import DTYPES
from trajfmt.bundle.validation import validate

folder, dtype, suffix, codec = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
elements = 3 * 2**22
layout = trajfmt.ParamLayout.of([(f"p{i}", (elements // 3,)) for i in range(3)], dtype=dtype)
file = folder / "theta.bin"
rows = np.memmap(file, np.uint8, "w+", shape=(6, layout.nbytes))
for t in range(6):
    values = np.linspace(-1 - t, 1 + t, 2**20).astype(DTYPES[dtype]).view(np.uint8)
    for start in range(0, layout.nbytes, values.size):
        rows[t, start : start + values.size] = values
rows.flush()
theta = np.memmap(file, np.uint8, "r", shape=rows.shape).view(DTYPES[dtype])

def anonymous():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1])

class Peak:
    def __enter__(self):
        self.base = self.top = anonymous()
        self.going = True
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self
    def watch(self):
        while self.going:
            self.top = max(self.top, anonymous())
            time.sleep(0.001)
    def __exit__(self, *_):
        self.going = False
        self.thread.join()

out = folder / ("out" + suffix)
options = {"codec": codec} if suffix == ".mtt" else {"shard_bytes": layout.nbytes // 2}
with Peak() as peak:
    with trajfmt.create(out, layout, encoding="full" if suffix == ".mtt" else "convex", **options) as writer:
        writer.add(trajfmt.ArrayTrajectory(theta, layout))
    with trajfmt.open(out) as bundle:
        extract(bundle, 0, 3 if suffix == ".mtt" else 2.5, folder / "at.safetensors")
    assert validate(out) == []
print(peak.top - peak.base, layout.nbytes // 1024)
"""


@pytest.mark.parametrize(
    ("dtype", "suffix", "codec", "limit"),
    [
        ("BF16", ".mct", "none", 18),
        ("F32", ".mtt", "none", 24),
        ("F32", ".mtt", "archive", 40),
    ],
)
def test_memory_does_not_grow_with_the_network(
    tmp_path: Path, python: Any, dtype: str, suffix: str, codec: str, limit: int
) -> None:
    """Writing, extracting and validating take less than `limit` MB, less than one of the six timesteps.

    Two threads may each hold a block of a file at the same time.
    """
    used, vector = map(int, python(MEMORY, tmp_path, dtype, suffix, codec).split())
    assert used < limit * 1024 < vector


def test_reading_a_knot_looks_at_its_own_shards_only(
    layout: ParamLayout, walk: Walk, write_bundle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a shard for every tensor, a knot is found without passing all shards before and after it."""
    theta = walk(layout, timesteps=12)
    path = write_bundle(layout, theta, knots=tuple(range(1, 11)), shard_bytes=1)
    with trajfmt.open(path) as bundle:
        trajectory = bundle[0]
        trajectory.at(0)
        looked = 0
        find = list.__getitem__

        class Counted(list[Any]):
            def __getitem__(self, index: Any) -> Any:
                nonlocal looked
                looked += 1
                return find(self, index)

        reader = trajectory._knots  # type: ignore[attr-defined]
        monkeypatch.setattr(reader, "_shards", Counted(reader._shards))
        for k in range(12):
            assert np.array_equal(trajectory.knot(k), theta[k])
    assert looked <= 12 * (len(layout.parameters) + 2)


def test_a_disk_that_is_full_at_the_second_shard_leaves_no_file_open(
    layout: ParamLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one is closed, too."""
    real, before = os.ftruncate, len(os.listdir("/proc/self/fd"))

    def full(fd: int, size: int) -> None:
        if os.readlink(f"/proc/self/fd/{fd}").endswith("1"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(fd, size)

    monkeypatch.setattr(os, "ftruncate", full)
    shards = [(tmp_path / str(i), contents) for i, contents in enumerate(cut(layout, 2, layout.nbytes))]
    assert len(shards) == 2
    with pytest.raises(OSError, match="No space left"):
        KnotWriter(layout, (0, 5), shards)
    assert len(os.listdir("/proc/self/fd")) == before

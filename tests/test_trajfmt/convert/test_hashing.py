"""The files of a source while it is converted: hashing and reading them ends with the conversion."""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from trajfmt.bundle.reader import Bundle
from trajfmt.convert.hashing import Watched
from trajfmt.convert.run import convert
from trajfmt.errors import SourceError
from trajfmt.sources.base.collection import FilePart
from trajfmt.sources.bundles import StoredTrajectory
from trajfmt.sources.mtt_family.replay import ReplayPart
from trajfmt.sources.torchfile.zipped import ZippedTrajectory
from trajfmt.storage import opened

torch = pytest.importorskip("torch")


def save(folder: Path) -> Path:
    """Save a buffer of one trajectory of three timesteps."""
    folder.mkdir()
    torch.save([[[torch.full((400,), float(t))] for t in range(3)]], folder / "replay_buffer_0.pt")
    return folder / "replay_buffer_0.pt"


@pytest.mark.parametrize(
    "error", [SourceError("too_few_timesteps", "has none"), KeyboardInterrupt()], ids=["error", "Ctrl-C"]
)
def test_error_does_not_wait_for_the_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """A file whose first piece is being hashed when the conversion fails is hashed no further."""
    source = save(tmp_path / "src")
    size = 4096
    assert source.stat().st_size > size
    pieces: list[int] = []
    begun, over = threading.Event(), threading.Event()

    class Held:
        def __init__(self, data: bytes = b"") -> None:
            self.hexdigest = hashlib.sha256(data).hexdigest

        def update(self, piece: memoryview) -> None:
            pieces.append(len(piece))
            begun.set()
            over.wait()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            over.set()
            super().shutdown(wait, cancel_futures=cancel_futures)

    def fail(_self: ReplayPart, _scratch: Path) -> None:
        begun.wait()
        raise error

    monkeypatch.setattr(opened, "hashlib", SimpleNamespace(sha256=Held))
    monkeypatch.setattr(opened, "_BLOCK", size)
    monkeypatch.setattr("trajfmt.convert.run.ThreadPoolExecutor", Pool)
    monkeypatch.setattr(ReplayPart, "open", fail)
    with pytest.raises(type(error)):
        convert(source, tmp_path / "out.mct")
    assert pieces == [size]


def test_interrupt_does_not_wait_for_trajectories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trajectory that is being read when Ctrl-C comes is read no further, and leaves no file."""
    reads: list[int] = []
    begun, over = threading.Event(), threading.Event()
    read = ZippedTrajectory.read

    def held(self: ZippedTrajectory, t: int, parameter: int) -> Any:
        reads.append(t)
        begun.set()
        over.wait()
        return read(self, t, parameter)

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            over.set()
            super().shutdown(wait, cancel_futures=cancel_futures)

    def interrupt(_self: Watched) -> None:
        begun.wait()
        raise KeyboardInterrupt

    source = save(tmp_path / "src")
    monkeypatch.setattr(ZippedTrajectory, "read", held)
    monkeypatch.setattr(Watched, "hash_more", interrupt)
    monkeypatch.setattr("trajfmt.convert.run.ThreadPoolExecutor", Pool)
    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "out.mct")
    assert reads == [0]
    assert [path.name for path in tmp_path.iterdir()] == ["src"]


def test_hash_is_that_of_all_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last piece may be shorter, further files follow the first, and an empty one has a hash, too."""
    data = np.random.default_rng(0).bytes(10_000)
    for name, content in (("a", data), ("b", b""), ("c", data[:7])):
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(opened, "_BLOCK", 4096)
    part: Any = FilePart(tmp_path / "a", tmp_path / "b", tmp_path / "c")
    with ThreadPoolExecutor(1) as pool, Watched(part, pool) as watched:
        watched.hash_more()
        found = [(file.name, file.bytes, file.sha256) for file in watched.sources()]
    contents = {"a": data, "b": b"", "c": data[:7]}
    assert found == [
        (name, len(content), hashlib.sha256(content).hexdigest()) for name, content in contents.items()
    ]


def test_bundle_is_checked_where_ctrl_c_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python tells the main thread alone; one that waits for a pool could not end the pool's work."""
    convert(save(tmp_path / "src"), tmp_path / "out.mtt")
    threads: list[threading.Thread] = []
    monkeypatch.setattr(Bundle, "verify", lambda _self: threads.append(threading.current_thread()))
    convert(tmp_path / "out.mtt", tmp_path / "out.mct")
    assert threads == [threading.main_thread()]


@pytest.mark.parametrize("moment", [(Bundle, "verify"), (StoredTrajectory, "close")], ids=["before", "after"])
def test_bundle_whose_weights_change_after_they_were_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: tuple[type, str]
) -> None:
    """Before they are read, or after, until the end of a conversion: nothing may take their place."""
    convert(save(tmp_path / "src"), tmp_path / "a.mtt")
    (weights,) = (tmp_path / "a.mtt").rglob("0*.h5")
    real = getattr(*moment)

    def then_change(self: Any) -> None:
        real(self)
        with weights.open("r+b") as file:
            file.seek(-4, 2)
            file.write(bytes(4))

    monkeypatch.setattr(*moment, then_change)
    with pytest.raises(SourceError) as caught:
        convert(tmp_path / "a.mtt", tmp_path / "out.mct")
    assert caught.value.reason == "source_changed"
    assert not (tmp_path / "out.mct").exists()


@pytest.mark.parametrize("change", ["replaced", "touched"])
def test_source_that_is_another_file_of_the_same_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Its inode tells, also if its time is the same; and its time, if its inode is the same."""
    source = save(tmp_path / "src")
    time = source.stat().st_mtime_ns
    read = ZippedTrajectory.check

    def then_change(self: ZippedTrajectory) -> None:
        read(self)
        if change == "replaced":
            other = source.with_name("other")
            other.write_bytes(source.read_bytes())
            os.utime(other, ns=(time, time))
            other.replace(source)
        else:
            os.utime(source, ns=(time + 1, time + 1))

    monkeypatch.setattr(ZippedTrajectory, "check", then_change)
    with pytest.raises(SourceError) as caught:
        convert(source, tmp_path / "out.mct")
    assert (caught.value.reason, caught.value.path) == ("source_changed", str(source))

"""The folder in which a bundle is built: what interrupts it arrives as it was sent."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from tests.helpers.faults import error
from tests.helpers.walks import LAYOUT
from trajfmt.errors import ExistsError, UsageError, WriteError
from trajfmt.storage.staging import Staging


@pytest.mark.parametrize("durable", [0, 1, 2, 3])
def test_ctrl_c_while_a_record_is_packed_stays_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: int
) -> None:
    """Wherever it comes, before or after tables and record are durable; no half of a record is recalled."""
    staging = Staging(tmp_path / "out.mct", b"job")
    fsync, calls = os.fsync, iter(range(4))

    def interrupted(fd: int) -> None:
        fsync(fd)
        if next(calls) == durable:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        staging.record("00000", b"{}", {"u": np.zeros(3)})
    monkeypatch.undo()
    assert (staging.recall("00000") is None) == (durable < 3)
    staging.release()


def test_failure_while_opening_gives_the_lock_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same process can try again."""
    real = os.replace

    def fail(*_arguments: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="Input/output"):
        trajfmt.create(tmp_path / "o.mct", LAYOUT, encoding="convex", job=b"1")
    monkeypatch.setattr(os, "replace", real)
    trajfmt.create(tmp_path / "o.mct", LAYOUT, encoding="convex").discard()
    assert list(tmp_path.iterdir()) == []


def test_lock_of_a_removed_folder_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening the lock file and locking it, its owner may have removed it."""
    import fcntl

    owner = Staging(tmp_path / "o.mct", b"1")
    real = fcntl.flock
    calls = 0

    def flock(fd: int, operation: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            owner.discard()
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    second = Staging(tmp_path / "o.mct", b"2")
    assert calls == 2
    with pytest.raises(UsageError, match="another process is writing it"):
        Staging(tmp_path / "o.mct", b"3")
    second.discard()


def test_leftovers_of_a_published_bundle_are_removed(tmp_path: Path) -> None:
    """By the next command for the destination, also if that refuses; unfinished work stays."""
    staging = Staging(tmp_path / "o.mct", b"job")
    staging.record("00000", b"{}")
    staging.bundle.rmdir()  # moved to its destination; the process was then killed
    staging.release()
    (tmp_path / "o.mct").mkdir()
    for _ in range(2):
        with pytest.raises(ExistsError):
            trajfmt.create(tmp_path / "o.mct", LAYOUT, encoding="convex")
        assert os.listdir(tmp_path) == ["o.mct"]
        (tmp_path / ".o.mct.partial").mkdir()  # killed just before it removed the empty folder
    staging = Staging(tmp_path / "o.mct", b"job")
    staging.record("00000", b"{}")
    staging.release()
    with pytest.raises(ExistsError):
        trajfmt.create(tmp_path / "o.mct", LAYOUT, encoding="convex")
    assert sorted(os.listdir(tmp_path)) == [".o.mct.partial", "o.mct"]


def test_what_nobody_can_continue_is_removed(tmp_path: Path) -> None:
    """By a command that refuses, even if an earlier one was killed while it removed the same."""
    (tmp_path / "o.mct").mkdir()
    for job in (None, b"job"):
        Staging(tmp_path / "o.mct", job).release()  # as a kill leaves it: no trajectory is finished
        with pytest.raises(ExistsError):
            trajfmt.create(tmp_path / "o.mct", LAYOUT, encoding="convex")
        assert os.listdir(tmp_path) == ["o.mct"]


def test_a_folder_of_the_user_is_not_taken_over(tmp_path: Path) -> None:
    """Whatever its name: nothing in it is removed, and the message names it."""
    mine = tmp_path / ".o.mct.partial"
    mine.mkdir()
    (mine / "precious").write_text("mine")
    with pytest.raises(UsageError, match=r"\.o\.mct\.partial: .*is not of an earlier run"):
        trajfmt.create(tmp_path / "o.mct", LAYOUT, encoding="convex")
    (tmp_path / "o.mct").mkdir()
    with pytest.raises(ExistsError):
        trajfmt.create(tmp_path / "o.mct", LAYOUT, encoding="convex")
    assert (mine / "precious").read_text() == "mine"


def test_a_folder_that_another_process_has_just_begun_is_not_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files may appear just after a look at one of them."""
    root, real = tmp_path / ".o.mct.partial", os.stat

    def stat(path: Any, **named: Any) -> os.stat_result:
        if path == root / "lock" and not (root / "bundle").exists():
            (root / "lock").touch()
            (root / "bundle").mkdir()
            raise error(errno.ENOENT)
        return real(path, **named)

    monkeypatch.setattr(os, "stat", stat)
    Staging(tmp_path / "o.mct", None).discard()
    assert os.listdir(tmp_path) == []


def test_folder_is_recognised_until_nothing_else_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed anywhere while it removes the folder, a process leaves one that the next takes over."""
    staging = Staging(tmp_path / "o", b"job")
    staging.record("00000", b"{}")
    real, seen = os.rmdir, []

    def noted(path: Any, **named: Any) -> None:
        seen.append((staging.root / "lock").exists() or not os.listdir(staging.root))
        real(path, **named)

    monkeypatch.setattr(os, "rmdir", noted)
    staging.discard()
    assert len(seen) == 4
    assert all(seen)


def test_what_records_leave_to_publication_is_durable_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records that only survive a kill sync nothing; every file is synced before the bundle appears."""
    staging = Staging(tmp_path / "out.mct", b"job", durable=False)
    synced: set[int] = set()
    appeared: list[set[int]] = []
    fsync, rename = os.fsync, os.rename

    def noted(fd: int) -> None:
        synced.add(os.fstat(fd).st_ino)
        fsync(fd)

    def moved(source: Path, target: Path) -> None:
        appeared.append(set(synced))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "rename", moved)
    for number in range(3):
        staging.path(f"knots/{number}").write_bytes(b"knot")
        staging.record(f"{number:05d}", b"{}", {"u": np.zeros(3)})
    assert synced == set()
    assert staging.recall("00002") is not None
    staging.publish()
    there = [tmp_path / "out.mct", *(tmp_path / "out.mct").rglob("*")]
    assert appeared == [{path.stat().st_ino for path in there}]
    assert len(there) == 5


def test_record_is_recalled_as_it_was(tmp_path: Path) -> None:
    """Every table has its bits and its shape, whatever its memory layout; and none is none."""
    staging = Staging(tmp_path / "out.mct", b"job")
    tables = {"u": np.random.default_rng(0).random((4, 3)).T, "gram": np.array([[np.nan, -0.0]])}
    staging.record("00000", b"first", tables)
    staging.record("source-0", b"second")
    found = staging.recall("00000")
    assert found is not None
    assert found[0] == b"first"
    assert {name: (a.shape, a.dtype, a.tobytes()) for name, a in found[1].items()} == {
        name: (a.shape, a.dtype, a.tobytes()) for name, a in tables.items()
    }
    assert staging.recall("source-0") == (b"second", {})
    staging.release()


def test_unreadable_job_does_not_discard_finished_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the disk is no other job."""
    staging = Staging(tmp_path / "o.mct", b"job")
    staging.record("00000", b"first")
    staging.release()
    real = Path.read_bytes

    def refuse(self: Path) -> bytes:
        if self.name == "job":
            raise OSError(5, "Input/output error")
        return real(self)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        with pytest.raises(WriteError, match="Input/output error"):
            Staging(tmp_path / "o.mct", b"job")
    again = Staging(tmp_path / "o.mct", b"job")
    assert again.resumed
    assert again.recall("00000") == (b"first", {})
    again.discard()


def test_a_damaged_record_is_no_record(tmp_path: Path) -> None:
    """Whatever digit has changed: the work is done again, and a wrong number does not reach the manifest."""
    staging = Staging(tmp_path / "out.mct", b"job")
    staging.record("00000", b'{"data":704}')
    assert staging.recall("00000") == (b'{"data":704}', {})
    path = staging.root / "journal" / "00000.json"
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert staging.recall("00000") is None
    staging.discard()


def test_an_interruption_after_publishing_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundle is at its destination, so the work has succeeded; what is left is removed later."""
    staging = Staging(tmp_path / "out.mct", b"job")
    (staging.bundle / "file").write_text("content")

    def interrupted(_self: Staging) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Staging, "discard", interrupted)
        staging.publish()
    assert (tmp_path / "out.mct" / "file").read_text() == "content"
    staging.discard()


def test_a_folder_that_another_process_removes_meanwhile_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it is looked at, and before the lock in it is opened."""
    real, left = {"lstat": os.lstat, "open": os.open}, {"lstat": 1, "open": 1}

    def vanishing(name: str) -> Any:
        def call(path: Any, *arguments: Any, **named: Any) -> Any:
            if str(path).startswith(str(tmp_path / ".o.mct.partial")) and left[name]:
                left[name] -= 1
                shutil.rmtree(tmp_path / ".o.mct.partial")
            return real[name](path, *arguments, **named)

        return call

    for name in real:
        monkeypatch.setattr(os, name, vanishing(name))
    staging = Staging(tmp_path / "o.mct", b"1")
    monkeypatch.undo()
    assert left == {"lstat": 0, "open": 0}
    assert (staging.root / "job").read_bytes() == b"1"
    staging.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("call", "words"),
    [("mkdir", "cannot create files here: Read-only file system"), ("open", "cannot be locked: Read-only")],
)
def test_a_folder_that_cannot_be_made_or_locked_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, words: str
) -> None:
    """It names the place."""
    real = getattr(os, call)

    def refuse(path: Any, *arguments: Any, **named: Any) -> Any:
        if ".o.mct.partial" in str(path):
            raise OSError(errno.EROFS, "Read-only file system")
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(WriteError, match=f"^{tmp_path}.*: {words}"):
        Staging(tmp_path / "o.mct", b"1")


def test_an_unreadable_journal_is_not_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the work in it would be thrown away; releasing twice is no error."""
    staging = Staging(tmp_path / "o.mct", b"1")
    assert staging.empty
    staging.record("00000", b"{}")
    assert not staging.empty
    real = os.listdir

    def refuse(path: Any) -> list[str]:
        if Path(path).name == "journal":
            raise OSError(errno.EIO, "Input/output error")
        return real(path)

    monkeypatch.setattr(os, "listdir", refuse)
    assert not staging.empty
    monkeypatch.undo()
    staging.release()
    staging.release()


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (b"a.1 words", b"a.1 words", "resumed"),
        (b"a.1 words", b"a.2 words", "stale"),
        (b"a.1 words", b"a.1 others", "stale"),
        (b"0f-a.1 words", b"1e-a.2 words", "stale"),
        (b"a.1 one.two-three", b"a.1 four", "stale"),
        (b"a.1 words", b"b.1 words", "refused"),
        (b"a.1 words", b"words a.1", "refused"),
        (b"a.1 words", None, "refused"),
        (b"a.1 words", b"", "refused"),
        (b"ab.1 x", b"a.1 x", "refused"),
    ],
)
def test_work_of_the_same_command_is_done_again_and_that_of_another_is_kept(
    tmp_path: Path, old: bytes, new: bytes | None, what: str
) -> None:
    """The hash of the bundle, the version and the words may differ; then the work is out of date."""
    staging = Staging(tmp_path / "o.mct", old)
    staging.record("00000", b"{}")
    staging.release()
    if what == "refused":
        words = old.partition(b" ")[2].decode()
        with pytest.raises(ExistsError, match=rf"an interrupted run \({words}\) has finished"):
            Staging(tmp_path / "o.mct", new)
        assert Staging.unfinished(tmp_path / "o.mct") == old
        return
    again = Staging(tmp_path / "o.mct", new)
    assert (again.resumed, again.stale) == (what == "resumed", what == "stale")
    assert (again.recall("00000") is None) == again.stale
    assert (again.root / "job").read_bytes() == new
    again.discard()


def test_new_files_have_names_of_their_own(tmp_path: Path) -> None:
    """Until they are given their final ones; what an interrupted process began is removed."""
    staging = Staging(tmp_path / "o.mct", b"job")
    paths = [staging.pending() for _ in range(3)]
    assert len({*paths}) == 3
    for path in paths:
        path.write_bytes(b"x")
    staging.path("knots/a").write_bytes(b"x")
    staging.release()
    assert not paths[0].parent.exists()
    again = Staging(tmp_path / "o.mct", b"job")
    assert list(again.pending().parent.iterdir()) == []
    assert again.path("knots/a").read_bytes() == b"x"
    again.discard()
    assert list(tmp_path.iterdir()) == []

"""Files that are read while they are made durable."""

from __future__ import annotations

import os
import pickle
import threading
from pathlib import Path

from trajfmt.storage.opened import OpenFile
from trajfmt.storage.settling import Settling


def test_a_file_is_read_while_it_is_made_durable(tmp_path: Path) -> None:
    """It can be opened as often as needed until it has its name; then `wait` returns."""
    (tmp_path / "partial").write_bytes(b"data")
    settling, gate = Settling(), threading.Event()

    def work() -> None:
        assert gate.wait(20)
        os.rename(tmp_path / "partial", tmp_path / "name")

    settling.begin("name", OpenFile(tmp_path / "partial"), work)
    assert "name" in settling
    for _ in range(2):
        file = settling.opened("name")
        assert file is not None
        with file:
            assert file.read(1, 2) == b"at"
    assert "name" not in pickle.loads(pickle.dumps(settling))
    gate.set()
    settling.wait("name")
    settling.wait_for_all()
    assert "name" not in settling
    assert settling.opened("name") is None
    assert (tmp_path / "name").read_bytes() == b"data"


def test_a_disk_that_fails_leaves_no_name(tmp_path: Path) -> None:
    """The file is forgotten, and nothing else happens."""
    (tmp_path / "partial").write_bytes(b"data")
    settling = Settling()

    def work() -> None:
        raise OSError(5, "broken")

    settling.begin("name", OpenFile(tmp_path / "partial"), work)
    settling.wait_for_all()
    assert "name" not in settling


def test_a_forked_child_waits_for_nothing(tmp_path: Path) -> None:
    """The thread is that of the parent."""
    (tmp_path / "partial").write_bytes(b"data")
    settling, gate = Settling(), threading.Event()
    settling.begin("name", OpenFile(tmp_path / "partial"), lambda: gate.wait(20) and None)
    child = os.fork()
    if child == 0:
        settling.wait("name")
        os._exit(0 if "name" not in settling else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    gate.set()
    settling.wait_for_all()


def test_a_forked_child_can_make_files_durable_itself(tmp_path: Path) -> None:
    """With threads of its own, while the parent's file still waits."""
    (tmp_path / "partial").write_bytes(b"data")
    settling, gate = Settling(), threading.Event()
    settling.begin("name", OpenFile(tmp_path / "partial"), lambda: gate.wait(20) and None)
    child = os.fork()
    if child == 0:
        made = tmp_path / "made"
        settling.begin("other", OpenFile(tmp_path / "partial"), made.touch)
        settling.wait_for_all()
        os._exit(0 if made.exists() and "other" not in settling and "name" not in settling else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert "name" in settling
    gate.set()
    settling.wait_for_all()


def test_what_another_process_has_begun_is_forgotten(tmp_path: Path) -> None:
    """As a forked child sees it."""
    (tmp_path / "partial").write_bytes(b"data")
    settling = Settling()
    settling._files["name"] = threading.Thread(), OpenFile(tmp_path / "partial")
    settling._process = 0
    assert "name" not in settling
    settling.wait("name")
    settling.begin("other", OpenFile(tmp_path / "partial"), lambda: None)
    settling.wait_for_all()
    assert settling._files == {}

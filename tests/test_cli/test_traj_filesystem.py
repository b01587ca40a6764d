"""The commands on file systems that lack a call, and on failing disks: they go on, or name the cause."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import faults
from tests.helpers.walks import write_walks

pytest.importorskip("torch")

from tests.helpers.replay import expert, save

COMMANDS = ("convert", "full", "append", "export", "extract", "inspect", "validate", "validate full")
WRITING = ("convert", "full", "append", "export")
"""Commands that build a folder beside their destination."""

Fault = Callable[[pytest.MonkeyPatch, int, Path], None]


@pytest.fixture
def words(tmp_path: Path) -> Callable[[str], list[object]]:
    """Return a function that returns the words of a command, with inputs in `in` and outputs in `out`."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()

    def of(command: str) -> list[object]:
        given, out = tmp_path / "in", tmp_path / "out"
        if command in ("convert", "full", "append"):
            save(given, [expert(0), expert(1)])
            if command == "append":
                save(given / "other", [expert(2)])
                from trajfmt.convert.run import convert

                convert(given / "other", out / "a.mct")
                shutil.rmtree(given / "other")
                return ["convert", "--append", given, out / "a.mct"]
            return ["convert", given, out / ("a.mct" if command == "convert" else "a.mtt")]
        bundle = write_walks(given / "b.mtt", 1) if "full" in command else write_walks(
            given / "b.mct", 1, "convex"
        )  # fmt: skip
        return {
            "export": ["export", bundle, out / "e", "--to", "mtt"],
            "extract": ["extract", bundle, "--t", 2.5, "-o", out / "w.safetensors"],
            "inspect": ["inspect", "--layers", bundle],
        }.get(command, ["validate", bundle])

    return of


def _faults() -> list[Any]:
    """Return (fault, error number, commands whose input or output it makes fail)."""
    table: list[tuple[Fault, tuple[int, ...], dict[str, str]]] = [
        (faults.no_locks, (errno.ENOLCK, errno.EIO, errno.EBADF, *faults.LACKING), {}),
        (faults.no_locks, (errno.EAGAIN, errno.EACCES), dict.fromkeys(WRITING, "another process")),
        (faults.no_folder_sync, (errno.EBADF, errno.ENOTTY, *faults.LACKING), {}),
        (faults.no_folder_sync, (errno.EIO, errno.ENOSPC), dict.fromkeys((*WRITING, "extract"), "out/")),
        (faults.no_file_sync, faults.LACKING, {}),
        (faults.no_file_sync, (errno.EIO, errno.EDQUOT), dict.fromkeys((*WRITING, "extract"), "out/")),
        (faults.no_maps, (errno.ENODEV, errno.EPERM, errno.ENOMEM, *faults.LACKING), {}),
        (faults.mapped_owner, (65534,), {}),
        (faults.no_reads, (errno.EIO, errno.ESTALE), dict.fromkeys(COMMANDS, "in/")),
        (faults.no_rename, (errno.EXDEV, errno.EBUSY), dict.fromkeys(WRITING, "out/")),
    ]  # fmt: skip
    return [
        pytest.param(fault, number, fails.get(command), command,
                     id=f"{fault.__name__}-{errno.errorcode.get(number, number)}-{command}")
        for fault, numbers, fails in table
        for number in numbers
        for command in COMMANDS
    ]  # fmt: skip


@pytest.mark.parametrize(("fault", "number", "cause", "command"), _faults())
def test_what_a_file_system_lacks_and_what_fails(
    fault: Fault,
    number: int,
    cause: str | None,
    command: str,
    tmp_path: Path,
    words: Callable[[str], list[object]],
    traj: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a call is missing the command does its work; where it fails one line names cause and file."""
    arguments = words(command)
    before = {path: path.read_bytes() for path in (tmp_path / "in").rglob("*") if path.is_file()}
    with monkeypatch.context() as patch:
        fault(patch, number, tmp_path / "in")
        done = traj(*arguments)
    if cause is None:
        assert done.code == 0, done.err
        for bundle in (tmp_path / "out").glob("a.m*"):
            assert traj("validate", bundle).code == 0
        assert [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")] == []
        said = "this file system has no locks" in done.err
        assert said is (fault is faults.no_locks and command in WRITING)
        assert "Warning" not in done.err
    else:
        assert cause in done.error
        assert done.code == (2 if cause == "another process" else 1)
        if cause != "another process":
            assert os.strerror(number) in done.error
        if command not in ("append", "extract"):
            assert [path.name for path in (tmp_path / "out").iterdir() if path.name[0] != "."] == []
    assert before == {path: path.read_bytes() for path in (tmp_path / "in").rglob("*") if path.is_file()}

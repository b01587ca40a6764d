"""Tables on a terminal, whatever the environment says of its width."""

from __future__ import annotations

import os
import pty
import re
import struct
from fcntl import ioctl
from importlib import import_module
from importlib.metadata import entry_points
from termios import TIOCSWINSZ
from typing import Any

import pytest


@pytest.mark.parametrize("columns", ["0", "-5", "many", ""])
@pytest.mark.parametrize("size", [0, 90])
def test_a_width_that_is_none_does_not_hide_the_table(process: Any, columns: str, size: int) -> None:
    """The terminal's own width is used, or a usual one if it has none."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 24, size, 0, 0))
    environment = {**os.environ, "COLUMNS": columns, "TERM": "xterm"}
    running = process("sources", stdout=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while piece := _read(ours):
        shown += piece
    os.close(ours)
    assert running.communicate(timeout=60)[1] == b""
    assert running.returncode == 0
    assert b"mtt" in shown


def _read(terminal: int) -> bytes:
    """Return what a terminal shows next; nothing at the end."""
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux's answer when the program has ended
        return b""


(SCRIPT,) = entry_points(group="console_scripts", name="traj")
tables = import_module(SCRIPT.module.rpartition(".")[0] + ".tables")
CELLS = [["first layer", "a" * 70, "3"], ["second", "b", "4" * 12]]


def _table() -> Any:
    """Return a table of two rows, whose first column must not wrap."""
    table = tables.listing()
    table.add_column("name", no_wrap=True)
    table.add_column("value")
    table.add_column("count", justify="right", no_wrap=True)
    for row in CELLS:
        table.add_row(*row)
    return table


def _shown(monkeypatch: pytest.MonkeyPatch, capsys: Any, columns: int, *, terminal: bool = True) -> str:
    """Return what a terminal of some columns shows of the table, without colours."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    monkeypatch.setenv("COLUMNS", str(columns))
    tables.show(_table(), "text")
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)


@pytest.mark.parametrize("columns", [200, 104, 103, 60, 30, 12])
def test_no_terminal_is_too_narrow_for_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, columns: int
) -> None:
    """Every cell is there, whole or in several lines, and no line is wider than the terminal."""
    shown = _shown(monkeypatch, capsys, columns)
    assert max(map(len, shown.splitlines())) <= columns
    assert "…" not in shown
    together = re.sub(r"\s", "", shown)
    for row in CELLS:
        pieces = row if columns > 25 else row[2:]
        assert all(re.sub(r"\s", "", cell) in together for cell in pieces)
    beside = re.search(r"^name +value +count", shown)
    assert (beside is not None) == (columns >= 103)


def test_a_pipe_gets_whole_lines_without_spaces_at_their_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """However narrow the terminal is that the command was started from, and however wide the table."""
    monkeypatch.setitem(globals(), "CELLS", [["first layer", "a" * 300, "3"], CELLS[1]])
    shown = _shown(monkeypatch, capsys, 40, terminal=False)
    assert [line.split() for line in shown.splitlines()] == [
        ["name", "value", "count"],
        ["first", "layer", "a" * 300, "3"],
        ["second", "b", "4" * 12],
        ["text"],
    ]
    assert all(line == line.rstrip() for line in shown.splitlines())

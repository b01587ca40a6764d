"""Tables on a terminal, whatever the environment says of its width."""

from __future__ import annotations

import os
import pty
import struct
from fcntl import ioctl
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

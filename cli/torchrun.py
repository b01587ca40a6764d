"""What torchrun tells a process that it starts, and how it ends one."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

__all__ = ["ignore_signals", "interrupt_once", "program", "rank", "started"]


def started() -> bool:
    """Return whether torchrun, or something that speaks like it, has started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def rank() -> int:
    """Return the number of this process among those that share the run; 0 speaks for all."""
    return int(os.environ["RANK"]) if started() else 0


def program() -> list[str]:
    """Return how this program is started, without its arguments."""
    size = os.environ.get("WORLD_SIZE", "1") if started() else "1"
    return ["mct"] if size == "1" else ["torchrun", "--nproc-per-node", size, "-m", "traj_cli.mct"]


def ignore_signals() -> None:
    """Under torchrun, let nothing but a kill disturb what is left to do."""
    if started() and threading.current_thread() is threading.main_thread():
        for kind in (signal.SIGINT, signal.SIGTERM):
            signal.signal(kind, signal.SIG_IGN)


def interrupt_once() -> None:
    """Under torchrun, take the first SIGINT or SIGTERM as Ctrl-C, and no other one.

    torchrun ends processes by SIGTERM, and after Ctrl-C it sends SIGINT to those that already have it from
    the terminal; the second must not stop what the first one makes them save. If they take too long, it
    kills them.
    """
    if not started() or threading.current_thread() is not threading.main_thread():
        return

    def interrupt(number: int, _frame: FrameType | None) -> None:
        ignore_signals()
        if number == signal.SIGTERM:
            raise KeyboardInterrupt("stopped by SIGTERM, as torchrun does when another process has failed")
        raise KeyboardInterrupt

    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, interrupt)

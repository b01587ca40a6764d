"""The environment that torchrun gives to a process, and the signals by which it ends one."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

from . import interrupts

__all__ = ["ignore_signals", "interrupt_once", "program", "rank", "started"]


def started() -> bool:
    """Return whether torchrun, or a launcher that sets the same variables, has started this process."""
    return bool(os.environ.get("RANK") and os.environ.get("WORLD_SIZE"))


def rank() -> int:
    """Return the number of this process among those that share the run. Process 0 prints for all of them.

    A value that is not a number counts as 0; `mct.runtime.launch` refuses it. `traj` is never shared.
    """
    given = os.environ.get("RANK", "")
    shared = started() and not os.path.basename(sys.argv[0]).startswith("traj")
    return int(given) if shared and given.isdecimal() else 0


def program() -> list[str]:
    """Return the command that starts this program, without its arguments, for messages."""
    size = os.environ.get("WORLD_SIZE", "1") if started() else "1"
    return ["mct"] if size == "1" else ["torchrun", "--nproc-per-node", size, "-m", "traj_cli.mct"]


def ignore_signals() -> None:
    """Under torchrun, ignore SIGINT and SIGTERM from now on, so that only SIGKILL ends the process."""
    if started() and threading.current_thread() is threading.main_thread():
        for kind in (signal.SIGINT, signal.SIGTERM):
            signal.signal(kind, signal.SIG_IGN)


def interrupt_once() -> None:
    """Treat SIGTERM, by which clusters end jobs, as Ctrl-C. Under torchrun, ignore later SIGINT and SIGTERM.

    torchrun ends processes by SIGTERM. After Ctrl-C it also sends SIGINT to processes that have received it
    from the terminal already. This second signal must not interrupt the saving that the first one started. If
    a process takes too long, torchrun kills it.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if not started():
        interrupts.install_sigterm()
        return

    def interrupt(number: int, _frame: FrameType | None) -> None:
        ignore_signals()
        if number == signal.SIGTERM:
            raise KeyboardInterrupt("stopped by SIGTERM, as torchrun does when another process has failed")
        raise KeyboardInterrupt

    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, interrupt)

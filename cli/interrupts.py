"""Ctrl-C ends a command with one line and exit code 130, at whatever moment it comes.

While a command works, Ctrl-C raises KeyboardInterrupt, so that the command can save its state and clean up.
While modules are imported, options are parsed or an error is reported, there is nothing to save, and the
process ends at once. When the exit code is settled, Ctrl-C comes too late: it cuts short what Python does at
its end, and the exit code stays.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys

TYPE_CHECKING = False  # the module typing would take longer than all others here
if TYPE_CHECKING:
    from sys import UnraisableHookArgs
    from types import FrameType

__all__ = ["arrived", "begin", "end", "finish", "install", "install_sigterm", "reported"]

CODE = 130
"""The exit code after Ctrl-C."""

_PROGRAMS = frozenset({"traj", "mct", "traj.py", "mct.py", "-m"})
"""Names by which a process is started that is one of our commands, and not a program that imports this."""

_working = False
_arrived = False
_silent = False
_code = CODE


def install() -> None:
    """Handle Ctrl-C in this process, if it is one of the commands and does not ignore Ctrl-C already."""
    if _is_ours() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _handle)
        sys.unraisablehook = _again
        atexit.register(_ignore)  # registered first, so it runs last: Python itself would die of the signal


def _is_ours() -> bool:
    return bool(sys.argv) and os.path.basename(sys.argv[0]) in _PROGRAMS


def install_sigterm() -> None:
    """Let SIGTERM end this process as Ctrl-C does, if it is one of the commands."""
    if _is_ours() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _handle)


def begin() -> None:
    """From now on, Ctrl-C raises KeyboardInterrupt."""
    global _working
    _working = True


def end() -> None:
    """From now on, Ctrl-C ends the process at once."""
    global _working
    _working = False


def reported() -> None:
    """From now on, Ctrl-C ends the process without a line, because one has been printed."""
    global _silent
    _silent = True


def finish(code: int) -> None:
    """From now on, Ctrl-C ends the process with this exit code, and without a line."""
    global _code
    end()
    reported()
    _code = code


def arrived() -> bool:
    """Return whether Ctrl-C was pressed while a command worked."""
    return _arrived


def _handle(number: int, _frame: FrameType | None) -> None:
    global _arrived
    if _working:
        _arrived = True
        raise KeyboardInterrupt(*(["stopped by SIGTERM"] if number == signal.SIGTERM else []))
    if not _silent and os.environ.get("RANK", "") in ("", "0"):  # process 0 speaks for all that share a run
        try:  # noqa: SIM105  # contextlib is not imported yet
            os.write(2, b"error: interrupted\n")
        except OSError:
            pass
    os._exit(_code)


def _again(lost: UnraisableHookArgs) -> None:
    """Repeat a KeyboardInterrupt that was raised where Python drops every exception, such as in `__del__`."""
    if not (lost.exc_type is KeyboardInterrupt and _working):
        sys.__unraisablehook__(lost)
        return
    import threading

    later = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT))  # not at once: it is dropped here
    later.daemon = True
    later.start()


def _ignore() -> None:
    if signal.getsignal(signal.SIGINT) is _handle:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

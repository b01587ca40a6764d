"""From an exception to one line on stderr and an exit code: the only table of that.

Where processes share a run, process 0 says what all of them meet, and another one only what it alone met.

0 done · 1 a check failed · 2 wrong usage · 3 not a bundle, or a feature this version does not know ·
4 corrupt · 5 refused as unsafe · 130 interrupted.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeVar

import click

from . import torchrun

__all__ = ["Group", "each", "fail"]

T = TypeVar("T")

TABLE: dict[type[BaseException], tuple[int, Callable[[Any], str]]] = {
    BrokenPipeError: (1, lambda _exc: ""),
    MemoryError: (1, lambda _exc: "out of memory"),
    ModuleNotFoundError: (1, lambda exc: f"needs the package {exc.name!r}, which is not installed"),
    OSError: (1, lambda exc: f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc)),
}
"""Known errors of others; ours carry `exit_code`. Anything else is a defect and shows its traceback."""


def told(exc: BaseException) -> tuple[str, int] | None:
    """Return the line and the exit code of a known error; None for a defect."""
    from trajfmt.errors import lacks_memory  # here, so that help stays fast

    code = getattr(exc, "exit_code", None)
    if isinstance(code, int):
        return str(exc), code
    for kind, (number, message) in TABLE.items():
        if isinstance(exc, kind):
            return message(exc), number
    if lacks_memory(exc):
        return f"not enough memory: {str(exc).strip().splitlines()[0]}", 1
    before, reason, _ = str(exc).partition(" does not have a deterministic implementation")
    if isinstance(exc, RuntimeError) and reason:  # torch's, after --deterministic
        return f"{before.split()[-1]}{reason} in this version of torch; leave --deterministic out", 1
    return None


def say(message: str) -> None:
    """Print one line on stderr."""
    if message:
        whose = f"rank {torchrun.rank()}: " if torchrun.rank() else ""
        print(f"error: {whose}{line_of(message)}", file=sys.stderr)


def line_of(message: str) -> str:
    """Return a message as one line, with control characters escaped."""
    line = " ".join(message.split())
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def fail(message: str, code: int) -> NoReturn:
    """Print one line on stderr and exit."""
    torchrun.ignore_signals()
    say(message)
    sys.exit(code if flush() else 1)


def flush() -> bool:
    """Write out what was printed; return whether its reader is still there.

    A reader that has gone away must not turn the exit code into a second error at shutdown.
    """
    try:
        if sys.stdout is not None:  # closed by the caller
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def each(paths: Iterable[T], run: Callable[[T], int]) -> int:
    """Run a check on every path, whatever the others do, and return the highest exit code."""
    worst = 0
    for path in paths:
        try:
            worst = max(worst, run(path))
        except (click.ClickException, BrokenPipeError):
            raise
        except Exception as exc:
            known = told(exc)
            if known is None:
                raise
            say(known[0])
            worst = max(worst, known[1])
    return worst


class Group(click.Group):
    """A command group that reports known errors in one line, with their exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a plain locale must not end a command
                stream.reconfigure(errors="backslashreplace")
        try:
            result = super().invoke(ctx)
            if not flush():
                sys.exit(1)
            return result
        except SystemExit:
            if not flush():
                sys.exit(1)
            raise
        except (click.exceptions.ClickException, click.exceptions.Exit, click.Abort) as exc:
            if torchrun.rank() and isinstance(exc, click.exceptions.ClickException):
                sys.exit(exc.exit_code)
            raise
        except KeyboardInterrupt as exc:
            if threading.current_thread() is threading.main_thread() and not torchrun.started():
                signal.signal(signal.SIGINT, signal.SIG_DFL)  # another Ctrl-C ends it at once, and silently
            fail("" if torchrun.rank() else str(exc) or "interrupted", 130)
        except Exception as exc:
            known = told(exc)
            if known is None:
                raise
            message, code = known
            fail("" if torchrun.rank() and getattr(exc, "elsewhere", False) else message, code)

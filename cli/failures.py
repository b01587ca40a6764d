"""Turn exceptions into one line on stderr and an exit code.

If several processes share a run, process 0 reports the errors that all of them have. Another process reports
an error only if it is the only one that has it.

Exit codes: 0 success · 1 failure · 2 wrong usage · 3 not a bundle, or a version or feature that this library
does not know · 4 damaged · 5 refused as unsafe · 130 interrupted.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import click

from . import torchrun

__all__ = ["Group", "each", "fail"]

T = TypeVar("T")

TABLE: dict[type[BaseException], tuple[int, Callable[[Any], str]]] = {
    BrokenPipeError: (1, lambda _exc: ""),
    MemoryError: (1, lambda _exc: "out of memory"),
    ModuleNotFoundError: (1, lambda exc: f"the package {exc.name!r} is needed and not installed"),
    OSError: (1, lambda exc: f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc)),
}
"""Exit code and message of expected errors that are not raised by trajfmt or mct.

Errors of trajfmt and mct have an attribute `exit_code`. Any other error is a defect and is shown with its
traceback.
"""


def message_and_code(exc: BaseException) -> tuple[str, int] | None:
    """Return the message and the exit code of an expected error; None for a defect."""
    from trajfmt.errors import lacks_memory  # imported here, so that help texts appear without delay

    code = getattr(exc, "exit_code", None)
    if isinstance(code, int):
        return str(exc), code
    for kind, (number, message) in TABLE.items():
        if isinstance(exc, kind):
            return message(exc), number
    if lacks_memory(exc):
        return f"not enough memory: {str(exc).strip().splitlines()[0]}", 1
    before, reason, _ = str(exc).partition(" does not have a deterministic implementation")
    if isinstance(exc, RuntimeError) and reason:  # raised by torch after --deterministic
        return f"{before.split()[-1]}{reason} in this version of torch; omit --deterministic", 1
    return None


def say(message: str) -> None:
    """Print an error message as one line on stderr."""
    if message:
        whose = f"rank {torchrun.rank()}: " if torchrun.rank() else ""
        print(f"error: {whose}{line_of(message)}", file=sys.stderr)


def line_of(message: str) -> str:
    """Return a message as one line, with control characters escaped."""
    line = " ".join(message.split())
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def fail(message: str, code: int) -> NoReturn:
    """Print an error message as one line on stderr, and exit."""
    torchrun.ignore_signals()
    say(message)
    sys.exit(code if flush() else 1)


def flush() -> bool:
    """Flush stdout, and return whether its reader still exists.

    If the reader of a pipe has exited, Python would otherwise report a second error at shutdown.
    """
    try:
        if sys.stdout is not None:  # None if the caller closed it
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def each(paths: Iterable[T], run: Callable[[T], int]) -> int:
    """Run a check on every path, also after a failure, and return the highest exit code."""
    worst = 0
    for path in paths:
        try:
            worst = max(worst, run(path))
        except (click.ClickException, BrokenPipeError):
            raise
        except Exception as exc:
            known = message_and_code(exc)
            if known is None:
                raise
            say(known[0])
            worst = max(worst, known[1])
    return worst


@contextmanager
def _noted() -> Iterator[None]:
    """Print warnings about the user's file system as notes, whatever the filters for other warnings say."""
    with warnings.catch_warnings():
        warnings.filterwarnings("default", message=".*this file system has no locks")
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if category.__name__ == "FileSystemWarning":
                print(f"note: {line_of(str(message))}", file=sys.stderr)
            else:
                others(message, category, *place, **more)

        warnings.showwarning = show
        yield


class Group(click.Group):
    """A command group that reports expected errors in one line, with their exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # an ASCII locale must not make a command fail
                stream.reconfigure(errors="backslashreplace")
        try:
            with _noted():
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
                signal.signal(signal.SIGINT, signal.SIG_DFL)  # another Ctrl-C ends the process silently
            fail("" if torchrun.rank() else str(exc) or "interrupted", 130)
        except Exception as exc:
            known = message_and_code(exc)
            if known is None:
                raise
            message, code = known
            fail("" if torchrun.rank() and getattr(exc, "elsewhere", False) else message, code)

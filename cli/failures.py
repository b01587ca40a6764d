"""From an exception to one line on stderr and an exit code: the only table of that.

0 done · 1 a check failed · 2 wrong usage · 3 not a bundle, or a feature this version does not know ·
4 corrupt · 5 refused as unsafe · 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click

__all__ = ["Group", "fail"]

TABLE: dict[type[BaseException], tuple[int, Callable[[Any], str]]] = {
    BrokenPipeError: (1, lambda _exc: ""),
    MemoryError: (1, lambda _exc: "out of memory"),
    ModuleNotFoundError: (1, lambda exc: f"needs the package {exc.name!r}, which is not installed"),
    OSError: (1, lambda exc: f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc)),
}
"""Known errors of others; ours carry `exit_code`. Anything else is a defect and shows its traceback."""


def fail(message: str, code: int) -> NoReturn:
    """Print one line on stderr and exit."""
    if message:
        line = " ".join(str(message).split())
        print(f"error: {line}", file=sys.stderr)
    # A reader that has gone away must not turn the exit code into a second error at shutdown.
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


class Group(click.Group):
    """A command group that reports known errors in one line, with their exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a plain locale must not end a command
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except (click.exceptions.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt as exc:
            fail(str(exc) or "interrupted", 130)
        except Exception as exc:
            code = getattr(exc, "exit_code", None)
            if isinstance(code, int):
                fail(str(exc), code)
            for kind, (number, message) in TABLE.items():
                if isinstance(exc, kind):
                    fail(message(exc), number)
            raise

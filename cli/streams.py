"""The three standard streams: what a command may rely on, whatever its caller did to them.

A stream that the caller closed leads to the null device. Text that the locale cannot encode is escaped. What
cannot be written is one error line, and never a traceback.
"""

from __future__ import annotations

import io
import os
import sys

__all__ = ["flush", "prepare", "tell", "width"]


def prepare() -> None:
    """Open the streams that the caller closed, and let no locale make a command fail.

    Without this, the next file that is opened would get the number of a closed stream, and messages would be
    written into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _reserve(number)
            setattr(sys, name, open(os.devnull, "r" if number == 0 else "w", encoding="utf-8"))  # noqa: SIM115
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # a failure is our one line, without the client's own
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _reserve(number: int) -> None:
    """Let the descriptor of a closed stream lead to the null device, unless a file has taken it already."""
    try:
        os.fstat(number)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, number)
        if null != number:
            os.close(null)


def flush() -> OSError | None:
    """Flush stdout, and return the error if it cannot be written.

    After an error, stdout leads to the null device. Python would otherwise report the error again at its end.
    """
    try:
        sys.stdout.flush()
    except OSError as exc:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        return exc
    return None


def width() -> int:
    """Return the columns of the terminal, at least one. `COLUMNS=0` counts as not set."""
    import shutil  # takes longer than the rest of this module

    return max(1, shutil.get_terminal_size().columns)


def tell(line: str) -> None:
    """Print a line on stderr. If that is impossible, the exit code alone has to tell."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stderr.fileno())
        os.close(null)

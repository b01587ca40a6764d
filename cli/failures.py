"""Turn exceptions into one line on stderr and an exit code.

If several processes share a run, process 0 reports the errors that all of them have. Another process reports
an error only if it is the only one that has it.

Exit codes: 0 success · 1 failure · 2 wrong usage · 3 not a bundle, or a version or feature that this library
does not know · 4 damaged · 5 refused as unsafe · 130 interrupted.
"""

from __future__ import annotations

import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import click

from . import interrupts, streams, torchrun

__all__ = ["Interrupted", "each", "fail", "line_of", "noted", "report", "say"]

T = TypeVar("T")

_WORD = 500
"""Characters of a name or a value that an error line shows at most."""

_LINE = 2000
"""Characters of a whole error line at most."""

_LONG_WORD = re.compile(rf"\S{{{_WORD + 1},}}")

_EXTRAS = {
    "torch": ("torch", "mct"),
    "matplotlib": ("plot", "mct"),
    **dict.fromkeys(("kornia", "sklearn", "PIL"), ("mct", "mct")),
    **dict.fromkeys(("fsspec", "aiohttp"), ("remote", "remote")),
    "huggingface_hub": ("hub", "hub"),
    **{name: (name, name) for name in ("tensorboard", "trackio", "wandb")},
    "submitit": ("slurm", "slurm"),
}
"""Optional packages, with the extras that install them for `traj` and for `mct`."""


def _missing(package: str) -> str:
    """Return the message for a package that is not installed, with the command that installs it.

    Where trajfmt is installed, from a checkout or not, pip adds only what the extra needs.
    """
    name = package.partition(".")[0]
    mine = 0 if os.path.basename(sys.argv[0]).startswith("traj") else 1
    how = f"; install it with: pip install 'trajfmt[{_EXTRAS[name][mine]}]'" if name in _EXTRAS else ""
    return f"the package {package!r} is needed and not installed{how}"


TABLE: dict[type[BaseException], tuple[int, Callable[[Any], str]]] = {
    BrokenPipeError: (1, lambda _exc: ""),
    MemoryError: (1, lambda _exc: "out of memory"),
    ModuleNotFoundError: (1, lambda exc: _missing(exc.name or "")),
    ImportError: (1, str),
    OSError: (1, lambda exc: f"{exc.filename}: {exc.strerror}" if exc.filename else exc.strerror or str(exc)),
}
"""Exit code and message of expected errors that are not raised by trajfmt or mct.

Errors of trajfmt and mct have an attribute `exit_code`. Any other error is a defect and is shown with its
traceback.
"""


def message_and_code(exc: BaseException) -> tuple[str, int] | None:
    """Return the message and the exit code of an expected error; None for a defect."""
    code = getattr(exc, "exit_code", None)
    if isinstance(code, int):
        return _in_words_of(exc, code), code
    for kind, (number, message) in TABLE.items():
        if isinstance(exc, kind):
            return message(exc), number
    from trajfmt.errors import lacks_memory  # imported here, so that usage errors appear without delay

    if lacks_memory(exc):
        return f"not enough memory: {str(exc).strip().splitlines()[0]}", 1
    before, reason, _ = str(exc).partition(" does not have a deterministic implementation")
    if isinstance(exc, RuntimeError) and reason:  # raised by torch after --deterministic
        return f"{before.split()[-1]}{reason} in this version of torch; omit --deterministic", 1
    return None


def _in_words_of(exc: BaseException, code: int) -> str:
    """Return the message of an error, in which settings are called as the options of the command are.

    The library calls a setting `outer_steps`; its user has typed --outer-steps. Errors that are not about
    what was asked for may mean something else by the same name, such as a key of a file.
    """
    flags: dict[str, str] = getattr(exc, FLAGS, {})
    if code != _USAGE and type(exc).__name__ != "MismatchError":
        return str(exc)
    return re.sub(r"`(\w+)`", lambda found: flags.get(found[1], found[0]), str(exc))


FLAGS = "traj_cli_flags"
"""Attribute of an error: the options of the command that failed, by the name of their parameter."""

_USAGE = 2


def say(message: str) -> None:
    """Print an error message as one line on stderr."""
    if message:
        whose = f"rank {torchrun.rank()}: " if torchrun.rank() else ""
        streams.tell(f"error: {whose}{line_of(message)}")


def line_of(message: str) -> str:
    """Return a message as one line of sensible length, with control characters escaped.

    What is too long loses its middle: the beginning says where, and the end says what to do.
    """
    return _safe(" ".join(message.split()))


def _safe(line: str) -> str:
    """Return a line of sensible length, with control characters escaped."""
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
    return _cut(_LONG_WORD.sub(lambda word: _cut(word[0], _WORD), line), _LINE)


def _cut(text: str, length: int) -> str:
    """Return a text of at most this length, without its middle if it is longer."""
    return text if len(text) <= length else f"{text[: length * 2 // 3]}…{text[1 - length // 3 :]}"


class Interrupted(Exception):  # noqa: N818  # no error
    """Ctrl-C was pressed. The message, if there is one, says what is kept and how to continue."""

    exit_code = interrupts.CODE

    def __str__(self) -> str:
        return super().__str__() or "interrupted"


def report(exc: Exception) -> int:
    """Print the line of an expected error, and return the exit code; raise a defect again."""
    interrupts.end()
    torchrun.ignore_signals()
    if isinstance(exc, click.ClickException):
        _show_usage(exc)
        return exc.exit_code
    known = message_and_code(exc)
    if interrupts.arrived() and (known is None or isinstance(exc, ImportError)):
        exc = Interrupted()  # a library turned the interruption into an error of its own
        known = message_and_code(exc)
    if known is None:
        raise exc
    message, code = known
    elsewhere = isinstance(exc, Interrupted) or getattr(exc, "elsewhere", False)
    say("" if torchrun.rank() and elsewhere else message)
    interrupts.reported()
    return code


def _show_usage(exc: click.ClickException) -> None:
    """Print an error of click, in the form that click gives it; process 0 prints it for all."""
    if torchrun.rank():
        return
    shown = io.StringIO()
    exc.show(file=shown)
    for line in shown.getvalue().splitlines():
        streams.tell(_safe(line))


def fail(message: str, code: int) -> NoReturn:
    """Print an error message as one line on stderr, and exit."""
    interrupts.end()
    torchrun.ignore_signals()
    say(message)
    interrupts.reported()
    sys.exit(code)


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
            unwritten = type(exc) is OSError and exc.filename is None  # stdout, and none of the paths
            if known is None or unwritten or interrupts.arrived():
                raise
            say(known[0])
            worst = max(worst, known[1])
    return worst


@contextmanager
def noted() -> Iterator[None]:
    """Print warnings about the user's file system as notes, whatever the filters for other warnings say."""
    with warnings.catch_warnings():
        warnings.filterwarnings("default", message=".*this file system has no locks")
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if category.__name__ == "FileSystemWarning":
                streams.tell(f"note: {line_of(str(message))}")
            else:
                others(message, category, *place, **more)

        warnings.showwarning = show
        yield

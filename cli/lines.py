"""The lines that commands print: results on stdout as text or JSON, and notes on stderr."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence

from trajfmt.errors import Problem, display

from . import failures, streams, torchrun

__all__ = ["Notes", "done", "notice", "problems", "record", "remark", "say"]


def record(facts: Mapping[str, object]) -> None:
    """Print an object as one line of JSON on stdout, in ASCII: nothing in it can control a terminal."""
    print(json.dumps(facts, sort_keys=True, default=list).replace("\x7f", "\\u007f"), flush=True)


def problems(path: str, found: Sequence[Problem], *, as_json: bool) -> None:
    """Print the result of a validation on stdout."""
    if as_json:
        record({"path": path, "valid": not found, "problems": [dataclasses.asdict(p) for p in found]})
        return
    if not found:
        say(f"{path}: valid")
    for problem in found:
        say(failures.line_of(str(problem)))


def done(path: object, text: str = "") -> None:
    """Print on stdout the path that was written, and a summary if there is one."""
    say(f"{path}: {text}" if text else path)


def say(text: object) -> None:
    """Print a line on stdout, with control characters escaped."""
    print(display(text))


def remark(text: str) -> None:
    """Print a line on stderr that is neither a note nor an error."""
    streams.tell(failures.line_of(text))


def notice(text: str) -> None:
    """Print a note on stderr."""
    streams.tell(f"note: {failures.line_of(text)}")


class Notes:
    """A printer of notes on stderr, each of them once. Of several processes, only process 0 prints."""

    def __init__(self) -> None:
        self._printed: set[str] = set()

    def __call__(self, line: str) -> None:
        """Print a note unless it was printed before."""
        if line not in self._printed and not torchrun.rank():
            notice(line)
        self._printed.add(line)

"""The lines that commands print: results on stdout as text or JSON, and notes on stderr."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence

import click

from trajfmt.errors import Problem, display

from . import failures, torchrun

__all__ = ["Notes", "done", "notice", "problems", "record"]


def record(facts: Mapping[str, object]) -> None:
    """Print an object as one line of JSON on stdout."""
    text = json.dumps(facts, sort_keys=True, ensure_ascii=False, default=list)
    sys.stdout.buffer.write(text.encode(errors="backslashreplace") + b"\n")
    sys.stdout.flush()


def problems(path: str, found: Sequence[Problem], *, as_json: bool) -> None:
    """Print the result of a validation on stdout."""
    if as_json:
        record({"path": path, "valid": not found, "problems": [dataclasses.asdict(p) for p in found]})
        return
    if not found:
        print(f"{display(path)}: valid")
    for problem in found:
        print(problem)


def done(path: object, text: str) -> None:
    """Print on stdout the path that was written, and a summary."""
    print(f"{display(path)}: {text}")


def notice(text: str) -> None:
    """Print a note on stderr."""
    print(f"note: {display(text)}", file=sys.stderr)


class Notes:
    """A printer of notes on stderr, each of them once. Of several processes, only process 0 prints."""

    def __init__(self) -> None:
        self._printed: set[str] = set()

    def __call__(self, line: str) -> None:
        """Print a note unless it was printed before."""
        if line not in self._printed and not torchrun.rank():
            click.echo(f"note: {failures.line_of(line)}", err=True)
        self._printed.add(line)

"""The lines that commands print: JSON and what was done on stdout, remarks on stderr."""

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
    """Print one object as one line of JSON."""
    text = json.dumps(facts, sort_keys=True, ensure_ascii=False, default=list)
    sys.stdout.buffer.write(text.encode(errors="backslashreplace") + b"\n")
    sys.stdout.flush()


def problems(path: str, found: Sequence[Problem], *, as_json: bool) -> None:
    """Show the outcome of a validation."""
    if as_json:
        record({"path": path, "valid": not found, "problems": [dataclasses.asdict(p) for p in found]})
        return
    if not found:
        print(f"{display(path)}: valid")
    for problem in found:
        print(problem)


def done(path: object, text: str) -> None:
    """Say on stdout what was written."""
    print(f"{display(path)}: {text}")


def notice(text: str) -> None:
    """Print a remark on stderr."""
    print(f"note: {display(text)}", file=sys.stderr)


class Notes:
    """Prints notes on stderr, each once; only the first of several processes."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def __call__(self, line: str) -> None:
        """Print a line that was not printed before."""
        if line not in self._told and not torchrun.rank():
            click.echo(f"note: {failures.line_of(line)}", err=True)
        self._told.add(line)

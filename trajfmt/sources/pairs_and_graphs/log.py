"""The arguments that runs of graph distillation write into `train.log`: one line for each start."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from trajfmt.schema.layout import MAX_TEXT

__all__ = ["LOG", "Log", "read_log"]

LOG: Final = "train.log"
"""The name of the log in the folder of a run."""

_READ: Final = 2**24
"""Bytes of the log that are searched."""

_LINE: Final = 2**16
"""Characters of a line with arguments, at most."""

_STARTS: Final = 100
"""Lines with arguments that are read."""

_MOST: Final = 2**53
"""The largest whole number that a manifest can contain."""


class Log(NamedTuple):
    """The arguments of a run."""

    arguments: Mapping[str, Any]
    """Numbers and texts that a manifest can contain, of the arguments that all lines agree on."""

    differing: Mapping[str, list[str]]
    """The values of the other arguments, as they are written there."""

    written: Mapping[str, str]
    """All arguments that the lines agree on, as they are written there."""


def read_log(folder: Path) -> Log:
    """Return the arguments in the log of a run. Of a log that cannot be read, there are none."""
    found: dict[str, dict[str, ast.expr]] = {}
    for line in _lines(folder / LOG):
        for name, node in _arguments(line).items():
            found.setdefault(name, {}).setdefault(ast.unparse(node), node)
    same = {name: next(iter(nodes.items())) for name, nodes in found.items() if len(nodes) == 1}
    plain = {name: node.value for name, (_, node) in same.items() if isinstance(node, ast.Constant)}
    return Log(
        {name: value for name, value in plain.items() if _storable(value)},
        {name: list(nodes) for name, nodes in found.items() if len(nodes) > 1},
        {name: text for name, (text, _) in same.items()},
    )


def _lines(log: Path) -> Iterator[str]:
    """Yield the calls of `Namespace` in a log, as texts."""
    try:
        if not log.is_file():  # opening a pipe would block
            return
        with log.open("rb") as file:
            text = file.read(_READ).decode(errors="replace")
    except OSError:
        return
    left = _STARTS
    for line in text.split("\n"):
        _, _, call = line.rpartition("args = Namespace(")
        if call != line and len(call) < _LINE and left and call.rstrip().endswith(")"):
            left -= 1
            yield f"Namespace({call.rstrip()}"


def _arguments(line: str) -> dict[str, ast.expr]:
    try:
        call = ast.parse(line, mode="eval").body
        keywords = call.keywords if isinstance(call, ast.Call) else []
        return {item.arg: item.value for item in keywords if item.arg and ast.unparse(item.value)}
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return {}


def _storable(value: object) -> bool:
    """Return whether a manifest can contain a value: a finite number, or a short text."""
    if isinstance(value, str):
        return len(value) <= MAX_TEXT and value.isprintable()
    if isinstance(value, int):
        return abs(value) <= _MOST
    return isinstance(value, float) and math.isfinite(value)

"""Files that a command writes in the format of their suffix: the option `-o`, its checks, and writing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import click

from . import failures, options, values

__all__ = ["check", "option", "suffix", "write"]


def option(formats: str) -> Any:
    """Return the option `-o`, which may be repeated.

    Args:
        formats: what the suffixes mean, for the help text.
    """
    return click.option(
        "-o",
        "--output",
        type=values.PATH,
        multiple=True,
        required=True,
        help=f"File to write: {formats}. May be repeated.",
    )


def suffix(path: Path) -> str:
    """Return the suffix of a file in lower case, without its dot."""
    return path.suffix[1:].lower()


def check(paths: Sequence[Path], known: Collection[str], formats: str, *, force: bool) -> None:
    """Refuse files of other formats, and files that cannot be written, before any work is done.

    Args:
        paths: the files.
        known: the suffixes that are known.
        formats: what they mean, for the error.
        force: whether existing files are replaced.
    """
    for path in paths:
        if suffix(path) not in known:
            failures.fail(f"{path}: end its name in {formats}", 2)
        options.check_output(path, force=force)


def write(paths: Sequence[Path], encode: Callable[[str], bytes]) -> None:
    """Encode all files, then write them, and print where they are.

    Args:
        paths: the files.
        encode: returns the content for a suffix.
    """
    from trajfmt.storage import write_file

    from . import lines

    contents = [encode(suffix(path)) for path in paths]
    for path, content in zip(paths, contents, strict=True):
        write_file(path, content)
        lines.done(path)

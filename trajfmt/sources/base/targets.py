"""Folders that the files of a source lie in, if links lead to them, and what the names of these folders say.

A link can have any name, while the codebase that wrote the files has named the folder that they lie in. Where
both names state facts and contradict each other, the name of the target is therefore used, with a remark. A
target whose name states nothing, such as one in a store of files, leaves the name of the link to be used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from trajfmt.errors import SourceError, display
from trajfmt.schema.facts import parts, phrase
from trajfmt.schema.models import PathFacts

__all__ = ["named_by"]


def named_by(
    folder: Path, files: Iterable[Path], facts: Callable[[Path], PathFacts]
) -> tuple[Path, list[str]]:
    """Return the folder whose names state the facts, and a remark if it is the target of a link.

    Args:
        folder: the folder of the source, as it was given.
        files: its files.
        facts: returns the facts in the names of a path.

    Raises:
        SourceError: links lead to folders whose names contradict each other.
    """
    given = facts(folder)
    targets = dict.fromkeys(Path(os.path.realpath(file)).parent for file in files)
    stating = [(target, facts(target)) for target in targets]
    for number, (target, found) in enumerate(stating):
        for other, theirs in stating[:number]:
            if differing := _differing(found, theirs):
                raise SourceError(
                    "nothing_to_convert",
                    f"its files are links to folders whose names contradict each other: {differing[0]}"
                    f" ({display(target)}), {differing[1]} ({display(other)}); convert each folder by itself",
                    path=folder,
                )
    for target, found in stating:
        if differing := _differing(found, given):
            return target, [
                f"{differing[0]}, as the name of {display(target)} says, to which a link leads, and not"
                f" {differing[1]}, as {display(folder)} says"
            ]
    return folder, []


def _differing(facts: PathFacts, other: PathFacts) -> tuple[str, str] | None:
    """Return what two paths state differently, as two phrases; None if they agree as far as both say."""
    said: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for name in ("dataset", "preprocessing", "model"):
        ours, theirs = parts(getattr(facts, name)), parts(getattr(other, name))
        for key in ours.keys() & theirs.keys():
            if ours[key] != theirs[key]:
                for found, values in zip(said, (ours, theirs), strict=True):
                    found[f"{name} {key}".strip()] = values[key]
    ours, theirs = said
    return (phrase(ours), phrase(theirs)) if ours else None

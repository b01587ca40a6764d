"""The facts in the names of the folders that MTT and its relatives use.

MTT's paths have the form `{dataset}[_NO_ZCA][/{subset}/{res}]/{model}`. This module has the deviations from
it. A path of an unknown form contains no facts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from trajfmt.schema.models import PathFacts, facts_of_path, named

__all__ = ["folder_named", "in_form_of_mtt", "parts_of", "without_resolution"]

_NEAR: Final = 5
"""Components of a path, from its end, in which the name of a codebase is searched."""

_IMAGENETS: Final = frozenset({"ImageNet", "ImageNetHR", "ImageNet64", "Tiny"})


def parts_of(folder: Path) -> tuple[str, ...]:
    """Return the components of a folder's absolute path. Links are not followed."""
    return tuple(part for part in Path(os.path.abspath(folder)).parts if part != os.sep)


def in_form_of_mtt(*parts: str) -> PathFacts:
    """Return the facts in MTT's path of these components.

    >>> in_form_of_mtt("CIFAR10_NO_ZCA", "ConvNet").preprocessing.kind
    'normalize'
    """
    return facts_of_path(Path("/", *parts))


def without_resolution(folder: Path) -> PathFacts:
    """Return the facts in a path of MTT's form, or `{dataset}/{subset}[/{res}]/{model}` of other data sets.

    >>> without_resolution(Path("buffers/ImageNet/imagenette/ConvNetD5")).dataset
    'ImageNet/imagenette'
    """
    facts, parts = facts_of_path(folder), parts_of(folder)
    if facts.dataset is not None or len(parts) < 4 or named(parts[-1]) is None:
        return facts
    rest = parts[:-2] if parts[-2].isdigit() else parts[:-1]
    if rest[-2] in _IMAGENETS:
        return replace(facts, dataset="/".join(rest[-2:]))
    return facts


def folder_named(folder: Path, names: Sequence[str]) -> str | None:
    """Return the component of a path that contains one of `names`, such as `FTD_buffers` or `buffer-ftd`.

    >>> folder_named(Path("/data/FTD_buffers/CIFAR10/ConvNet"), ["ftd"])
    'FTD_buffers'
    """
    either = "|".join(map(re.escape, names))
    called = re.compile(rf"((buffers?|experts?|trajectories)[-_. ]?)?({either})([-_. ].*)?", re.IGNORECASE)
    return next((part for part in reversed(parts_of(folder)[-_NEAR:]) if called.fullmatch(part)), None)

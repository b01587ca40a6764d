"""The table of file layouts of distilled images, and opening a path."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mct.errors import ConfigError, MissingError, ResultError
from mct.results.synthetic import RESULT_NAME
from mct.sets import (
    arrays,
    authors,
    condensation,
    datm,
    ddranking,
    ema,
    mkdt,
    mtt,
    ours,
    parts,
    refused,
    seqmatch,
)
from mct.sets.base import DistilledSet, FileLayout, Reading

LAYOUTS: Final = (
    ours.LAYOUT,
    arrays.LAYOUT,
    condensation.LAYOUT,
    refused.HABA,
    mkdt.LAYOUT,
    datm.LAYOUT,
    seqmatch.LAYOUT,
    ddranking.LAYOUT,
    authors.LAYOUT,
    ema.LAYOUT,
    parts.LAYOUT,
    mtt.LAYOUT,
    refused.INVERTED,
)
"""All file layouts, in the order in which they are tried.

A layout comes before those whose files are a subset of its own.
"""


_IMAGES: Final = re.compile(r"(?:.*_)?images(?:_(?!.*[0-9]).*)?\.(?:pt|pth|npz|npy|safetensors)")
"""Names of files of distilled images, without those of steps or parts, which remarks on a layout count."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A set that was read, with its path and its layout."""

    path: Path
    layout: FileLayout
    found: DistilledSet


def named(name: str, what: str = "--from") -> FileLayout:
    """Return the layout with a name.

    Args:
        name: Name of the layout.
        what: Option with which the user gave the name, for the error message.

    Raises:
        ConfigError: If there is no such layout.
    """
    for layout in LAYOUTS:
        if layout.name == name:
            return layout
    known = ", ".join(layout.name for layout in LAYOUTS)
    raise ConfigError(f"{what} must be one of {known}, got {name!r}")


def open_set(
    path: Path,
    *,
    layout: str | None = None,
    experiment: int | None = None,
    trust_pickle: bool = False,
    notes: Callable[[str], None] | None = None,
) -> Opened:
    """Detect the layout of distilled images, and read them.

    Args:
        path: A file or a folder.
        layout: Name of the layout; None to detect it.
        experiment: Number of the experiment, from 0, if the file contains several.
        trust_pickle: Whether to load pickles that can execute any code.
        notes: Called with a note about the layout and how it was detected, except for a file of mct.

    Raises:
        MissingError: If the path, or a file that belongs to it, does not exist.
        ResultError: If the path has no known layout, or one that is not supported.
        MctError: If the content is invalid.
    """
    if not path.exists():
        raise MissingError(f"{path}: no such file or folder")
    if (path / "manifest.json").exists():
        raise ResultError(
            f"{path}: a bundle of trajectories, not distilled images; distil it first with mct distill"
        )
    how = Reading(layout_given=layout is not None, experiment=experiment, trust_pickle=trust_pickle)
    kind, why = _recognised(path) if layout is None else (named(layout), "given with --from")
    found = kind.read(path, how)
    if experiment is not None and found.experiment is None:
        raise ConfigError(
            f"{path}: a file of the layout {kind.name} contains one set; do not give --experiment"
        )
    if notes is not None and kind is not ours.LAYOUT:
        notes(f"{path}: recognised as {kind.name} ({kind.title}): {'; '.join((why, *found.remarks))}")
    if notes is not None and path.is_dir() and (chosen := ours.chosen(found)) is not None:
        notes(f"{path}: {chosen}")
    if notes is not None and (others := _others(path, found)):
        notes(
            f"{path}: not used: {', '.join(others)}; give one of them instead of the folder, if it is meant"
        )
    return Opened(path, kind, found)


def _others(path: Path, found: DistilledSet) -> list[str]:
    """Return the names of further files of images in a folder, of which one kind may have been meant."""
    if not path.is_dir() or found.synthetic is not None:
        return []
    used = {file.name for file in found.files}
    names = sorted(entry.name for entry in path.iterdir() if _IMAGES.fullmatch(entry.name))
    return [name for name in names if name not in used]


def _has_some(folder: Path) -> bool:
    try:
        return any(layout.recognise(folder) for layout in LAYOUTS)
    except ConfigError:  # it contains several sets
        return True


def _recognised(path: Path) -> tuple[FileLayout, str]:
    for layout in LAYOUTS:
        why = layout.recognise(path)
        if why is not None:
            return layout, why
    if path.is_dir():
        inside = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and _has_some(entry))
        hint = f"some are in {', '.join(inside[:5])}" if inside else "mct sets prints the known layouts"
        raise MissingError(
            f"{path}: contains no {RESULT_NAME}, which a run saves as its result, and no distilled images of "
            f"another codebase; {hint}"
        )
    if path.name.startswith("replay_buffer_"):
        raise ResultError(
            f"{path}: a buffer of expert trajectories, not distilled images; traj convert reads it"
        )
    raise ResultError(
        f"{path}: not the name of a file of distilled images; mct sets prints the known layouts, and --from "
        "chooses one"
    )

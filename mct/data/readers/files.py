"""Finds the files of a published dataset, or says what was looked for, where, and who publishes it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mct.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One form in which a dataset is published."""

    folders: tuple[str, ...]
    """Where the files may lie, relative to the root; searched in this order."""

    files: tuple[tuple[str, ...], ...]
    """All that are needed, each with its possible spellings."""


def locate(
    name: str,
    root: Path,
    layouts: Sequence[Layout],
    *,
    published: str,
    present: Callable[[Path], bool] = os.path.isfile,
) -> tuple[int, list[Path]]:
    """Return the number of the first layout that is complete, and its files in order.

    Args:
        name: Of the dataset.
        root: Folder to look in.
        layouts: What to look for.
        published: Address of the dataset, for the message.
        present: Whether a path is what is looked for; a file by default.

    Raises:
        DataError: No layout is complete.
    """
    partial: tuple[int, str] = (0, "")
    for number, layout in enumerate(layouts):
        for folder in (root / part for part in layout.folders):
            found = [next(filter(present, map(folder.joinpath, names)), None) for names in layout.files]
            files = [path for path in found if path is not None]
            if len(files) == len(layout.files):
                return number, files
            if len(files) > partial[0]:
                gap = layout.files[found.index(None)][0]
                partial = (
                    len(files),
                    f"{folder / gap}: missing, {name} is incomplete: {len(files)} of {len(layout.files)} "
                    f"are in {folder} ({_listing(layout)} are needed); unpack it again, "
                    f"it is published at {published}",
                )
    if partial[0]:
        raise DataError(partial[1])
    wanted = " or ".join(_listing(layout) for layout in layouts)
    folders = dict.fromkeys(str(root / part) for layout in layouts for part in layout.folders)
    raise DataError(
        f"the dataset {name} was not found: looked for {wanted} in {', '.join(folders)}; it is published at "
        f"{published}; unpack it in {root}, name another folder with --data, or a file with --dataset"
    )


def _listing(layout: Layout) -> str:
    names = [spellings[0] for spellings in layout.files]
    return ", ".join(names) if len(names) <= 4 else f"{names[0]} … {names[-2]}, {names[-1]}"


def lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 text file that are not empty.

    Raises:
        DataError: It cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(f"{path}: cannot be read as text: {exc}") from exc
    return [line.strip() for line in text.splitlines() if line.strip()]

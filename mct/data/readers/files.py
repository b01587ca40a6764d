"""Finding the files of a published dataset, and explaining what is missing."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mct.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The folders and files of one form in which a dataset is published."""

    folders: tuple[str, ...]
    """Folders that may contain the files, relative to the root, in the order of the search."""

    files: tuple[tuple[str, ...], ...]
    """The possible names of each required file."""


class Located(NamedTuple):
    """The files of a published dataset."""

    number: int
    """The index of their layout."""

    paths: list[Path]
    """The files, in the order of `Layout.files`."""

    notes: tuple[str, ...]
    """Lines about complete copies of the dataset in other places, which are not used."""


def locate(
    name: str,
    root: Path,
    layouts: Sequence[Layout],
    *,
    published: str,
    present: Callable[[Path], bool] = os.path.isfile,
) -> Located:
    """Find the first file layout that is complete, and name the others that are.

    Args:
        name: Name of the dataset, for error messages.
        root: Folder that contains the folders of the layouts.
        layouts: The possible layouts, in the order of preference.
        published: Address at which the dataset is published, for error messages.
        present: Predicate that decides whether a path counts as found; by default, whether it is a file.

    Raises:
        DataError: If no layout is complete. The message names the missing file, or everything searched for.
    """
    partial: tuple[int, str] = (0, "")
    complete: list[tuple[int, list[Path]]] = []
    for number, layout in enumerate(layouts):
        for folder in (root / part for part in layout.folders):
            found = [next(filter(present, map(folder.joinpath, names)), None) for names in layout.files]
            files = [path for path in found if path is not None]
            if len(files) == len(layout.files):
                complete.append((number, files))
            elif len(files) > partial[0]:
                gap = layout.files[found.index(None)][0]
                partial = (
                    len(files),
                    f"{folder / gap}: missing; {name} needs {_listing(layout)}, but {folder} contains only "
                    f"{len(files)} of these {len(layout.files)}; unpack the dataset again; "
                    f"it is published at {published}",
                )
    if complete:
        number, paths = complete[0]
        notes = [
            f"{_places(files)}: not used, as the {name} in {paths[0].parent} is read"
            for _, files in complete[1:]
            if not any(map(os.path.samefile, files, paths))
        ]
        notes += _twins(layouts[number], paths, present)
        return Located(number, paths, tuple(notes))
    if partial[0]:
        raise DataError(partial[1])
    wanted = " or ".join(_listing(layout) for layout in layouts)
    folders = dict.fromkeys(str(root / part) for layout in layouts for part in layout.folders)
    raise DataError(
        f"the dataset {name} was not found: looked for {wanted} in {', '.join(folders)}; it is published at "
        f"{published}; unpack it in {root}, give another folder with --data, or give a file with --dataset"
    )


def _twins(layout: Layout, paths: Sequence[Path], present: Callable[[Path], bool]) -> list[str]:
    """Return a line about files of other spellings beside those that are read, except their own archives."""
    beside = {path.with_name(name) for path, names in zip(paths, layout.files, strict=True) for name in names}
    archives = {path.with_name(f"{path.name}.gz") for path in paths}
    odd = sorted(path.name for path in beside - archives - {*paths} if present(path))
    return [f"{paths[0].parent}: not used: {', '.join(odd)}"] if odd else []


def _places(files: Sequence[Path]) -> str:
    return f"{files[0].parent} ({files[0].name}, …)"


def _listing(layout: Layout) -> str:
    names = [spellings[0] for spellings in layout.files]
    return ", ".join(names) if len(names) <= 4 else f"{names[0]} … {names[-2]}, {names[-1]}"


def lines(path: Path) -> list[str]:
    """Return the non-empty lines of a UTF-8 text file, without surrounding whitespace.

    Raises:
        DataError: If the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(f"{path}: cannot be read as text: {exc}") from exc
    return [line.strip() for line in text.splitlines() if line.strip()]

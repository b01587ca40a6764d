"""Finding files whose names share a tag, such as `images_best.pt` and `labels_best.pt`."""

import re
from dataclasses import dataclass
from pathlib import Path

from mct.errors import MissingError, ResultError


@dataclass(frozen=True, slots=True)
class Picked:
    """The files of one set, which share a tag in their names."""

    folder: Path
    """Folder of the files."""

    tag: str
    """The tag, such as `best` or `500`."""

    others: int
    """Number of other sets in the folder."""

    def file(self, name: str) -> Path:
        """Return the path of a file of this set, whose `name` has `{}` in place of the tag."""
        return self.folder / name.format(self.tag)

    def require(self, name: str, why: str) -> Path:
        """Return the path of a file of this set, checking that it exists.

        Args:
            name: Name of the file, with `{}` in place of the tag.
            why: End of the error message: why the file is needed.

        Raises:
            MissingError: If the file does not exist.
        """
        found = self.file(name)
        if not found.is_file():
            raise MissingError(f"{found}: no such file; {why}")
        return found


def pick(path: Path, name: str, tags: str = r"best|\d+") -> Picked | None:
    """Find the set at a path.

    Args:
        path: A file of images, or a folder with such files.
        name: Name of a file of images, with `{}` in place of the tag.
        tags: Regular expression of possible tags.

    Returns:
        The set of the file. For a folder, the set with the tag `best` if there is one, otherwise that of the
        last outer step. None if the path is neither.
    """
    pattern = re.compile(re.escape(name).replace(r"\{\}", f"({tags})"))
    if not path.is_dir():
        match = pattern.fullmatch(path.name)
        return Picked(path.parent, match[1], 0) if match and path.is_file() else None
    found = [match[1] for entry in path.iterdir() if (match := pattern.fullmatch(entry.name))]
    if not found:
        return None
    return Picked(path, max(found, key=_rank), len(found) - 1)


def _rank(tag: str) -> tuple[bool, int]:
    last = tag.rpartition("_")[2]
    return last == "best", int(last) if last.isdigit() else 0


def picked(path: Path, name: str, tags: str = r"best|\d+") -> Picked:
    """Find the set at a path that must have this layout; see `pick` for the arguments.

    Raises:
        ResultError: If the path is neither a file of images of this layout nor a folder with one.
    """
    found = pick(path, name, tags)
    if found is None:
        raise ResultError(f"{path}: expected a file {name.format('TAG')}, or a folder with such a file")
    return found

"""Files whose names share a tag: `images_best.pt` belongs to `labels_best.pt`, `images_500.pt` to another."""

import re
from dataclasses import dataclass
from pathlib import Path

from mct.errors import MissingError, ResultError


@dataclass(frozen=True, slots=True)
class Picked:
    """One set of several that may lie in a folder."""

    folder: Path
    tag: str
    others: int
    """How many others lie beside it."""

    def file(self, name: str) -> Path:
        """Return the file of a name with `{}` for the tag."""
        return self.folder / name.format(self.tag)

    def require(self, name: str, why: str) -> Path:
        """Return a file that must be there.

        Raises:
            MissingError: It is not.
        """
        found = self.file(name)
        if not found.is_file():
            raise MissingError(f"{found}: no such file; {why}")
        return found


def pick(path: Path, name: str, tags: str = r"best|\d+") -> Picked | None:
    """Return the set that a path means: the file, or of a folder the best, else the one of the last step.

    Args:
        path: A file, or a folder.
        name: Of the images, with `{}` for the tag.
        tags: What the tag may be.
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
    """Return the file that `pick` chooses, for a path whose layout the user named.

    Raises:
        ResultError: There is no such file.
    """
    found = pick(path, name, tags)
    if found is None:
        raise ResultError(f"{path}: neither a file {name.format('TAG')} of this layout nor a folder with one")
    return found

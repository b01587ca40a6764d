"""Prints how the folders of the packages import each other, and writes their table into architecture.md.

    python docs/architecture.py            # the matrix: rows import columns
    python docs/architecture.py --write    # the table of folders and modules in docs/architecture.md

A *room* is a folder or module directly below a package. Everything here is read from the source text; nothing
is imported.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGES: Final = ("trajfmt", "mct")
PAGE: Final = ROOT / "docs" / "architecture.md"
BEGIN: Final = "<!-- rooms: written by docs/architecture.py -->"
END: Final = "<!-- end of rooms -->"


def imported(file: Path) -> list[str]:
    """Return every name that a file imports, `from a import b` as `a.b`, wherever the statement stands."""
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def rooms(package: str) -> list[str]:
    """Return the rooms of a package, folders and modules."""
    top = ROOT / package
    folders = {init.parent.name for init in top.glob("*/__init__.py")}
    return sorted(folders | {file.stem for file in top.glob("*.py")} - {"__init__"})


def edges(package: str) -> dict[str, set[str]]:
    """Return for every room the rooms of the same package that it imports from."""
    found: dict[str, set[str]] = defaultdict(set)
    known = set(rooms(package))
    for file in sorted((ROOT / package).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        if parts[1] == "__init__":
            continue
        targets = [name.split(".") for name in imported(file)]
        inside = {target[1] for target in targets if target[0] == package and len(target) > 1}
        found[parts[1]] |= (inside & known) - {parts[1]}
    return dict(found)


def floors(package: str) -> list[list[str]]:
    """Return the rooms by height: each imports only from the lists before its own.

    Raises:
        ValueError: two rooms import each other, directly or through others.
    """
    found = edges(package)
    below = {room: set(found.get(room, ())) for room in rooms(package)}
    order: list[list[str]] = []
    placed: set[str] = set()
    while len(placed) < len(below):
        free = sorted(room for room, needs in below.items() if room not in placed and needs <= placed)
        if not free:
            raise ValueError(f"{package}: rooms import each other: {sorted(set(below) - placed)}")
        order.append(free)
        placed |= set(free)
    return order


def matrix(package: str) -> str:
    """Return the matrix of imports: rooms in order, so that every mark is below the diagonal."""
    order = [room for floor in floors(package) for room in floor]
    found = edges(package)
    width = max(map(len, order))
    lines = [" " * (width + 1) + " ".join(f"{number:2}" for number in range(len(order)))]
    for number, room in enumerate(order):
        marks = [" x" if target in found.get(room, ()) else " ." for target in order]
        lines.append(f"{room:<{width}} " + " ".join(marks) + f"  {number}")
    return "\n".join([package, *lines])


def table(package: str) -> str:
    """Return a Markdown section for every room, from its docstring, the lowest first."""
    found = edges(package)
    lines = [f"### {package}", "", "| room | owns | imports |", "| --- | --- | --- |"]
    for floor in floors(package):
        for room in floor:
            place = ROOT / package / room
            file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
            summary = (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n\n")[0]
            name = f"`{room}/`" if place.is_dir() else f"`{room}`"
            below = ", ".join(sorted(found.get(room, ()))) or "nothing"
            lines.append(f"| {name} | {' '.join(summary.split())} | {below} |")
    return "\n".join(lines)


def page() -> str:
    """Return docs/architecture.md with its table as the source has it now."""
    head, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    tables = "\n\n".join(table(package) for package in PACKAGES)
    return f"{head}{BEGIN}\n\n{tables}\n\n{END}{tail}"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(page())
    else:
        print("\n\n".join(matrix(package) for package in PACKAGES))

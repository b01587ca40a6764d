"""Trees of files, and a folder that holds one tree after the other."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Node", "Place", "Places", "Tree"]


@dataclass(frozen=True)
class Node:
    """What is no file with bytes of its own."""

    kind: str
    """`link`, `hard link`, `folder`, `pipe` or `hole`."""

    target: str = ""
    """For links: where to, relative to the folder of the link."""

    size: int = 0
    """For holes: bytes."""


Tree = Mapping[str, bytes | Node]
"""Files of a folder by name; folders are made where names need them."""


class Place:
    """A folder that holds one tree after the other. Only what differs is written.

    A file is never changed in place, because what has been mapped would change with it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._held: Tree = {}
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)

    def hold(self, tree: Tree) -> None:
        """Make the folder hold a tree. Of a file and a folder of one name, it holds the file."""
        tree = {name: node for name, node in tree.items() if not any(p in tree for p in _parents(name))}
        odd = any(isinstance(node, Node) for held in (self._held, tree) for node in held.values())
        if odd or _folders(self._held) != _folders(tree):
            shutil.rmtree(self.root)
            self.root.mkdir()
            self._held = {}
        held, self._held = self._held, {"?": Node("folder")}  # until everything has been written
        for name in held.keys() - tree.keys():
            os.unlink(self.root / name)
        late = []
        for name, node in tree.items():
            if held.get(name) is node:
                continue
            if name in held:
                os.unlink(self.root / name)
            if isinstance(node, Node) and "link" in node.kind:
                late.append((name, node))
            else:
                _write(self.root / name, node)
        for name, link in late:
            _write(self.root / name, link)
        self._held = dict(tree)


class Places:
    """Folders by name. Each holds other trees, so that few files are written for those that are alike."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._places: dict[str, Place] = {}

    def hold(self, name: str, tree: Tree) -> Path:
        """Return the folder of this name, after it was made to hold a tree."""
        if name not in self._places:
            self._places[name] = Place(self._root / name)
        self._places[name].hold(tree)
        return self._places[name].root


def _parents(name: str) -> list[str]:
    return [name[:at] for at, letter in enumerate(name) if letter == "/"]


def _folders(tree: Tree) -> set[str]:
    return {name.rpartition("/")[0] for name in tree}


def _write(path: Path, node: bytes | Node) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(node, bytes):
        path.write_bytes(node)
    elif node.kind == "link":
        path.symlink_to(node.target)
    elif node.kind == "hard link":
        other = path.parent / node.target
        if other.is_file():
            os.link(other, path)
    elif node.kind == "folder":
        path.mkdir()
    elif node.kind == "pipe":
        os.mkfifo(path)
    else:
        with path.open("wb") as file:
            file.truncate(node.size)

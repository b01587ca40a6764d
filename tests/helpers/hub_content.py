"""The repositories of the stand-in for the hub: commits of files, and how the hub names contents."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

_LARGE = (".safetensors", ".h5")
Files = dict[str, bytes]


@dataclass
class Repository:
    """A repository: its commits in order, and where its branches point."""

    private: bool = False
    gated: bool = False
    commits: dict[str, Files] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, files: Files, branch: str = "main", message: str = "") -> str:
        """Make files the content of a branch."""
        text = json.dumps([sorted(files), len(self.commits), message])
        sha = hashlib.sha1(text.encode()).hexdigest()
        self.commits[sha], self.branches[branch] = files, sha
        self.messages.append(message)
        return sha

    def files(self, branch: str = "main") -> Files:
        """Return the content of a branch."""
        return self.commits[self.branches[branch]]


def content(folder: Path, inside: str = "") -> Files:
    """Return the files of a folder by their path, below `inside`."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {
        (inside and f"{inside}/") + file.relative_to(folder).as_posix(): file.read_bytes() for file in files
    }


def is_large(path: str) -> bool:
    """Return whether the hub keeps a file by its SHA-256 hash, apart from the repository."""
    return path.endswith(_LARGE)


def blob_id(data: bytes) -> str:
    """Return git's hash of a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

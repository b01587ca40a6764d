"""What can be converted: one module per layout, one table of them.

A layout is recognised by looking. `open_source` gives a `Collection`: files, each with its trajectories.
"""

from __future__ import annotations

from pathlib import Path

from trajfmt.errors import MissingError, SourceError, display
from trajfmt.manifest import FILE_NAME
from trajfmt.sources.base import Collection, Part
from trajfmt.sources.bundles import BundleCollection
from trajfmt.sources.mtt import MttCollection

__all__ = ["Collection", "Part", "open_source"]


def open_source(path: Path, *, trust_pickle: bool = False) -> Collection:
    """Recognise what lies at `path`.

    Raises:
        MissingError: there is nothing.
        SourceError: there is nothing that can be converted.
    """
    if not path.exists():
        raise MissingError(f"{display(path)}: no such file or folder")
    if path.is_dir() and (path / FILE_NAME).exists():
        return BundleCollection(path)
    if path.is_file() or any(path.glob("replay_buffer_*.pt")):
        return MttCollection(path, trust_pickle=trust_pickle)
    raise SourceError(
        "nothing_to_convert",
        "neither a bundle (manifest.json) nor an MTT buffer (replay_buffer_*.pt) is in this folder",
        path=path,
    )

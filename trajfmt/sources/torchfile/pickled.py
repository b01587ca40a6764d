"""A checkpoint that torch saved, read in place.

Only the places of tensors are kept. Most checkpoints can therefore be read without torch, and the states of
optimizers in them take no memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trajfmt.sources.torchfile.instructions import run
from trajfmt.sources.torchfile.members import Members, Unusual
from trajfmt.sources.torchfile.stored import PlacedTensor
from trajfmt.storage.inputs import InputFile

__all__ = ["Unusual", "read"]


def read(path: Path) -> Any:
    """Return the contents of a file: dictionaries, lists, tuples, plain values, and `PlacedTensor` objects.

    Raises:
        Unusual: the file is no zip file of torch, or contains other values.
        CorruptError: the file is empty, or its pickle is damaged or harmful.
        UnsafeError: the path is no regular file.
    """
    file = InputFile(path, least=1)
    return run(Members(file, path), {}, tensor=lambda tensor: PlacedTensor(file, *tensor))

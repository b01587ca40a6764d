"""A checkpoint that torch saved, read in place: where its tensors lie, without making any tensor.

So no torch is needed for most checkpoints, and an optimizer's states cost nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trajfmt.sources.torchfile.instructions import run
from trajfmt.sources.torchfile.members import Members, Unusual
from trajfmt.sources.torchfile.stored import MappedTensor
from trajfmt.storage.safetensors import MappedFile

__all__ = ["Unusual", "read"]


def read(path: Path) -> Any:
    """Return what a file holds: dictionaries, lists, tuples, plain values, and `MappedTensor`.

    Raises:
        Unusual: it is not a zip file that torch wrote, or holds more than that.
        CorruptError: it is empty, or its pickle is damaged or made to do harm.
    """
    file = MappedFile(path, least=1)
    mapped = file.map()
    return run(mapped, Members(mapped, path), {}, tensor=lambda tensor: MappedTensor(file, *tensor))

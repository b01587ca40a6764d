"""A file of `torch.save`, read in place.

Only the places of tensors are kept. Most files can therefore be read without torch, and the states of
optimizers in them take no memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trajfmt.errors import CorruptError
from trajfmt.sources.torchfile.calls import harmful, run
from trajfmt.sources.torchfile.members import Members, Unusual
from trajfmt.sources.torchfile.nesting import check_size
from trajfmt.sources.torchfile.placement import HarmfulError
from trajfmt.sources.torchfile.stored import PlacedTensor
from trajfmt.storage.inputs import InputFile

__all__ = ["Unusual", "opened", "read"]


def opened(path: Path) -> InputFile:
    """Return a file that is not empty.

    Raises:
        CorruptError: the file is empty.
        UnsafeError: the path is no regular file.
    """
    file = InputFile(path.resolve(), least=0)
    if not file.nbytes:
        raise CorruptError("source_truncated", "the file is empty", path=path)
    return file


def read(path: Path) -> Any:
    """Return the contents of a file: dictionaries, lists, tuples, plain values, and `PlacedTensor` objects.

    Values of other types that are no weights are `Inert`, and tensors that are not plain are `OtherTensor`.

    Raises:
        Unusual: the file is no zip file of torch, or contains other values.
        CorruptError: the file is empty, or its pickle is damaged or harmful.
        UnsafeError: the path is no regular file.
    """
    file = opened(path)
    members = Members(file, path)
    content = run(members, {}, tensor=lambda tensor: PlacedTensor(file, *tensor))
    begin, end = members.pickle()
    try:
        check_size(content, end - begin)
    except HarmfulError as exc:
        raise harmful(exc, path) from None
    return content

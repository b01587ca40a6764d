"""Parts of checkpoints' files that were never written and read as zeros.

An interrupted download or a full disk leaves such holes. So do programs and file systems that do not store
zeros, and a layer may begin with zeros. What was not zero at an earlier timestep, and is a hole now, is
damage. Files with checksums of their contents need no such look.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from trajfmt.errors import CorruptError, counted, display
from trajfmt.sources.base.unused import shortened
from trajfmt.sources.torchfile.stored import LoadedTensor, NamedTensor, PlacedTensor, State, Stored
from trajfmt.storage.holes import holes_of
from trajfmt.storage.opened import OpenFile
from trajfmt.storage.safetensors import NUMPY

__all__ = ["require_written"]

_BLOCK: Final = 2**18
"""Items that are read at a time."""

_TAIL: Final = 4096
"""Bytes at the end of a file that are looked at: a crash may leave stored zeros there."""

_SHOWN: Final = 4


class _Region(NamedTuple):
    """Bytes of a file that may never have been written."""

    start: int
    stop: int
    hole: bool
    """Whether the file system says so. Otherwise they are zeros at the end of the file."""


class _Part(NamedTuple):
    """The part of a tensor in a region."""

    name: str
    first: int
    """Its first item."""

    last: int
    """The item after its last."""


def require_written(
    states: Sequence[Mapping[str, Stored]], files: Sequence[Sequence[Path]], paths: Sequence[Path]
) -> tuple[str, ...]:
    """Compare tensors in holes of their files with those of earlier checkpoints.

    Args:
        states: the tensors of each checkpoint of a run, in order.
        files: the files of each checkpoint.
        paths: the checkpoints, for messages.

    Returns:
        A remark if tensors are in holes that may be zeros.

    Raises:
        CorruptError: a tensor is in a hole, and was not zero before.
    """
    names: dict[str, None] = {}
    places: dict[Path, _Region] = {}
    for t, state in enumerate(states):
        for file in files[t]:
            tensors = _inside(state, file)
            for region in _regions(file) if tensors else ():
                for part in _parts(tensors, region):
                    before = next((s for s in (t - 1, 0) if 0 <= s < t and _moved(states[s], part)), None)
                    if _moved(state, part) or (before is None and not region.hole):
                        continue
                    if before is not None and region.hole:
                        raise _damaged(file, region, part.name, paths[before])
                    names.setdefault(part.name)
                    places.setdefault(file, region)
            if not tensors and _is_unchecked(state, file) and (holes := holes_of(file.resolve())):
                names.setdefault("some tensor")
                places.setdefault(file, _Region(*holes[0], True))
    if not places:
        return ()
    file, region = next(iter(places.items()))
    more = f" (and of {counted(len(places) - 1, 'more file')})" if len(places) > 1 else ""
    return (
        f"bytes {region.start} to {region.stop} of {display(file.name)}{more} are zeros that"
        f" {'were never written' if region.hole else 'end the file'}, in {shortened(list(names), _SHOWN)}; if"
        " these are no zeros of the network, the file is incomplete: fetch or save it again",
    )


def _damaged(file: Path, region: _Region, name: str, before: Path) -> CorruptError:
    return CorruptError(
        "source_truncated",
        f"bytes {region.start} to {region.stop} were never written (a hole in the file), and the part of"
        f" `{display(name)}` there was not zero in {display(before.name)}; fetch or save the file again, or"
        " store the zeros if they are meant (cp --sparse=never)",
        path=file,
    )


def _inside(state: Mapping[str, Stored], file: Path) -> list[tuple[str, Stored, int, int]]:
    """Return the tensors of a file that have no checksums, each with its first byte and its end."""
    where = file.resolve()
    found: list[tuple[str, Stored, int, int]] = []
    for name, tensor in state.items():
        if isinstance(tensor, NamedTensor) and tensor.file.path == where:
            entry = tensor.file.tensors[tensor.name]
            found.append((name, tensor, entry.start, entry.stop))
        elif isinstance(tensor, PlacedTensor) and tensor.file.path == where:
            plain = not tensor.crc and tensor.span is None and tensor.strides is None
            nbytes = int(np.prod(tensor.shape)) * NUMPY[tensor.dtype].itemsize
            found += [(name, tensor, tensor.start, tensor.start + nbytes)] if plain else []
    return found


def _is_unchecked(state: Mapping[str, Stored], file: Path) -> bool:
    """Return whether a file is of torch's older kind, which has neither checksums nor places of tensors."""
    if not any(isinstance(tensor, LoadedTensor) for tensor in state.values()):
        return False
    with OpenFile(file.resolve(), file) as opened:
        return opened.read(0, min(2, opened.identity.size)) != b"PK"


def _regions(file: Path) -> Iterator[_Region]:
    """Yield the holes of a file, and its end if that is a page of zeros."""
    end = -1
    for start, end in holes_of(file.resolve()):
        yield _Region(start, end, True)
    with OpenFile(file.resolve(), file) as opened:
        size = opened.identity.size
        if size > _TAIL and end != size and not any(opened.read(size - _TAIL, _TAIL)):
            yield _Region(size - _TAIL, size, False)


def _parts(tensors: Sequence[tuple[str, Stored, int, int]], region: _Region) -> Iterator[_Part]:
    """Yield the parts of tensors whose items are all in a region."""
    for name, tensor, start, stop in tensors:
        if start < region.stop and region.start < stop and tensor.dtype in NUMPY:
            size = NUMPY[tensor.dtype].itemsize
            first = max(0, -(-(region.start - start) // size))
            last = (min(region.stop, stop) - start) // size
            if first < last:
                yield _Part(name, first, last)


def _moved(state: Mapping[str, Stored], part: _Part) -> bool:
    """Return whether a part of a tensor is not zero in a checkpoint."""
    tensor = state.get(part.name)
    if tensor is None or tensor.dtype not in NUMPY:
        return False
    items = tensor.read()
    starts = range(part.first, min(part.last, items.shape[0]), _BLOCK)
    pieces = (np.asarray(items[start : min(start + _BLOCK, part.last)]) for start in starts)
    moved = any(np.ascontiguousarray(piece).view(np.uint8).any() for piece in pieces)
    State({part.name: tensor}).release()
    return moved

"""What writing one trajectory gives: its entry of the manifest, its tables, and files that wait for names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from trajfmt.encodings.parts import buffers
from trajfmt.encodings.parts.knots import Stretch
from trajfmt.encodings.parts.shards import Shard
from trajfmt.encodings.parts.tables import Tables
from trajfmt.errors import UsageError
from trajfmt.schema.manifest import ConvexEntry, Entry, ShardEntry
from trajfmt.trajectory.rounding import Rounding
from trajfmt.trajectory.source import Carrying

__all__ = ["NewFile", "Result", "carried", "named", "placed"]


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that is written, still without its number in the bundle."""

    path: Path
    folder: str
    tail: str
    """What follows the number in its name."""


@dataclass(frozen=True, slots=True)
class Result:
    """A trajectory on disk; its entry still has no names of files."""

    entry: Entry
    tables: Tables | None
    files: tuple[NewFile, ...]
    stretches: tuple[Stretch, ...] = ()
    """What is in each of the files of knots, where there are several."""

    smoothed: bool = False
    rounding: tuple[Rounding, ...] = ()
    """Per stored timestep, what storing it in another type has changed."""


def placed(shards: Sequence[Shard], entry: ConvexEntry) -> tuple[tuple[NewFile, ...], ConvexEntry]:
    """Return the files of knots, and the entry with what is in each."""
    if len(shards) == 1:
        new = (NewFile(shards[0].path, "knots", ".safetensors"),)
        return new, msgspec.structs.replace(entry, file="", data=shards[0].data)
    tails = [f"-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
    held = [ShardEntry(file="", data=shard.data, tensors=shard.stretch.tensors) for shard in shards]
    files = tuple(NewFile(shard.path, "knots", tail) for shard, tail in zip(shards, tails, strict=True))
    return files, msgspec.structs.replace(entry, shards=held)


def carried(result: Result, pending: Callable[[], Path], source: object, stored: Sequence[int]) -> Result:
    """Return the result with numbers, and with a file of buffers if there are any."""
    if not isinstance(source, Carrying):
        return result
    entry = result.entry
    if source.numbers is not None:
        if len(source.numbers) != entry.timesteps:
            raise UsageError(f"{entry.timesteps} timesteps cannot have {len(source.numbers)} numbers")
        entry = msgspec.structs.replace(entry, numbers=list(source.numbers))
    held = [(t, source.buffers(t)) for t in stored]
    files = result.files
    if any(arrays for _, arrays in held):
        path = pending()
        buffers.write(path, held)
        files = (*files, NewFile(path, "buffers", ".safetensors"))
    return replace(result, entry=entry, files=files)


def named(result: Result, names: Sequence[str]) -> Entry:
    """Return the entry with the names that its files have got."""
    entry = result.entry
    if result.files[-1].folder == "buffers":
        entry = msgspec.structs.replace(entry, buffers=names[-1])
    if not isinstance(entry, ConvexEntry) or entry.shards is None:
        return msgspec.structs.replace(entry, file=names[0])
    shards = [
        ShardEntry(file=name, data=shard.data, tensors=shard.tensors)
        for name, shard in zip(names, entry.shards, strict=False)
    ]
    return msgspec.structs.replace(entry, shards=shards)

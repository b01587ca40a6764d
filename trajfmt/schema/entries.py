"""The entries of a manifest that describe trajectories: their files, and the positions of arrays in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal, get_args

import msgspec

from trajfmt.schema.provenance import Count, Index, Positive, Sha256, Text

__all__ = [
    "MAX_TIMESTEPS",
    "PIECE_SIZES",
    "ChunkTable",
    "ConvexEntry",
    "Entry",
    "FullEntry",
    "Origin",
    "PieceEntry",
    "PieceSize",
    "RefusedEntry",
    "ShardEntry",
    "TableEntry",
]

MAX_TIMESTEPS: Final = 2**20
"""Most timesteps of a trajectory, T + 1. Readers go through them one by one."""


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The origin of a trajectory: number `trajectory` in the file `Provenance.sources[file]`."""

    file: Index
    trajectory: Index


PieceSize = Literal[
    1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144, 524288, 1048576, 2097152, 4194304, 8388608
]
PIECE_SIZES: Final[tuple[int, ...]] = get_args(PieceSize)
"""The sizes of pieces that the format allows in bytes: powers of two from 1 KiB to 8 MiB."""


class PieceEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Where the digests of the pieces of a trajectory are; see `trajfmt.schema.pieces`."""

    file: str
    """The safetensors file of digests. Trajectories that were written together share one."""

    data: Count
    """Byte offset of the digest of the first piece. The others follow."""

    size: PieceSize | None = None
    """Bytes of a piece; absent if every chunk is a piece."""

    sha256: Sha256
    """Hash of all digests of this trajectory."""


class TableEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The positions of a trajectory's tables, little-endian float64 arrays in an HDF5 file."""

    file: str
    u: Count
    """Byte offset of u `(T+1, L)`."""

    step_norms: Count | None = None
    """Byte offset of the step norms `(T, L)`; absent if they are unknown."""

    gram: Count | None = None
    """Byte offset of the Gram matrix `(T+1, T+1)`, the inner products of theta(t) - theta(0)."""

    free: bool = False
    """Whether u is a free table, which may decrease and leave [0, 1]. Requires two knots."""


class ShardEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of several files that hold the knots of a trajectory."""

    file: str
    data: Count
    """Byte offset of the first tensor in the file."""

    tensors: Positive
    """Number of tensors in the file. Tensors are ordered by knot, then by parameter."""


class ConvexEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One convexified trajectory."""

    timesteps: Annotated[int, msgspec.Meta(ge=2, le=MAX_TIMESTEPS)]
    """Number of timesteps, T + 1."""

    knots: Annotated[list[Index], msgspec.Meta(min_length=2)]
    """Timesteps of the knots, from 0 to T."""

    file: str | None = None
    """The safetensors file that holds the knots; absent if there are `shards`."""

    data: Count | None = None
    """Byte offset of knot 0 in `file`. Knot k is at `data + k * bytes of one timestep`."""

    shards: Annotated[list[ShardEntry], msgspec.Meta(min_length=1)] | None = None
    """The files that together hold the knots. Each tensor is in exactly one of them."""

    table: TableEntry
    digest: Sha256
    """Digest of the original trajectory; see the specification."""

    numbers: list[Count] | None = None
    """Number of each timestep in the source, if it does not follow from `first_timestep` and `timestep`."""

    buffers: str | None = None
    """The safetensors file of the module buffers, named `{t:05d}/{name}` at every knot."""

    pieces: PieceEntry | None = None
    """The digests of the pieces of the weights; absent if there are none."""

    origin: Origin | None = None
    requires_read: list[Text] = []  # msgspec copies mutable defaults
    """The features that a reader of this trajectory must know, in order; see `trajfmt.schema.features`."""

    @property
    def stored_timesteps(self) -> Sequence[int]:
        """Return the timesteps whose weights are stored."""
        return self.knots

    @property
    def weight_files(self) -> list[str]:
        """Return the files of the weights, in order of their contents."""
        if self.shards is not None:
            return [shard.file for shard in self.shards]
        assert self.file is not None
        return [self.file]

    @property
    def files(self) -> set[str]:
        """Return all files that the trajectory is read from."""
        return {*self.weight_files, self.table.file, *_existing(self.buffers, self.pieces)}

    def with_files(self, names: Sequence[str]) -> ConvexEntry:
        """Return the entry with the names of its files filled in.

        Args:
            names: the files of the weights, followed by the file of module buffers if there is one.
        """
        buffers = None if self.buffers is None else names[-1]
        if self.shards is None:
            return msgspec.structs.replace(self, file=names[0], buffers=buffers)
        shards = [
            msgspec.structs.replace(shard, file=name) for name, shard in zip(names, self.shards, strict=False)
        ]
        return msgspec.structs.replace(self, shards=shards, buffers=buffers)

    def with_table(self, file: str, offsets: Mapping[str, int]) -> ConvexEntry:
        """Return the entry with the position of its tables filled in.

        Args:
            file: the HDF5 file.
            offsets: byte offset of each table, by name.
        """
        return msgspec.structs.replace(self, table=msgspec.structs.replace(self.table, file=file, **offsets))

    def with_pieces(self, file: str, data: int) -> ConvexEntry:
        """Return the entry with the place of the digests of its pieces filled in."""
        return msgspec.structs.replace(self, pieces=_placed(self.pieces, file, data))

    def stored(self, parameters: int) -> list[ShardEntry]:
        """Return the files of the knots in order, also if there is only one.

        Args:
            parameters: number of parameter tensors of the network.
        """
        if self.shards is not None:
            return self.shards
        assert self.file is not None
        assert self.data is not None
        return [ShardEntry(file=self.file, data=self.data, tensors=len(self.knots) * parameters)]


def _existing(buffers: str | None, pieces: PieceEntry | None) -> list[str]:
    return [*([] if buffers is None else [buffers]), *([] if pieces is None else [pieces.file])]


class ChunkTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The compressed chunks of `theta` or `delta`, ordered by timestep, then by element."""

    offsets: list[Count]
    """Byte offset of each chunk in the file."""

    sizes: list[Count]
    """Compressed size of each chunk in bytes."""

    slopes: list[Annotated[int, msgspec.Meta(ge=-1, le=4)]] | None = None
    """Slope of the prediction of each chunk, in quarters of the last step, for codec `archive`."""


class FullEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One full trajectory."""

    timesteps: Annotated[int, msgspec.Meta(ge=2, le=MAX_TIMESTEPS)]
    """Number of timesteps, T + 1."""

    file: str
    """The HDF5 file with the dataset `theta` (`delta` for codec `archive`)."""

    digest: Sha256
    """Digest of the trajectory; see the specification."""

    data: Count | None = None
    """Byte offset of the contiguous weights `(T+1, P)`, for codec `none`."""

    chunks: ChunkTable | None = None
    """Positions of the chunks, for the other codecs."""

    numbers: list[Count] | None = None
    """Number of each timestep in the source, if it does not follow from `first_timestep` and `timestep`."""

    buffers: str | None = None
    """The safetensors file of the module buffers, named `{t:05d}/{name}` at every timestep."""

    pieces: PieceEntry | None = None
    """The digests of the pieces of the weights; absent if there are none."""

    origin: Origin | None = None
    requires_read: list[Text] = []  # msgspec copies mutable defaults
    """The features that a reader of this trajectory must know, in order; see `trajfmt.schema.features`."""

    @property
    def stored_timesteps(self) -> Sequence[int]:
        """Return the timesteps whose weights are stored."""
        return range(self.timesteps)

    @property
    def weight_files(self) -> list[str]:
        """Return the files of the weights."""
        return [self.file]

    @property
    def files(self) -> set[str]:
        """Return all files that the trajectory is read from."""
        return {self.file, *_existing(self.buffers, self.pieces)}

    def with_files(self, names: Sequence[str]) -> FullEntry:
        """Return the entry with the names of its files filled in.

        Args:
            names: the file of the weights, followed by the file of module buffers if there is one.
        """
        buffers = None if self.buffers is None else names[-1]
        return msgspec.structs.replace(self, file=names[0], buffers=buffers)

    def with_pieces(self, file: str, data: int) -> FullEntry:
        """Return the entry with the place of the digests of its pieces filled in."""
        return msgspec.structs.replace(self, pieces=_placed(self.pieces, file, data))


def _placed(pieces: PieceEntry | None, file: str, data: int) -> PieceEntry:
    assert pieces is not None
    return msgspec.structs.replace(pieces, file=file, data=data)


class RefusedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A trajectory that needs a feature which this library does not know.

    It has what an entry of any minor version has. Nothing else in it is looked at.
    """

    timesteps: Annotated[int, msgspec.Meta(ge=2, le=MAX_TIMESTEPS)]
    digest: Sha256
    requires_read: list[Text]


Entry = ConvexEntry | FullEntry

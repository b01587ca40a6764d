"""Where the pieces of weights are."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
import pytest

from trajfmt import ParamLayout
from trajfmt.schema.entries import PIECE_SIZES, ChunkTable, ConvexEntry, FullEntry, ShardEntry, TableEntry
from trajfmt.schema.pieces import Piece, PieceMap, Pieces, piece_size

LAYOUT = ParamLayout.of([("w", (700,)), ("none", (0, 2)), ("b", (10,))])
"""A timestep has 2,840 bytes: three pieces of 1 KiB, of which the last has 792 bytes."""

HASH = "0" * 64
FULL = FullEntry(timesteps=3, file="a.h5", digest=HASH, data=512)
CONVEX = ConvexEntry(
    timesteps=5, knots=[0, 4], file="k", data=64, table=TableEntry(file="t.h5", u=0), digest=HASH
)


def test_pieces_of_contiguous_timesteps() -> None:
    """Each timestep begins with a piece, and its last piece is shorter."""
    pieces = Pieces.of(FULL, LAYOUT, 1024)
    rows = list(pieces.of_file("a.h5"))
    assert pieces.count == len(rows) == 9
    assert rows[:4] == [
        Piece(0, 512, 1536),
        Piece(1, 1536, 2560),
        Piece(2, 2560, 3352),
        Piece(3, 3352, 4376),
    ]
    assert [row.number for row in rows] == list(range(9))


def test_pieces_of_chunks() -> None:
    """Every chunk is a piece, in the order of the manifest, wherever it lies, and if it is empty."""
    chunks = ChunkTable(offsets=[900, 100, 300], sizes=[50, 200, 0])
    entry = msgspec.structs.replace(FULL, data=None, chunks=chunks)
    pieces = Pieces.of(entry, LAYOUT, None)
    assert pieces.count == 3
    assert list(pieces.of_file("a.h5")) == [Piece(1, 100, 300), Piece(2, 300, 300), Piece(0, 900, 950)]
    assert pieces.covering("a.h5", 120, 130) == [Piece(1, 100, 300)]
    assert pieces.covering("a.h5", 120, 301) is None


def test_pieces_of_shards() -> None:
    """A piece crosses neither a knot nor a file; a part of a knot without elements has none."""
    shards = [
        ShardEntry(file="1", data=64, tensors=1),
        ShardEntry(file="2", data=72, tensors=1),
        ShardEntry(file="3", data=80, tensors=4),
    ]
    entry = msgspec.structs.replace(CONVEX, file=None, data=None, shards=shards)
    pieces = Pieces.of(entry, LAYOUT, 1024)
    assert list(pieces.of_file("1")) == [Piece(0, 64, 1088), Piece(1, 1088, 2112), Piece(2, 2112, 2864)]
    assert list(pieces.of_file("2")) == []
    assert list(pieces.of_file("3")[:2]) == [Piece(3, 80, 120), Piece(4, 120, 1144)]
    assert pieces.count == 7


def test_pieces_that_cover_a_range() -> None:
    """Every range within the weights, and none with a byte outside of them."""
    pieces = Pieces.of(CONVEX, LAYOUT, 1024)
    rows = list(pieces.of_file("k"))
    rng = np.random.default_rng(0)
    for start, stop in np.sort(rng.integers(64, 64 + 2 * 2840 + 1, (200, 2))).tolist():
        expected = [row for row in rows if row.start < stop and row.stop > start and start < stop]
        assert pieces.covering("k", start, stop) == expected
    assert pieces.covering("k", 63, 70) is None
    assert pieces.covering("k", 5000, 64 + 2 * 2840 + 1) is None


@pytest.mark.parametrize("timesteps", [2, 3, 51, 201, 1001])
@pytest.mark.parametrize("nbytes", [8, 36, 5000, 1_280_040, 45_000_000, 2 * 10**9])
def test_size_of_pieces(timesteps: int, nbytes: int) -> None:
    """It is allowed, and the digests of a trajectory are a small part of a timestep where they can be."""
    size = piece_size(timesteps, nbytes)
    assert size in PIECE_SIZES
    digests = 32 * timesteps * -(-nbytes // size)
    assert digests <= nbytes / 32 or size >= min(nbytes, PIECE_SIZES[-1])


def entries_of(numbers: Iterable[int]) -> dict[int, FullEntry]:
    """Return entries of trajectories with these numbers, whose data begin at byte n of `n.h5`."""
    digests = {"file": "p.safetensors", "data": 0, "size": 1024, "sha256": HASH}
    return {
        n: msgspec.convert(
            {"timesteps": 2, "file": f"{n}.h5", "digest": HASH, "data": n, "pieces": digests}, FullEntry
        )
        for n in numbers
    }


def test_a_map_forgets_what_it_has_not_used_for_long() -> None:
    """With thousands of trajectories, only the latest are kept; the answers stay the same."""
    found = PieceMap(entries_of(range(200)), LAYOUT)
    assert "5.h5" in found
    assert "p.safetensors" not in found
    for n in (*range(200), 5):
        assert found.of(f"{n}.h5").of_file(f"{n}.h5")[0].start == n
    assert len(found._kept) <= 4


def test_a_map_names_trajectories_by_their_numbers_in_the_bundle() -> None:
    """Those that are refused have numbers, too, so the position among the others is another number."""
    found = PieceMap(entries_of([1, 4]), LAYOUT)
    assert [found.digests_of(name)[0] for name in ("1.h5", "4.h5")] == [1, 4]


@pytest.mark.parametrize(
    ("timesteps", "nbytes", "size"),
    [
        (1, 1, 2**14),
        (2, 1280040, 2**14),
        (51, 1280040, 2**16),
        (51, 2**40, PIECE_SIZES[-1]),
        (10**6, 2**30, PIECE_SIZES[-1]),
        (10**6, 40, 2**15),
    ],
)
def test_sizes_between_the_bounds(timesteps: int, nbytes: int, size: int) -> None:
    """The smallest and the largest there are, and a balance between them."""
    assert piece_size(timesteps, nbytes) == size


def test_pieces_that_a_range_touches() -> None:
    """Bytes in front, behind and between belong to none, which only `covering` minds."""
    pieces = PieceMap(entries_of([5]), LAYOUT).of("5.h5")
    every = list(pieces.of_file("5.h5"))
    first, last = every[0].start, every[-1].stop
    assert pieces.touching("5.h5", 0, last + 10) == every
    assert pieces.covering("5.h5", 0, last) is None
    assert pieces.covering("5.h5", first, last) == every
    assert pieces.covering("5.h5", first, last + 1) is None
    assert pieces.touching("5.h5", 0, first) == []
    assert pieces.touching("5.h5", last, last + 9) == []
    for piece in every:
        assert pieces.touching("5.h5", piece.start, piece.start + 1) == [piece]
        assert pieces.touching("5.h5", piece.stop - 1, piece.stop) == [piece]

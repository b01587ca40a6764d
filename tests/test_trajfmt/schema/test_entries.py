"""Entries of trajectories: their files, before and after these have names."""

from __future__ import annotations

from trajfmt.schema.entries import ConvexEntry, FullEntry, ShardEntry, TableEntry

DIGEST = "0" * 64
TABLE = TableEntry(file="t.h5", u=0)
FULL = FullEntry(timesteps=5, file="", digest=DIGEST, data=64)


def test_a_convex_entry_in_one_file() -> None:
    """Its knots, its table, and module buffers if it has any, whose name comes last."""
    plain = ConvexEntry(
        timesteps=5, knots=[0, 4], file="", data=64, table=TableEntry(file="", u=0), digest=DIGEST
    )
    entry = plain.with_files(["knots/a.safetensors"]).with_table("tables/t.h5", {"u": 8, "gram": 16})
    assert entry.weight_files == ["knots/a.safetensors"]
    assert entry.files == {"knots/a.safetensors", "tables/t.h5"}
    assert (entry.table.u, entry.table.gram, entry.table.step_norms) == (8, 16, None)
    assert entry.stored(3) == [ShardEntry(file="knots/a.safetensors", data=64, tensors=6)]
    assert list(entry.stored_timesteps) == [0, 4]


def test_a_convex_entry_in_shards() -> None:
    """Every shard has its own name, and module buffers follow."""
    shards = [ShardEntry(file="", data=64, tensors=2), ShardEntry(file="", data=128, tensors=1)]
    plain = ConvexEntry(
        timesteps=5,
        knots=[0, 4],
        shards=shards,
        table=TableEntry(file="t.h5", u=0),
        digest=DIGEST,
        buffers="",
    )
    entry = plain.with_files(["a", "b", "c"])
    assert entry.weight_files == ["a", "b"]
    assert entry.buffers == "c"
    assert entry.files == {"a", "b", "c", "t.h5"}
    assert [(shard.data, shard.tensors) for shard in entry.stored(3)] == [(64, 2), (128, 1)]


def test_a_full_entry() -> None:
    """All timesteps are in one file."""
    entry = FULL.with_files(["theta/a.h5"])
    assert entry.files == {"theta/a.h5"}
    assert entry.weight_files == ["theta/a.h5"]
    assert list(entry.stored_timesteps) == [0, 1, 2, 3, 4]
    carrying = FullEntry(timesteps=5, file="", digest=DIGEST, data=64, buffers="").with_files(["a", "b"])
    assert (carrying.file, carrying.buffers, carrying.files) == ("a", "b", {"a", "b"})

"""The features that a manifest needs, by what it holds."""

from __future__ import annotations

from trajfmt.schema import features
from trajfmt.schema.entries import ConvexEntry, FullEntry, ShardEntry, TableEntry

DIGEST = "0" * 64


def test_features_of_weights() -> None:
    """Types of 16 bits and every codec but `none` have a name."""
    assert features.of_weights("F32", None) == features.of_weights("F64", "none") == []
    assert features.of_weights("F16", None) == ["dtype.F16"]
    assert features.of_weights("BF16", "archive") == ["codec.archive", "dtype.BF16"]


def test_features_of_an_entry() -> None:
    """Each is named where it is used, in order."""
    full = FullEntry(timesteps=2, file="a.h5", digest=DIGEST, data=0, buffers="b.safetensors")
    assert features.of_entry(full) == ["buffers"]
    entry = ConvexEntry(
        timesteps=2,
        knots=[0, 1],
        shards=[ShardEntry(file="a", data=0, tensors=2)],
        table=TableEntry(file="t.h5", u=0, free=True),
        digest=DIGEST,
        buffers="b.safetensors",
    )
    assert features.of_entry(entry) == ["buffers", "knots.shards", "table.free"]
    plain = ConvexEntry(timesteps=2, knots=[0, 1], table=TableEntry(file="t.h5", u=0), digest=DIGEST)
    assert features.of_entry(plain) == []


def test_unknown_features_are_texts_only() -> None:
    """What is no text is for the check of types."""
    assert features.unknown(["buffers", "tiles", 7, None, "dtype.F8"]) == ["tiles", "dtype.F8"]


def test_a_later_version_may_use_more() -> None:
    """Its lists hold at least what is in use, each once, in order, and where it belongs."""
    needed, more = ["buffers"], ["buffers", "table.free"]
    assert features.fits(needed, needed, features.OF_ENTRY, later=False)
    assert not features.fits(more, needed, features.OF_ENTRY, later=False)
    assert features.fits(more, needed, features.OF_ENTRY, later=True)
    assert features.fits(sorted(features.OF_ENTRY), needed, features.OF_ENTRY, later=True)
    for wrong in ([], ["table.free"], more[::-1], ["buffers", *more], ["buffers", "dtype.F16"]):
        assert not features.fits(wrong, needed, features.OF_ENTRY, later=True)

"""Every codec keeps its side of what `Codec` promises."""

from __future__ import annotations

import numpy as np
import pytest

import trajfmt
from trajfmt.codecs.table import CODECS, DEFAULT
from trajfmt.errors import CorruptError
from trajfmt.schema.features import KNOWN

CHUNKED = [codec for codec in CODECS.values() if codec.chunked]


def test_names_are_those_of_the_specification() -> None:
    """Bundles name them, so they never change; all but the first need a feature of the reader."""
    assert list(CODECS)[:3] == ["none", "zstd", "archive"]
    assert DEFAULT == "none"
    assert {f"codec.{name}" for name in CODECS} - {"codec.none"} == {
        name for name in KNOWN if name.startswith("codec.")
    }


@pytest.mark.parametrize("codec", CHUNKED, ids=lambda codec: codec.name)
@pytest.mark.parametrize("kind", ["<u2", "<u4", "<u8"])
def test_chunks_come_back_bit_for_bit(codec, kind: str) -> None:
    """With the chunks of the timesteps before and without."""
    rng = np.random.default_rng(0)
    first, second, third = rng.integers(0, 2 ** (8 * int(kind[-1]) - 1), (3, 50)).astype(kind)
    for earlier in ([], [second], [second, first]):
        data, slope = codec.encode(third, earlier)
        found = np.empty(50, kind)
        codec.decode(data, found, earlier, slope)
        assert np.array_equal(found, third)


@pytest.mark.parametrize("codec", CHUNKED, ids=lambda codec: codec.name)
def test_chunks_of_another_length_are_refused(codec) -> None:
    """A frame declares its size, and one element more or less is damage."""
    frame = codec.encode(np.arange(50, dtype="<u4"), []).data
    for count in (49, 51):
        with pytest.raises(CorruptError) as caught:
            codec.decode(frame, np.empty(count, "<u4"), [], 0)
        assert caught.value.reason == "chunk_invalid"


@pytest.mark.parametrize("codec", CODECS)
def test_bundles_keep_every_bit(codec: str, tmp_path) -> None:
    """More timesteps than a keyframe apart, read in order and at random."""
    layout = trajfmt.ParamLayout.of([("w", (7, 5))])
    theta = np.random.default_rng(1).standard_normal((20, layout.size)).astype("<f4")
    with trajfmt.create(tmp_path / "a.mtt", layout, encoding="full", codec=codec) as writer:
        writer.add(trajfmt.ArrayTrajectory(theta, layout))
    trajectory = trajfmt.open(tmp_path / "a.mtt", verify=True)[0]
    assert np.array_equal(np.stack(list(trajectory.rows())), theta)
    assert all(np.array_equal(trajectory.at(t), theta[t]) for t in (19, 3, 8))

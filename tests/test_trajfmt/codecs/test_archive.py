"""Integer differences of neighbouring timesteps, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trajfmt.codecs.archive import from_difference, to_difference
from trajfmt.codecs.codec import unsigned

TYPES = ("<f2", "<f4", "<f8")
BITS = st.sampled_from(TYPES).flatmap(
    lambda kind: hnp.arrays(f"<u{kind[-1]}", st.integers(1, 70)).map(lambda bits: bits.view(kind))
)


@pytest.mark.parametrize("kind", TYPES)
def test_difference_is_zigzag_modulo_the_width(kind: str) -> None:
    """0, +1, -1, +2 become 0, 2, 1, 4, and the range wraps around."""
    bits = unsigned(np.dtype(kind))
    top = np.iinfo(bits).max
    previous = np.array([5, 5, 5, 5, 0, top], bits)
    current = np.array([5, 6, 4, 7, top, 0], bits)
    assert to_difference(current, previous).tolist() == [0, 2, 1, 4, 1, 2]


@given(st.sampled_from(TYPES), st.data())
def test_difference_round_trip_keeps_every_bit(kind: str, data: st.DataObject) -> None:
    """Any two bit patterns can be neighbours."""
    bits = unsigned(np.dtype(kind))
    pair = data.draw(hnp.arrays(bits, (2, 9)))
    assert from_difference(to_difference(pair[1], pair[0]), pair[0]).tolist() == pair[1].tolist()

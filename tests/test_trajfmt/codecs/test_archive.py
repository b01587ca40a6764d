"""Predictions from the timesteps before, integer differences from them, and the bytes of a trajectory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trajfmt.codecs.archive import CODEC, SLOPES, best_slope, from_difference, predict, to_difference
from trajfmt.codecs.codec import Bits, Unsigned, unsigned

TYPES = ("<u2", "<u4", "<u8")
SPECIAL = {
    "<u2": [0x0000, 0x8000, 0x0001, 0x8001, 0x7C00, 0xFC00, 0x7E01, 0xFDFF, 0x7BFF, 0x7F80, 0xFF81, 0xFFFF],
    "<u4": [0, 0x80000000, 1, 0x80000001, 0x7F800000, 0xFF800000, 0x7FC00001, 0xFFBFFFFF, 0x7F7FFFFF],
    "<u8": [
        0,
        2**63,
        1,
        2**63 + 1,
        0x7FF << 52,
        0xFFF << 52,
        (0x7FF8 << 48) + 1,
        2**64 - 1,
        (0x7FF << 52) - 1,
    ],
}
"""Zeros, denormal numbers, infinities, NaNs with a payload, and largest numbers, as bits."""


def wrapped(kind: str, values: list[int]) -> Bits:
    """Return integers of either sign modulo the width of a type."""
    return np.array([value % 2 ** (8 * int(kind[-1])) for value in values], kind)


@pytest.mark.parametrize("kind", TYPES)
def test_difference_is_zigzag_modulo_the_width(kind: str) -> None:
    """0, +1, -1, +2 become 0, 2, 1, 4, and the range wraps around."""
    bits = unsigned(np.dtype(kind))
    top = np.iinfo(bits).max
    previous = np.array([5, 5, 5, 5, 0, top], bits)
    current = np.array([5, 6, 4, 7, top, 0], bits)
    assert to_difference(current, previous).tolist() == [0, 2, 1, 4, 1, 2]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    ("slope", "expected"),
    [
        (-1, [98, 101, 100, 100, 99]),
        (0, [100, 100, 100, 100, 100]),
        (1, [101, 98, 100, 99, 100]),
        (2, [103, 96, 100, 99, 101]),
        (3, [105, 94, 100, 99, 102]),
        (4, [107, 93, 100, 99, 103]),
    ],
)
def test_prediction_continues_a_part_of_the_last_step(kind: str, slope: int, expected: list[int]) -> None:
    """Quarters of steps of 7, -7, 0, -1 and 3 are rounded down, those of negative steps too."""
    last, before = wrapped(kind, [100] * 5), wrapped(kind, [93, 107, 100, 101, 97])
    assert predict([last, before], slope).tolist() == expected
    assert predict([last], slope).tolist() == last.tolist()


def test_prediction_wraps_around_as_the_specification_says() -> None:
    """Its two examples; a product that exceeds the width is taken as signed."""
    last, before = np.array([0x3F7FFFF0, 0x40000000], "<u4"), np.array([0x3F800000, 0], "<u4")
    assert predict([last, before], 3).tolist() == [0x3F7FFFE4, 0x30000000]
    assert to_difference(np.array([0x3F7FFFE3], "<u4"), predict([last, before], 3)[:1]).tolist() == [1]


@given(st.sampled_from(TYPES), st.sampled_from(SLOPES), st.data())
def test_every_bit_survives_whatever_came_before(kind: str, slope: int, data: st.DataObject) -> None:
    """Any three bit patterns can follow each other: NaNs with payloads, infinities, -0.0, denormals."""
    bits = unsigned(np.dtype(kind))
    elements = st.one_of(st.sampled_from(SPECIAL[kind]), st.integers(0, int(np.iinfo(bits).max)))
    rows = data.draw(hnp.arrays(bits, (3, 9), elements=elements))
    for earlier in ([rows[1]], [rows[1], rows[0]]):
        predicted = predict(earlier, slope)
        again = to_difference(rows[2], predicted)
        from_difference(again, predicted)
        assert again.tolist() == rows[2].tolist()
        exact = [
            int(a) + ((slope * (int(a) - int(b)) + half(bits)) % (2 * half(bits)) - half(bits)) // 4
            for a, b in zip(earlier[0], earlier[-1], strict=True)
        ]
        assert predicted.tolist() == wrapped(kind, exact).tolist()


def half(bits: Unsigned) -> int:
    """Return half of the number of values of a type."""
    return 2 ** (8 * bits.itemsize - 1)


@pytest.mark.parametrize("kind", TYPES)
def test_special_numbers_survive_a_whole_trajectory(kind: str) -> None:
    """Through frames, at and after a keyframe, with the slope that the encoder chooses."""
    values = np.array(SPECIAL[kind], kind)
    rows = [np.roll(values, shift) for shift in range(5)]
    earlier: list[Bits] = []
    for row in rows:
        data, slope = CODEC.encode(row, earlier)
        found = np.empty_like(row)
        CODEC.decode(data, found, earlier, slope)
        assert found.tolist() == row.tolist()
        earlier = [row, *earlier[:1]]


def test_bytes_of_a_trajectory_are_those_computed_by_hand() -> None:
    """Three timesteps of two elements, which move by 16 and -16 units and then by 13 and -13.

    A frame is a magic number, a descriptor, the size of the content, a raw block for each of the four planes
    of bytes, an empty last block, and four bytes of XXH64. At the keyframe, the planes are those of the
    weights. Then the codes are those of 16 and -16, which are 32 and 31. A slope of 3 quarters predicts steps
    of 12 and -12, and leaves 1 and -1, whose codes are 2 and 1.
    """
    rows = np.array([[0x3F800000, 0xC0000000], [0x3F800010, 0xBFFFFFF0], [0x3F80001D, 0xBFFFFFE3]], "<u4")
    head, zeros, end = "28b52ffd 24 08", "100000 0000", "010000"
    expected = [
        (f"{head} {zeros} {zeros} 100000 8000 100000 3fc0 {end} f0eb55f1", 0),
        (f"{head} 100000 201f {zeros} {zeros} {zeros} {end} 4830ba80", 0),
        (f"{head} 100000 0201 {zeros} {zeros} {zeros} {end} 7958e07e", 3),
    ]
    earlier: list[Bits] = []
    for row, (text, slope) in zip(rows, expected, strict=True):
        data = bytes.fromhex(text)
        assert CODEC.encode(row, earlier) == (data, slope)
        found = np.empty(2, "<u4")
        CODEC.decode(data, found, earlier, slope)
        assert found.tolist() == row.tolist()
        earlier = [row, *earlier[:1]]


@pytest.mark.parametrize(
    ("steps", "slope"),
    [
        ([8, 8], 4),
        ([8, 4], 2),
        ([8, -2], -1),
        ([8, 6], 3),
        ([8, 2], 1),
        ([8, 0], 0),
    ],
)
def test_slope_is_the_one_that_predicts_best(steps: list[int], slope: int) -> None:
    """Steady motion, motion that halves, motion that reverses, and none."""
    start = np.arange(3000, dtype="<u4") * 977 + 2**29
    rows = np.cumsum(
        [start, *(np.full(3000, step % 2**32, "<u4") for step in steps[:2])], axis=0, dtype="<u4"
    )
    assert best_slope(rows[2], [rows[1], rows[0]]) == slope


def test_slope_is_0_where_it_has_no_effect() -> None:
    """At a keyframe and after it, and where nothing moves."""
    row = np.arange(50, dtype="<u4")
    assert [CODEC.encode(row, earlier).slope for earlier in ([], [row + 1], [row, row])] == [0, 0, 0]

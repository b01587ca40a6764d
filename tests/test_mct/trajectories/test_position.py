"""Virtual weights: read and written in any pieces, they are those of eqs. 8 to 10."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mct.trajectories.position import _Pieces, _write_at_once  # noqa: E402
from mct.trajectories.stream import KnotStream  # noqa: E402
from tests.helpers.fakes import bundle_of  # noqa: E402


@pytest.mark.parametrize("layers", ["tensor", "module", "all"])
@pytest.mark.parametrize("knots", [(), (3,), (2, 5)])
@pytest.mark.parametrize("time", [0.0, 0.25, 2.0, 2.5, 4.99, 5.0, 7.75, 8.0])
def test_materialised_position_equals_eqs_8_to_10(layers: str, knots, time: float) -> None:
    """The weights of a position are those of the slow reference, to float32."""
    bundle = bundle_of(knots, layers=layers)
    stream = KnotStream(bundle, expert_steps=1)
    found = stream.materialise(stream.locate(1, time)).numpy()
    np.testing.assert_allclose(found, bundle[1].at(time), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("knots", "time", "knot"), [((3,), 0.0, 0), ((3,), 3.0, 1), ((3,), 8.0, 2),
                                                     (None, 5.0, 5), (None, 8.0, 8)])  # fmt: skip
def test_knot_is_copied_bit_for_bit(knots, time: float, knot: int) -> None:
    """At a knot nothing is computed, and the student's weights are its own copy."""
    bundle = bundle_of(knots)
    stream = KnotStream(bundle, expert_steps=1)
    weights = stream.materialise(stream.locate(0, time))
    assert np.array_equal(weights.numpy(), bundle[0].knot(knot))
    weights.zero_()
    assert bundle[0].knot(knot).any()


def test_neighbours_with_one_position_are_one_run() -> None:
    """A layer of several tensors, and a full bundle as a whole, are read in one piece."""
    assert len(KnotStream(bundle_of(layers="module"), expert_steps=1).locate(0, 2.5).ranges) == 2
    assert len(KnotStream(bundle_of(None), expert_steps=1).locate(0, 2.0).ranges) == 1


@pytest.mark.parametrize("knots", [(), (3,), (2, 5), None])
def test_pieces_of_a_position_are_those_of_the_whole(knots) -> None:
    """Any stretch of elements can be read or written, and is the same bits."""
    stream = KnotStream(bundle_of(knots), expert_steps=1)
    for time in (0.0, 2.0, 3.0, 8.0) if knots is None else (0.0, 1.3, 3.0, 4.7, 8.0):
        position = stream.locate(0, time)
        whole = stream.materialise(position)
        for begin, end in ((0, 32), (0, 1), (14, 16), (15, 20), (3, 31), (31, 32)):
            scratch = torch.full((end - begin,), torch.nan)
            assert torch.equal(position.read(begin, end, scratch), whole[begin:end])
            position.write(begin, end, scratch)
            assert torch.equal(scratch, whole[begin:end])


@pytest.mark.parametrize("time", [0.0, 1.3, 3.0, 4.7, 8.0])
def test_all_runs_at_once_are_the_same_bits(time: float) -> None:
    """What other devices than the CPU do to keep launches few."""
    position = KnotStream(bundle_of((3,)), expert_steps=1).locate(0, time)
    one, other = torch.empty(32), torch.empty(32)
    position.write(0, 32, one)
    _write_at_once(_Pieces(position.knots, position.ranges), other)
    assert torch.equal(one, other)

"""Matching on a part of the parameters, against autograd on the naive formula."""

from __future__ import annotations

from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")
from mct.errors import MismatchError  # noqa: E402
from mct.objectives.dropped import DroppedMatching  # noqa: E402
from mct.objectives.matching import TrajectoryMatching  # noqa: E402
from mct.objectives.objective import Place  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.trajectories.stream import KnotStream  # noqa: E402
from tests.helpers.fakes import bundle_of  # noqa: E402

PLACE = Place(trajectory=1, start=1.5, target=4.5)


def stream_of(**options) -> KnotStream:
    """Return a stream of a bundle in float64."""
    return KnotStream(bundle_of((3,), dtype="float64"), expert_steps=3.0, max_start=2, **options)


@pytest.mark.parametrize("by", ["smallest", "first", "dissimilar"])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.9])
def test_loss_and_adjoint_are_those_of_the_kept_parameters(by: str, share: float) -> None:
    """Both sums run over the same parameters; the order of the step does not matter for the first ones."""
    plain = stream_of()
    size = plain.layout.size
    start = plain.sample(1, 1.5)
    target = plain.materialise(start.target)
    final = (start.weights + torch.randn(size, generator=generator(0)).double()).requires_grad_()
    dropped = int(share * size)
    apart = (final - target).square()
    order = apart.argsort() if by == "smallest" else torch.arange(size)
    kept = order[dropped:]
    if by == "dissimilar":
        ratio = (final / target).abs()
        kept = (torch.minimum(ratio, 1 / ratio) >= share).nonzero()[:, 0]
    expected = apart[kept].sum() / (start.weights - target).square()[kept].sum()
    (slope,) = torch.autograd.grad(expected, final)
    ends = torch.tensor(plain.layout.offsets).tolist()
    back = torch.cat([torch.arange(a, b).flip(0) for a, b in pairwise(ends)])  # within each parameter
    stream = stream_of(arrange=lambda values: values[back])
    sample = DroppedMatching(stream, share, by).begin(PLACE)
    out = torch.empty(size, dtype=torch.float64)
    found = sample.loss_and_adjoint([sample.weights, final.detach()[back]], out=out)
    assert found.adjoint is out
    assert float(found.loss) == pytest.approx(float(expected.detach()), rel=1e-12)
    torch.testing.assert_close(found.adjoint[back], slope, rtol=1e-12, atol=1e-15)


def test_nothing_dropped_is_plain_matching() -> None:
    """To rounding."""
    stream = stream_of()
    sample = TrajectoryMatching(stream).begin(PLACE)
    path = [sample.weights, sample.weights + 0.1]
    expected, found = (
        sample.loss_and_adjoint(path),
        DroppedMatching(stream, 0.0).begin(PLACE).loss_and_adjoint(path),
    )
    assert float(found.loss) == pytest.approx(float(expected.loss), rel=1e-12)
    torch.testing.assert_close(found.adjoint, expected.adjoint, rtol=1e-12, atol=1e-15)


def test_weights_of_size_zero_are_like_each_other_alone() -> None:
    """A student's zero is unlike anything else, and like the target's zero."""
    stream = stream_of()
    sample = DroppedMatching(stream, 0.1, "dissimilar").begin(PLACE)
    final = stream.materialise(stream.locate(1, 4.5)) + 0.01
    final[0] = 0
    found = sample.loss_and_adjoint([sample.weights, final])
    assert found.adjoint.nonzero().flatten().tolist() == list(range(1, stream.layout.size))


def test_a_part_that_stands_still_is_refused() -> None:
    """Its loss is not defined."""
    stream = stream_of()
    sample = DroppedMatching(stream, 0.5, "first").begin(PLACE)
    sample.weights[:] = stream.materialise(stream.locate(1, 4.5))
    with pytest.raises(MismatchError, match="does not move on the parameters that `drop` leaves"):
        sample.loss_and_adjoint([sample.weights, sample.weights + 1])

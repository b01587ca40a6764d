"""Eq. 2 and its first adjoint against the naive formulas."""

import pytest

torch = pytest.importorskip("torch")

from mct.errors import MismatchError  # noqa: E402
from mct.matching import Matcher  # noqa: E402
from mct.seeds import generator  # noqa: E402
from mct.stream import KnotStream  # noqa: E402

from .test_stream import bundle_of  # noqa: E402

CASES = [((), 0.0, 8.0), ((), 1.3, 2.5), ((3,), 1.5, 3.0), ((3,), 2.9, 0.2), ((2, 5), 0.7, 6.1),
         ((2, 5), 5.0, 3.0), (None, 2.0, 3.0), (None, 0.0, 8.0), (None, 7.0, 1.0)]  # fmt: skip


@pytest.mark.parametrize("layers", ["tensor", "module"])
@pytest.mark.parametrize("block", [3, 1 << 18])
@pytest.mark.parametrize(("knots", "start", "steps"), CASES)
def test_loss_and_adjoint_equal_the_naive_formula(knots, start, steps, layers, block) -> None:
    """In float64, with blocks that cut through layers, to 1e-12."""
    bundle = bundle_of(knots, layers=layers, dtype="float64")
    stream = KnotStream(bundle, expert_steps=steps, max_start=start)
    sample = stream.sample(1, start)
    final = sample.weights + torch.randn(len(sample.weights), generator=generator(0)).double()
    target = torch.from_numpy(bundle[1].at(start + steps))
    distance = (torch.from_numpy(bundle[1].at(start)) - target).square().sum()
    found = Matcher(stream, block=block).compare(final, sample)
    expected = 2 * (final - target) / distance
    assert abs(found.loss - float((final - target).square().sum() / distance)) < 1e-12 * found.loss
    assert float((found.adjoint - expected).norm() / expected.norm()) < 1e-12


def test_float32_weights() -> None:
    """In float32 the result is as accurate as float32 allows, and stays float32."""
    bundle = bundle_of((3,))
    stream = KnotStream(bundle, expert_steps=3)
    sample = stream.sample(0, 1.5)
    final = sample.weights + 0.1
    target = torch.from_numpy(bundle[0].at(4.5))
    distance = (torch.from_numpy(bundle[0].at(1.5)) - target).square().sum()
    found = Matcher(stream).compare(final, sample)
    expected = 2 * (final.double() - target) / distance
    assert found.adjoint.dtype == torch.float32
    assert float((found.adjoint - expected).norm() / expected.norm()) < 1e-6
    assert found.loss == pytest.approx(float((final - target).square().sum() / distance), rel=1e-6)


def test_student_that_stays_has_loss_one_and_one_that_arrives_zero() -> None:
    """The two closed forms of eq. 2."""
    stream = KnotStream(bundle_of((3,), dtype="float64"), expert_steps=3)
    sample, matcher = stream.sample(0, 1.5), Matcher(stream)
    assert matcher.compare(sample.weights, sample).loss == pytest.approx(1, rel=1e-12)
    arrived = matcher.compare(stream.materialise(sample.target), sample)
    assert arrived.loss == 0
    assert not arrived.adjoint.any()


def test_comparison_materialises_nothing() -> None:
    """Neither loss nor adjoint nor distance makes weights of the target."""
    stream = KnotStream(bundle_of((3,)), expert_steps=3)
    sample, matcher = stream.sample(0, 1.5), Matcher(stream)
    for _ in range(3):
        matcher.compare(sample.weights, sample)
    assert stream.materialised == 1


def test_inner_products_are_computed_once(monkeypatch) -> None:
    """A later sample of the same stretches reads no knots for its distance."""
    stream = KnotStream(bundle_of((3,)), expert_steps=3)
    matcher, calls = Matcher(stream), []
    inner = matcher._inner
    monkeypatch.setattr(matcher, "_inner", lambda *key: calls.append(key) or inner(*key))
    for start in (1.0, 1.5, 2.5, 4.0):
        sample = stream.sample(0, start)
        matcher.compare(sample.weights, sample)
    assert sorted(calls) == [(0, 0, 0), (0, 0, 1), (0, 1, 1)]


def test_trajectory_that_stands_still_is_refused() -> None:
    """Aliased timesteps give D = 0; the message names trajectory and times."""
    bundle = bundle_of(None)
    bundle[1].theta[:] = bundle[1].theta[0]
    stream = KnotStream(bundle, expert_steps=2)
    sample = stream.sample(1, 3)
    with pytest.raises(MismatchError, match="trajectory 1 does not move between timesteps 3 and 5"):
        Matcher(stream).compare(sample.weights, sample)

"""Eq. 2 and its first adjoint against the naive formulas."""

import math
import tracemalloc

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

import trajfmt  # noqa: E402
from mct.errors import CorruptError, MismatchError  # noqa: E402
from mct.objectives.matching import Matcher, _norms  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.trajectories.stream import KnotStream  # noqa: E402
from tests.helpers.fakes import (  # noqa: E402
    bundle_of,
    random_walk,
)

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
    assert found.loss.dtype == torch.float64
    assert float(found.loss) == pytest.approx(float((final - target).square().sum() / distance), rel=1e-6)


def test_student_that_stays_has_loss_one_and_one_that_arrives_zero() -> None:
    """The two closed forms of eq. 2."""
    stream = KnotStream(bundle_of((3,), dtype="float64"), expert_steps=3)
    sample, matcher = stream.sample(0, 1.5), Matcher(stream)
    assert float(matcher.compare(sample.weights, sample).loss) == pytest.approx(1, rel=1e-12)
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


class Count:
    """Calls of a matcher's pass over knots."""

    def __init__(self, matcher: Matcher, monkeypatch) -> None:
        self.pairs: list[tuple[tuple[int, int], ...]] = []
        inner = matcher._inner

        def counted(knots, pairs, begin, end):
            self.pairs.append(pairs)
            return inner(knots, pairs, begin, end)

        monkeypatch.setattr(matcher, "_inner", counted)


def test_inner_products_are_computed_once(monkeypatch) -> None:
    """A later sample between the same knots reads none for its distance."""
    stream = KnotStream(bundle_of((3,), layers="all"), expert_steps=3)
    matcher = Matcher(stream)
    count = Count(matcher, monkeypatch)
    for start in (1.0, 1.5, 2.5, 3.0, 3.5, 4.0, 0.0, 4.9):
        sample = stream.sample(0, start)
        matcher.compare(sample.weights, sample)
    assert count.pairs == [((0, 1), (1, 2)), ((1, 2),), ((0, 1),)]


def test_distance_between_far_timesteps_needs_two_knots(monkeypatch) -> None:
    """In a full bundle D is one pass over two timesteps, whatever lies between."""
    stream = KnotStream(bundle_of(None, last=40), expert_steps=30)
    matcher = Matcher(stream)
    count = Count(matcher, monkeypatch)
    sample = stream.sample(0, 3.0)
    assert {**sample.start.knots, **sample.target.knots}.keys() == {3, 33}
    matcher.compare(sample.weights, sample)
    assert count.pairs == [((3, 33),)]


@pytest.mark.parametrize("layers", ["tensor", "module", "all"])
@pytest.mark.parametrize(("knots", "start", "steps"), [*CASES, ((2, 3, 4, 6), 1.1, 6.3), ((3,), 0.0, 3.0)])
def test_distance_is_that_of_the_weights(knots, start, steps, layers) -> None:
    """D from inner products and D from the weights themselves, in float64, both ways round."""
    bundle = bundle_of(knots, layers=layers, dtype="float64")
    stream = KnotStream(bundle, expert_steps=steps, max_start=start)
    sample = stream.sample(1, start)
    expected = float(np.square(bundle[1].at(start) - bundle[1].at(start + steps)).sum())
    matcher = Matcher(stream, block=4)
    assert matcher.squared_distance(sample.start, sample.target) == pytest.approx(expected, rel=1e-12)
    assert matcher.squared_distance(sample.target, sample.start) == pytest.approx(expected, rel=1e-12)
    assert matcher.squared_distance(sample.start, sample.start) == 0


def test_distance_of_neighbours_does_not_cancel() -> None:
    """Just before and just after a knot: D is 1e-16 of the segments' own lengths, and still right."""
    bundle = bundle_of((3,), layers="all", dtype="float64")
    stream = KnotStream(bundle, expert_steps=2e-8)
    sample = stream.sample(0, 3 - 1e-8)
    (u, v), (s, t) = (
        (sample.start.weight, sample.target.weight),
        (sample.start.segment, sample.target.segment),
    )
    assert (s[0], t[0]) == (0, 1)
    before, at, after = (bundle[0].theta[k] for k in (0, 3, 8))
    expected = float(np.square((1 - u[0]) * (at - before) + v[0] * (after - at)).sum())
    found = Matcher(stream).squared_distance(sample.start, sample.target)
    assert found == pytest.approx(expected, rel=1e-12)


def test_adjoint_is_written_where_the_caller_wants_it() -> None:
    """`out` becomes the adjoint, and nothing else of that size is made."""
    stream = KnotStream(bundle_of((3,)), expert_steps=3)
    sample, matcher = stream.sample(0, 1.5), Matcher(stream)
    final, out = sample.weights + 0.1, torch.empty(32)
    expected = matcher.compare(final, sample)
    found = matcher.compare(final, sample, out=out)
    assert found.adjoint is out
    assert torch.equal(out, expected.adjoint)
    assert torch.equal(found.loss, expected.loss)


def test_adjoint_is_in_the_order_of_the_step() -> None:
    """Arranged knots give arranged adjoints, and the same loss."""
    order = torch.cat([torch.arange(15).flip(0), torch.arange(15, 20), torch.arange(20, 30).flip(0),
                       torch.arange(30, 32)])  # fmt: skip
    bundle = bundle_of((3,), dtype="float64")
    plain = KnotStream(bundle, expert_steps=3)
    packed = KnotStream(bundle, expert_steps=3, arrange=lambda weights: weights[order])
    one, two = plain.sample(0, 1.5), packed.sample(0, 1.5)
    assert torch.equal(two.weights, one.weights[order])
    final = one.weights + torch.randn(32, generator=generator(1)).double()
    match, arranged = Matcher(plain).compare(final, one), Matcher(packed).compare(final[order], two)
    assert torch.allclose(arranged.adjoint, match.adjoint[order], rtol=1e-13, atol=0)
    assert float(arranged.loss) == pytest.approx(float(match.loss), rel=1e-13)


def test_final_weights_with_a_graph() -> None:
    """A student that is part of a graph is compared like any other."""
    stream = KnotStream(bundle_of((3,)), expert_steps=3)
    sample = stream.sample(0, 1.5)
    final = (sample.weights + 0.1).requires_grad_()
    match = Matcher(stream).compare(final, sample)
    assert not match.adjoint.requires_grad
    assert not match.loss.requires_grad


@pytest.mark.parametrize("length", [1, 1025, 65_535, 65_536, 300_000])
def test_squared_norm_has_the_precision_of_float64(length: int) -> None:
    """Summing float32 squares in float32 would be wrong in the sixth digit for the longest of these."""
    vector = torch.randn(length, generator=generator(0))
    found = sum(float(part.double().square().sum()) for part in _norms(vector))
    assert found == pytest.approx(float(vector.double().square().sum()), rel=2e-8)


def test_weights_that_are_not_finite_are_named() -> None:
    """NaN in a knot: the message names the trajectory."""
    bundle = bundle_of(None)
    bundle[1].theta[5, 3] = math.nan
    stream = KnotStream(bundle, expert_steps=2)
    with pytest.raises(CorruptError, match="trajectory 1 has weights that are not finite"):
        Matcher(stream).distance(stream.sample(1, 3))


class Sizes(TorchDispatchMode):
    """Elements of every tensor that any operation makes, views and given outputs aside."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run the operation and note what it allocates."""
        given = {t.untyped_storage().data_ptr() for t in _tensors((args, kwargs or {}))}
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            if tensor.untyped_storage().data_ptr() not in given:
                self.made.append(tensor.numel())
        return result


def _tensors(tree):
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from _tensors(value)
    elif isinstance(tree, (tuple, list)):
        for value in tree:
            yield from _tensors(value)


def outer(stream: KnotStream, matcher: Matcher, start: float) -> None:
    """Do what an outer step does with the interpolator."""
    sample = stream.sample(0, start)
    matcher.compare(sample.weights + 0.1, sample)


@pytest.mark.parametrize("encoding", ["convex", "full"])
def test_allocations_do_not_grow_with_the_timesteps(tmp_path, encoding) -> None:
    """5 timesteps and 500: the same tensors are made, and Python allocates the same bytes."""
    shapes = [("a.weight", (100, 200)), ("a.bias", (200,))]
    layout, size = trajfmt.ParamLayout.of(shapes), 20_200
    made, peaks = [], []
    for last in (4, 499):
        path = tmp_path / f"{last}.{'mct' if encoding == 'convex' else 'mtt'}"
        with trajfmt.create(path, layout, encoding=encoding) as writer:
            writer.add(trajfmt.ArrayTrajectory(random_walk(layout, last), layout))
        with trajfmt.open(path) as bundle:
            stream = KnotStream(bundle, expert_steps=3)
            matcher = Matcher(stream, block=4096)
            with Sizes() as sizes:
                outer(stream, matcher, 1.0)
            made.append(sizes.made)
            tracemalloc.start()
            outer(stream, matcher, 1.0)
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            outer(stream, matcher, 1.0)
            peaks.append(tracemalloc.get_traced_memory()[1] - before)
            tracemalloc.stop()
    assert made[0] == made[1]
    assert [number for number in made[0] if number > 8192] == [size] * 3  # start, student's end, adjoint
    assert abs(peaks[0] - peaks[1]) < 2000


def test_trajectory_that_stands_still_is_refused() -> None:
    """Aliased timesteps give D = 0; the message names trajectory and times."""
    bundle = bundle_of(None)
    bundle[1].theta[:] = bundle[1].theta[0]
    stream = KnotStream(bundle, expert_steps=2)
    sample = stream.sample(1, 3)
    with pytest.raises(MismatchError, match="trajectory 1 does not move between timesteps 3 and 5"):
        Matcher(stream).compare(sample.weights, sample)

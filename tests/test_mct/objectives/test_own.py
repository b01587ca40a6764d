"""Objectives from a loss function in plain torch."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from mct.errors import ConfigError  # noqa: E402
from mct.objectives.matching import TrajectoryMatching  # noqa: E402
from mct.objectives.objective import Place  # noqa: E402
from mct.objectives.own import by_autograd  # noqa: E402
from mct.trajectories.stream import KnotStream  # noqa: E402
from tests.helpers.fakes import bundle_of  # noqa: E402

PLACE = Place(trajectory=1, start=1.5, target=4.5, step=7)


@pytest.fixture
def stream() -> KnotStream:
    """Return a stream of a bundle in float64."""
    return KnotStream(bundle_of((3,), dtype="float64"), expert_steps=3.0, max_start=2)


def judged(stream: KnotStream, loss, **options):
    """Return what an objective says of a way of two updates."""
    sample = by_autograd(loss)(stream).begin(PLACE)
    path = [sample.weights, sample.weights + 0.1, sample.weights - 0.2]
    return path, sample.loss_and_adjoint(path, **options)


def test_matching_written_down_is_matching(stream: KnotStream) -> None:
    """Loss and adjoint, which is written where it is asked for."""
    expected = TrajectoryMatching(stream).begin(PLACE)
    out = torch.empty(stream.layout.size, dtype=torch.float64)
    path, found = judged(
        stream,
        lambda way: (way.final - way.target).square().sum() / (way.start - way.target).square().sum(),
        out=out,
    )
    end = expected.loss_and_adjoint(path)
    assert found.adjoint is out
    assert found.earlier == {}
    assert float(found.loss) == pytest.approx(float(end.loss), rel=1e-12)
    torch.testing.assert_close(found.adjoint, end.adjoint, rtol=1e-12, atol=1e-15)


def test_a_loss_sees_parameters_steps_and_the_whole_way(stream: KnotStream) -> None:
    """Only what it depends on has an adjoint."""

    def loss(way):
        assert (way.step, way.place) == (7, PLACE)
        parts = way.parameters(way.path[1])
        assert list(parts) == ["a.weight", "a.bias", "b.weight", "b.bias"]
        return 3 * parts["a.bias"].sum()

    _, found = judged(stream, loss)
    assert found.adjoint is None
    (slope,) = found.earlier.values()
    assert slope.tolist() == [0.0] * 15 + [3.0] * 5 + [0.0] * 12


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda _: 1.0, "got float"),
        (lambda way: way.final, r"got a tensor \(32,\)"),
        (lambda way: way.target.sum(), "got one that does not depend on the student"),
        (lambda _: 1 / 0, "<lambda> raised ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_no_loss_is_refused(stream: KnotStream, loss, words: str) -> None:
    """One line says what it must return."""
    with pytest.raises(ConfigError, match=words):
        judged(stream, loss)

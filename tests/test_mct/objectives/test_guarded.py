"""Mistakes in a class of one's own are one line; errors of this project stay as they are."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from mct.errors import ConfigError, CorruptError  # noqa: E402
from mct.objectives.guarded import Guarded, guarded, made  # noqa: E402
from mct.objectives.matching import TrajectoryMatching  # noqa: E402
from mct.objectives.objective import LossAndAdjoint, Place  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.trajectories.stream import KnotStream  # noqa: E402
from tests.helpers.fakes import bundle_of  # noqa: E402

PLACE = Place(trajectory=0, start=0.0, target=2.0)


class Own:
    """An objective whose methods can be replaced."""

    largest_loss = 10.0

    def __init__(self, **methods: Any) -> None:
        for name, value in methods.items():
            setattr(self, name, value)

    def draw(self, _generator: torch.Generator, _step: int) -> Any:
        """Return always the same place."""
        return PLACE

    def expect(self, _place: Place) -> None:
        """Load nothing."""

    def begin(self, _place: Place, *, out: Any = None) -> Any:
        """Return a sample that starts at zero."""
        del out
        return self

    weights: Any = torch.zeros(4)

    def loss_and_adjoint(self, path: Any, *, out: Any = None) -> Any:
        """Return the sum of the weights."""
        del out
        return LossAndAdjoint(path[-1].sum(), torch.ones(4))


def _run(own: Own) -> LossAndAdjoint:
    objective = guarded(own)  # type: ignore[arg-type]
    place = objective.draw(generator(0), 0)
    objective.expect(place)
    sample = objective.begin(place)
    return sample.loss_and_adjoint([sample.weights, sample.weights + 1])


def test_what_is_right_goes_through() -> None:
    """Loss and derivative are those of the class, and an objective of this package is not wrapped."""
    found = _run(Own())
    assert float(found.loss) == 4.0
    assert found.adjoint is not None
    assert found.adjoint.tolist() == [1.0] * 4
    stream = KnotStream(bundle_of((3,)), expert_steps=1, max_start=1)
    assert type(made(partial(TrajectoryMatching), stream)) is TrajectoryMatching
    assert type(made(lambda _: Own(), stream)) is Guarded  # type: ignore[arg-type, return-value]
    stream.close()


def _raising(error: Exception) -> Any:
    def fail(*_arguments: Any, **_options: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    ("methods", "line"),
    [
        ({"draw": _raising(KeyError("c"))}, r"^`method`: Own\.draw raised KeyError: 'c'$"),
        ({"draw": lambda *_: (0, 1.0)}, r"^`method`: Own\.draw must return a Place, got tuple$"),
        ({"expect": _raising(ValueError("no\nsecond line"))}, r"Own\.expect raised ValueError: no$"),
        ({"begin": lambda *_, **__: None}, r"Own\.begin raised AttributeError"),
        ({"weights": [0.0]}, r"whose `weights` are a tensor \(P,\), got list$"),
        ({"loss_and_adjoint": lambda *_, **__: 3.0}, "must return a LossAndAdjoint, got float$"),
        (
            {"loss_and_adjoint": lambda *_, **__: LossAndAdjoint(1.0, torch.ones(4, dtype=torch.float64))},
            r"derivatives \(4,\) of torch.float32, got a tensor \(4,\) of torch.float64$",
        ),
        (
            {"loss_and_adjoint": lambda *_, **__: LossAndAdjoint(1.0, None, {1: torch.ones(3)})},
            r"got a tensor \(3,\) of torch.float32$",
        ),
        (
            {"loss_and_adjoint": lambda *_, **__: LossAndAdjoint(torch.ones(2), None)},
            r"must return a number as the loss, got a tensor \(2,\)",
        ),
    ],
)
def test_mistakes_are_one_line(methods: dict[str, Any], line: str) -> None:
    """With the class, the method, and what was found."""
    with pytest.raises(ConfigError, match=line):
        _run(Own(**methods))


def test_other_errors_stay_as_they_are() -> None:
    """Those of a damaged bundle, of files, and exhausted memory, which the outer loop meets."""
    for error in (CorruptError("damaged"), OSError("no disk"), MemoryError()):
        with pytest.raises(type(error)):
            _run(Own(draw=_raising(error)))


def test_a_class_without_what_is_needed_is_refused() -> None:
    """At once where it is no objective, and a teacher where labels need one."""
    with pytest.raises(ConfigError, match="the objective object has no `largest_loss`"):
        guarded(object())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="the objective Own has no method `teacher`"):
        guarded(Own()).teacher(PLACE)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="raised TypeError"):
        made(_raising(TypeError("takes two")), None)

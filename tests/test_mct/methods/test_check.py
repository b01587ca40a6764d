"""Every method, ours too, has exact gradients; one that has not is found out."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
from mct.errors import ConfigError  # noqa: E402
from mct.inner.optimizers.momentum import Momentum  # noqa: E402
from mct.methods import check  # noqa: E402
from mct.methods.recipe import Recipe  # noqa: E402
from mct.objectives.matching import TrajectoryMatching  # noqa: E402
from mct.objectives.objective import LossAndAdjoint  # noqa: E402
from mct.objectives.own import by_autograd  # noqa: E402
from mct.settings.config import DistillConfig  # noqa: E402

METHODS = {
    "matching": {},
    "nearest": {"end": "nearest"},
    "dropped smallest": {"drop": 0.5},
    "dropped first": {"drop": 0.25, "drop_by": "first"},
    "real": {"objective": "real", "fresh_starts": 1.0, "real_batch": 20},
    "dropped dissimilar, noisy start": {"drop": 0.5, "drop_by": "dissimilar", "start_noise": 0.1},
}


@pytest.mark.parametrize("name", METHODS)
def test_built_in_methods_are_exact(name: str) -> None:
    """Images, learning rate and labels to 1e-10 for N of 1, 5 and 30, with both kinds of steps."""
    found = list(check.check_method(Recipe(name=name), DistillConfig(**METHODS[name])))
    assert [(each.engine, each.updates) for each in found] == [
        (engine, updates) for engine in ("eager", "compiled") for updates in (1, 5, 30)
    ]
    for each in found:
        assert each.exact, each


INNER = {
    "momentum": {"inner_momentum": 0.9, "inner_decay": 5e-4},
    "adam": {"inner_optimizer": "adam"},
    "adam, window": {"inner_optimizer": "adam", "inner_decay": 5e-4, "window": 3},
    "window": {"window": 3},
}


@pytest.mark.parametrize("name", INNER)
def test_every_inner_loop_is_exact(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a loss of the last weights and of earlier ones, also of weights before the window."""
    monkeypatch.setattr(check, "UPDATES", (1, 6))

    def loss(way):
        ends = (way.final, way.path[len(way.path) // 3], way.path[-2])
        return sum((theta - way.target).square().sum() for theta in ends)

    for each in check.check_method(
        Recipe(name=name, objective=by_autograd(loss)), DistillConfig(**INNER[name])
    ):
        assert each.exact, each


def test_a_wrong_adjoint_of_the_inner_loop_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose momentum is forgotten on the way back."""
    monkeypatch.setattr(check, "UPDATES", (3,))
    right = Momentum.adjoint

    def forgetful(self, *given):
        pulled = right(self, *given)
        return replace(pulled, slots=tuple(torch.zeros_like(each) for each in pulled.slots))

    monkeypatch.setattr(Momentum, "adjoint", forgetful)
    for each in check.check_method(Recipe(name="matching"), DistillConfig(inner_momentum=0.9)):
        assert each.images > 1e-3
        assert not each.exact


def test_loss_of_the_whole_way_is_exact() -> None:
    """Autograd's adjoints at every step."""

    def loss(way):
        scale = (way.start - way.target).square().sum()
        return sum((theta - way.target).square().sum() / scale for theta in way.path[1:])

    for each in check.check_method(Recipe(name="own", objective=by_autograd(loss)), DistillConfig()):
        assert each.exact, each


def test_a_wrong_adjoint_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is half of what it should be."""
    monkeypatch.setattr(check, "UPDATES", (2,))

    class Half(TrajectoryMatching):
        def begin(self, place, /, *, out=None):
            sample = super().begin(place, out=out)

            class Halved:
                weights = sample.weights

                def loss_and_adjoint(self, path, /, *, out=None):
                    end = sample.loss_and_adjoint(path, out=out)
                    return LossAndAdjoint(end.loss, end.adjoint / 2)

            return Halved()

    for each in check.check_method(Recipe(name="half", objective=Half), DistillConfig()):
        assert each.adjoints > 0.1
        assert each.images < 1e-10  # of what the objective gives
        assert not each.exact


def test_objective_without_an_adjoint_cannot_be_checked() -> None:
    """It leaves its sample out."""

    class Nothing(TrajectoryMatching):
        def begin(self, place, /, *, out=None):
            sample = super().begin(place, out=out)

            class Idle:
                weights = sample.weights

                def loss_and_adjoint(self, _path, /, **_):
                    return LossAndAdjoint(1.0, None)

            return Idle()

    with pytest.raises(ConfigError, match="leaves the sample out"):
        next(check.check_method(Recipe(name="nothing", objective=Nothing), DistillConfig()))

"""Where a run ends, and what keeps it from starting."""

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from mct.distillation import guards  # noqa: E402
from mct.distillation import state as states  # noqa: E402
from mct.distillation.folder import RunFolder  # noqa: E402
from mct.distillation.loop import distill  # noqa: E402
from mct.errors import ConfigError, DivergedError  # noqa: E402
from mct.inner.unroll import Gradients  # noqa: E402
from mct.results import synthetic  # noqa: E402
from tests.helpers.distilling import CONFIG, StubEngine, distiller_of, run_whole  # noqa: E402
from trajfmt.bundle import Numbering  # noqa: E402


@pytest.mark.parametrize(("engine", "cause"), [
    (StubEngine(loss=float("nan")), "the loss is nan"),
    (StubEngine(loss=float("inf")), "the loss is inf"),
    (StubEngine(image=float("nan")), "a gradient is not finite"),
    (StubEngine(slope=float("inf")), "a gradient is not finite"),
    (StubEngine(image=3e38), "the images are no longer finite"),
    (StubEngine(slope=1e6), "the learning rate became -"),
    (StubEngine(slope=-1e6), "the learning rate became 100"),
    (StubEngine(loss=2e4), "the loss is 20000: the student runs away"),
])  # fmt: skip
def test_divergence_stops_and_keeps_the_last_state(
    tmp_path: Path, bundle, digits, model, engine, cause
) -> None:
    """The error names step and cause; the last good state is kept, and no result is claimed yet."""
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(DivergedError, match=f"outer step 1: {cause}"):
        for _ in distill(distiller_of(bundle, digits, model, unroll=engine), folder):
            pass
    assert states.load(folder.state).step == 0
    assert not folder.result.exists()


def test_diverged_run_continues_with_another_rate(tmp_path: Path, bundle, digits, model) -> None:
    """The error says where the last good state is; what was changed from there is on record."""
    folder = RunFolder(tmp_path / "run")

    class Growing(StubEngine):
        def gradients(self, problem, terminal) -> Gradients:
            self.slope = self.slope * 1e7 if self.slope > 1 else self.slope + 1
            return super().gradients(problem, terminal)

    wild = Growing(slope=0.0)
    with pytest.raises(DivergedError) as caught:
        run_whole(distiller_of(bundle, digits, model, unroll=wild), folder)
    assert str(caught.value).startswith("outer step 3: the learning rate became -")
    assert f"{folder.state} holds the state of step 2" in str(caught.value)
    assert synthetic.load(folder.result).origin.outer_step == 2
    calmer = replace(CONFIG, lr_lr=1e-9, lr_img=5.0)
    run_whole(distiller_of(bundle, digits, model, calmer, unroll=StubEngine()), folder, resume=True)
    origin = synthetic.load(folder.result).origin
    assert (origin.outer_step, origin.config.lr_lr) == (6, 1e-9)
    assert origin.changes == (
        synthetic.Change(step=2, setting="lr_img", before=10.0, after=5.0),
        synthetic.Change(step=2, setting="lr_lr", before=1e-4, after=1e-9),
    )


def test_published_growth_is_no_alarm(bundle, digits, model) -> None:
    """A learning rate ten times the initial one, and a loss above 1, go on."""
    distiller = distiller_of(bundle, digits, model, unroll=StubEngine(loss=50.0, slope=-1800.0))
    _, event = distiller.step(distiller.initial())
    assert event.learning_rate == pytest.approx(0.2)


def test_more_images_than_a_class_has_are_refused_at_once(bundle, digits, model) -> None:
    """Before anything is computed; held-out images do not count."""
    least = int(torch.bincount(digits.train_labels).min())
    with pytest.raises(ConfigError, match=rf"`ipc` is {least}, but class '\d' has only \d+ .* held-out"):
        distiller_of(bundle, digits, model, replace(CONFIG, ipc=least))
    distiller_of(bundle, digits, model, replace(CONFIG, ipc=least, select="test"))


def _numbering(kind=None, numbers=None, every=None, first=None):
    return Numbering(kind=kind, numbers=numbers, every=every, first=first, alike=True)


@pytest.mark.parametrize(("numbering", "what"), [
    (_numbering("step", (0, 9), 1, 0), "are one step each;"),
    (_numbering("epoch", (0, 90), 10, 0), "are 10 epochs each;"),
    (_numbering("epoch", (20, 29), 1, 20), "are one epoch each, from epoch 20 on;"),
    (_numbering("epoch", (0, 28), None, 0), "are epochs 0 to 28, unevenly spaced;"),
    (_numbering(None, (0, 210), 21, 0), "are numbers 0 to 210, 21 apart;"),
])  # fmt: skip
def test_defaults_in_epochs_are_refused_for_other_timesteps(numbering, what) -> None:
    """M = 6 epochs is not M = 6 steps; a user who states the window is believed."""
    with pytest.raises(ConfigError, match=f"{what}.* give --expert-steps and --max-start"):
        guards.check_unit(numbering, {})
    with pytest.raises(ConfigError, match="give --max-start, in timesteps"):
        guards.check_unit(numbering, {"expert_steps": 2})
    given = {"expert_steps": 2, "max_start": 3}
    guards.check_unit(numbering, given)
    guards.check_unit(numbering, given, CONFIG)
    with pytest.raises(ConfigError, match="give --min-start, in timesteps"):
        guards.check_unit(numbering, given, replace(CONFIG, min_start=1.0))


def test_defaults_in_epochs_hold_for_epochs_and_for_what_is_unknown() -> None:
    """A bundle that says nothing about its timesteps is used as before."""
    guards.check_unit(_numbering("epoch", (0, 9), 1, 0), {})
    guards.check_unit(_numbering(None, (0, 9), 1, 0), {})
    guards.check_unit(_numbering(), {})

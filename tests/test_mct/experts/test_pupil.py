"""Experts that are stopped within their training, and continue from the saved state bit for bit."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.data.datasets import Dataset  # noqa: E402
from mct.data.difficulty import ordered  # noqa: E402
from mct.errors import DivergedError  # noqa: E402
from mct.events import ExpertContinued, ExpertDone  # noqa: E402
from mct.experts import pupil, recording, train  # noqa: E402
from mct.experts.states import ExpertFile, Saved  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.settings.expert import ExpertConfig  # noqa: E402
from tests.helpers.pupils import Kept  # noqa: E402
from trajfmt.torch import layout_of  # noqa: E402
from trajfmt.trajectory import PathRecorder  # noqa: E402

RECIPE = {"experts": 2, "epochs": 5, "lr": 0.05, "batch_size": 500, "momentum": 0.5, "lr_decay": True,
          "augment": "none"}  # fmt: skip
"""Three updates in an epoch; after epoch 4, the step size is divided by ten."""


class Stopping(ExpertFile):
    """Files of a process that ends after so many updates, of which only the last state is written."""

    left = 0

    def save(self, saved: Saved) -> None:
        """Save a state, if it is the last one."""
        Stopping.left -= 1
        if Stopping.left == 0:
            super().save(saved)
        if Stopping.left <= 0:
            raise KeyboardInterrupt


def run(folder: Path, digits: Dataset, model: trajfmt.Model, store: Kept, kind=ExpertFile, **options) -> list:
    """Train two experts whose state is saved after every update."""
    settings = {key: options.pop(key) for key in list(options) if key in ExpertConfig.__dataclass_fields__}
    keeping = options.pop("every", 0)

    def files(number: int) -> pupil.Keeping:
        return pupil.Keeping(file=kind(folder / "a.mtt", number, b"one"), every=keeping)

    config = ExpertConfig(**RECIPE | settings)
    if config.curriculum:
        options["order"] = ordered(digits.train_images[:, 0, 3, 3], digits.train_labels, 10)
    return list(train.train_experts(digits, model, config, store, keeping=files, **options))


@pytest.mark.parametrize(("name", "options"), [
    ("ConvNetD1W4", {"augment": "flip_crop", "sharpness": 0.1, "surrogate_gap": 0.3, "curriculum": "pad"}),
    ("ConvNetD1W4", {"at_once": 2, "steps_per_timestep": 2}),
    ("ConvNetD1W4BN", {"steps_per_timestep": 2}), ("ConvNetD1W4BN", {"at_once": 2}),
])  # fmt: skip
def test_stopped_after_any_update(tmp_path: Path, digits: Dataset, name: str, options) -> None:
    """What is recorded has the same bits, as have the events, however often and wherever it stops."""
    model = networks.parse(name, channels=1, image_size=8, classes=10)
    whole = Kept()
    expected = run(tmp_path / "whole", digits, model, whole, every=1e9, **options)
    for stops in ((1, 2), (3, 9), (13,)):
        found = Kept()
        for stop in stops:
            Stopping.left = stop
            with pytest.raises(KeyboardInterrupt):
                run(tmp_path, digits, model, found, Stopping, **options)
        events = run(tmp_path, digits, model, found, every=1e9, **options)
        assert isinstance(events[0], ExpertContinued)
        for theta, other in zip(found.theta, whole.theta, strict=True):
            assert np.array_equal(theta, other)
        ends = [event for event in events if isinstance(event, ExpertDone)]
        assert ends == [event for event in expected if isinstance(event, ExpertDone)][-len(ends) :]
        for left in tmp_path.glob(".a.mtt.*"):
            left.unlink()


def test_convexified_recording_continues(tmp_path: Path, digits: Dataset, model: trajfmt.Model) -> None:
    """Knots and step norms of a recorder that never holds all timesteps."""
    layout = layout_of(networks.build(model, generator=torch.Generator()))

    class Convex(Kept):
        def __init__(self) -> None:
            super().__init__()
            self.recorder = lambda: PathRecorder(layout, knots=(1, 3), smooth=True)  # type: ignore[assignment]

        def keep(self, recorder) -> None:
            kept = recording.ready(recorder)
            self.theta.append(np.concatenate([*kept.rows, kept.measured.step_norms.ravel()]))

    whole, found = Convex(), Convex()
    run(tmp_path / "whole", digits, model, whole, every=1e9)
    for stop in (4, 6):
        Stopping.left = stop
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, digits, model, found, Stopping)
    run(tmp_path, digits, model, found, every=1e9)
    assert [theta.tobytes() for theta in found.theta] == [theta.tobytes() for theta in whole.theta]


def interrupting(count: int) -> type[ExpertFile]:
    """Return files of which the given save brings a signal instead; only later ones are written."""

    class Interrupting(ExpertFile):
        saves = 0

        def save(self, saved: Saved) -> None:
            Interrupting.saves += 1
            if Interrupting.saves == count:
                os.kill(os.getpid(), signal.SIGINT)
            elif Interrupting.saves > count:  # those that the signal has caused
                super().save(saved)

    return Interrupting


@pytest.mark.parametrize("at_once", [1, 2])
def test_signal_ends_training_between_two_updates(
    tmp_path: Path, digits: Dataset, model: trajfmt.Model, at_once: int
) -> None:
    """The state that it leaves continues bit for bit, also of experts that other threads train."""
    whole, found = Kept(), Kept()
    run(tmp_path / "whole", digits, model, whole, every=1e9)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, digits, model, found, interrupting(5), at_once=at_once)
    assert len(list(tmp_path.glob(".a.mtt.*.state"))) == at_once
    run(tmp_path, digits, model, found, at_once=at_once, every=1e9)
    assert [theta.tobytes() for theta in found.theta] == [theta.tobytes() for theta in whole.theta]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that sets how much every look at the clock takes."""
    now, step = [0.0], [0.0]

    def look() -> float:
        now[0] += step[0]
        return now[0]

    def advance(seconds: float) -> None:
        step[0] = seconds

    monkeypatch.setattr(pupil.time, "monotonic", look)
    return advance


@pytest.mark.parametrize(("seconds", "kept"), [(1.0, 0), (30.0, 1)])
def test_interruption_saves_what_took_a_minute(
    tmp_path: Path, digits: Dataset, model: trajfmt.Model, clock, seconds: float, kept: int
) -> None:
    """A command that is stopped soon leaves nothing; with 2 looks at the clock, 30 s each are a minute."""
    clock(seconds)
    file = ExpertFile(tmp_path / "a.mtt", 0, b"one")
    events = train.train_experts(
        digits, model, ExpertConfig(**RECIPE), Kept(), keeping=lambda _: pupil.Keeping(file=file, every=1e9)
    )
    next(events)
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt)
    assert file.path.exists() == bool(kept)


def test_expert_that_diverges_leaves_no_state(tmp_path: Path, digits: Dataset, model: trajfmt.Model) -> None:
    """To continue it would only fail again, and refuse other settings."""
    with pytest.raises(DivergedError):
        run(tmp_path, digits, model, Kept(), lr=1e30, epochs=9)
    assert list(tmp_path.iterdir()) == []


def test_damaged_state_costs_only_time(tmp_path: Path, digits: Dataset, model: trajfmt.Model) -> None:
    """A note says so, and the expert is trained from its beginning."""
    whole, found, notes = Kept(), Kept(), list[str]()
    run(tmp_path / "whole", digits, model, whole, every=1e9)
    (tmp_path / ".a.mtt.00001.state").write_bytes(b"half")
    run(tmp_path, digits, model, found, notes=notes.append, every=1e9)
    assert len(notes) == 1
    assert ".a.mtt.00001.state" in notes[0]
    assert notes[0].endswith("this expert is trained from its beginning")
    assert [theta.tobytes() for theta in found.theta] == [theta.tobytes() for theta in whole.theta]

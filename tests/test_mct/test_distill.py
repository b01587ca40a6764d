"""The outer loop: counting, updates, resuming, guards, and one tiny distillation end to end."""

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct import networks, synthetic  # noqa: E402
from mct import state as states  # noqa: E402
from mct.config import DistillConfig, EvaluateConfig  # noqa: E402
from mct.data import Dataset  # noqa: E402
from mct.distill import Distiller, distill  # noqa: E402
from mct.errors import DivergedError, ExistsError, MismatchError, MissingError  # noqa: E402
from mct.folder import RunFolder  # noqa: E402
from mct.seeds import generator  # noqa: E402
from mct.unroll import Gradients  # noqa: E402

from .fakes import FakeBundle, random_walk  # noqa: E402

CONFIG = DistillConfig(ipc=1, inner_steps=3, expert_steps=2, max_start=3, outer_steps=6, lr_img=10,
                       lr_lr=1e-4, lr_init=0.02, batch_syn=4, save_every=4)  # fmt: skip


@pytest.fixture
def bundle(network: networks.ConvNet) -> FakeBundle:
    """Return two wandering trajectories of the small network."""
    layout = trajfmt.ParamLayout.of(networks.parameters_of(network))
    return FakeBundle([0.1 * random_walk(layout, 6, seed) for seed in range(2)], layout, knots=(2,))


def distiller_of(bundle, digits: Dataset, model: trajfmt.Model, config=CONFIG, **extra) -> Distiller:
    """Return a distiller on a fake bundle."""
    return Distiller(bundle, digits, model, config, artifact_sha256="ab" * 32, **extra)


class StubEngine:
    """An engine that returns given gradients."""

    def __init__(self, loss=1.0, image=1.0, slope=1.0) -> None:
        self.loss, self.image, self.slope = loss, image, slope

    def gradients(self, problem, terminal) -> Gradients:
        """Return constants, after asking the terminal once."""
        terminal(problem.weights)
        return Gradients(loss=self.loss, images=torch.full_like(problem.images, self.image),
                         learning_rate=self.slope)  # fmt: skip


def test_one_vector_of_weights_per_outer_step(bundle, digits, model) -> None:
    """The interpolator hands out the start weights; no other waypoint is ever made."""
    distiller = distiller_of(bundle, digits, model)
    state = distiller.initial()
    assert distiller.stream.materialised == 0
    for number in range(1, 6):
        state, _ = distiller.step(state)
        assert distiller.stream.materialised == number


def test_update_is_sgd_with_momentum(bundle, digits, model) -> None:
    """Images and learning rate follow torch.optim.SGD with momentum 0.5, bit for bit."""
    distiller = distiller_of(bundle, digits, model, engine=StubEngine(image=0.25, slope=3.0))
    state = distiller.initial()
    image = state.synthetic.images.clone().requires_grad_()
    rate = torch.tensor(state.synthetic.learning_rate, dtype=torch.float64, requires_grad=True)
    optimizers = [torch.optim.SGD([image], lr=CONFIG.lr_img, momentum=0.5),
                  torch.optim.SGD([rate], lr=CONFIG.lr_lr, momentum=0.5)]  # fmt: skip
    for _ in range(4):
        state, event = distiller.step(state)
        image.grad, rate.grad = torch.full_like(image, 0.25), torch.full_like(rate, 3.0)
        for optimizer in optimizers:
            optimizer.step()
        assert torch.equal(state.synthetic.images, image.detach())
        assert event.learning_rate == pytest.approx(float(rate.detach()), rel=1e-14)


def test_step_does_not_change_its_state(bundle, digits, model) -> None:
    """A step is a function: twice from one state gives the same bits."""
    distiller = distiller_of(bundle, digits, model)
    state = distiller.initial()
    (one, first), (two, second) = distiller.step(state), distiller.step(state)
    assert torch.equal(one.synthetic.images, two.synthetic.images)
    assert replace(first, seconds=0) == replace(second, seconds=0)
    assert not torch.equal(one.synthetic.images, state.synthetic.images)


def test_full_bundle_is_distilled_by_the_same_code(bundle, digits, model) -> None:
    """On a full bundle the run is MTT's: whole starts, stored targets."""
    full = FakeBundle([item.theta for item in bundle._items], bundle.layout, knots=None)
    distiller = distiller_of(full, digits, model)
    _, event = distiller.step(distiller.initial())
    assert event.start == int(event.start)
    assert np.isfinite(event.loss)


@pytest.mark.parametrize("stop", [1, 4, 5])
def test_resumed_run_equals_one_that_never_stopped(tmp_path: Path, bundle, digits, model, stop) -> None:
    """Result, state and metrics are bit for bit the same, seconds apart."""
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    for _ in distill(distiller_of(bundle, digits, model), whole):
        pass
    with contextlib.closing(distill(distiller_of(bundle, digits, model), parts)) as events:
        for event in events:
            if event.step == stop:
                break
    assert len(parts.metrics.read_text().splitlines()) == stop
    for _ in distill(distiller_of(bundle, digits, model), parts, resume=True):
        pass
    for name in ("result", "state", "picture"):
        assert getattr(whole, name).read_bytes() == getattr(parts, name).read_bytes(), name
    lines = [[json.loads(line) | {"seconds": 0} for line in folder.metrics.read_text().splitlines()]
             for folder in (whole, parts)]  # fmt: skip
    assert lines[0] == lines[1]
    assert [line["step"] for line in lines[0]] == [1, 2, 3, 4, 5, 6]


def test_interrupt_inside_a_step_keeps_the_state(tmp_path: Path, bundle, digits, model) -> None:
    """Ctrl-C in the middle of a step writes the state of the step before."""

    class Interrupting(StubEngine):
        calls = 0

        def gradients(self, problem, terminal) -> Gradients:
            Interrupting.calls += 1
            if Interrupting.calls == 3:
                raise KeyboardInterrupt
            return super().gradients(problem, terminal)

    folder = RunFolder(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        for _ in distill(distiller_of(bundle, digits, model, engine=Interrupting()), folder):
            pass
    assert folder.config() == replace(CONFIG, max_start=3.0)
    assert synthetic.load(folder.result).origin.outer_step == 2
    assert len(folder.metrics.read_text().splitlines()) == 2


def test_metrics_beyond_the_state_are_cut(tmp_path: Path, bundle, digits, model) -> None:
    """A killed run may have written more lines than steps; resuming drops them, whole or not."""
    folder = RunFolder(tmp_path / "run")
    short = replace(CONFIG, outer_steps=2)
    for _ in distill(distiller_of(bundle, digits, model, short), folder):
        pass
    with folder.metrics.open("a") as file:
        file.write('{"step": 3}\n{"st')
    for _ in distill(distiller_of(bundle, digits, model), folder, resume=True):
        pass
    steps = [json.loads(line)["step"] for line in folder.metrics.read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(("engine", "cause"), [
    (StubEngine(loss=float("nan")), "the loss is nan"),
    (StubEngine(loss=float("inf")), "the loss is inf"),
    (StubEngine(image=float("nan")), "a gradient is not finite"),
    (StubEngine(slope=float("inf")), "a gradient is not finite"),
    (StubEngine(image=3e38), "the images are no longer finite"),
    (StubEngine(slope=1e6), "the learning rate became -"),
])  # fmt: skip
def test_divergence_stops_and_keeps_the_last_state(
    tmp_path: Path, bundle, digits, model, engine, cause
) -> None:
    """The error names step and cause; the last good state is kept, and no result is claimed yet."""
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(DivergedError, match=f"outer step 1: {cause}"):
        for _ in distill(distiller_of(bundle, digits, model, engine=engine), folder):
            pass
    assert states.load(folder.state).step == 0
    assert not folder.result.exists()


def test_folder_with_files_is_refused(tmp_path: Path, bundle, digits, model) -> None:
    """A run never starts over files of another, and nothing is changed by the attempt."""
    folder = RunFolder(tmp_path)
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(ExistsError, match="not empty"):
        next(distill(distiller_of(bundle, digits, model), folder))
    assert [entry.name for entry in tmp_path.iterdir()] == ["precious"]


def test_two_runs_in_one_folder_at_once_are_refused(tmp_path: Path, bundle, digits, model) -> None:
    """The folder is locked for the whole run; a resume waits for nobody and changes nothing."""
    folder = RunFolder(tmp_path / "run")
    first = distill(distiller_of(bundle, digits, model), folder)
    next(first)
    with pytest.raises(ExistsError, match="another run"):
        next(distill(distiller_of(bundle, digits, model), RunFolder(tmp_path / "run"), resume=True))
    first.close()


def test_run_that_was_killed_before_its_first_save_continues(tmp_path: Path, bundle, digits, model) -> None:
    """The state is on disk before the first step, so that a resume always has one."""
    whole, killed = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "killed")
    for _ in distill(distiller_of(bundle, digits, model), whole):
        pass
    events = distill(distiller_of(bundle, digits, model), killed)
    next(events)
    survived = {entry.name: entry.read_bytes() for entry in killed.path.iterdir()}
    events.close()
    for entry in killed.path.iterdir():  # what a kill would have left
        entry.unlink()
    for name, data in survived.items():
        (killed.path / name).write_bytes(data)
    for _ in distill(distiller_of(bundle, digits, model), killed, resume=True):
        pass
    assert killed.result.read_bytes() == whole.result.read_bytes()


def test_second_run_in_a_folder_is_refused(tmp_path: Path, bundle, digits, model) -> None:
    """Without `resume`, a folder with a run is refused and left alone."""
    folder = RunFolder(tmp_path / "run")
    for _ in distill(distiller_of(bundle, digits, model), folder):
        pass
    before = {entry.name: entry.read_bytes() for entry in folder.path.iterdir()}
    with pytest.raises(ExistsError, match="--resume"):
        next(distill(distiller_of(bundle, digits, model), folder))
    assert before == {entry.name: entry.read_bytes() for entry in folder.path.iterdir()}


@pytest.mark.parametrize("change", [{"lr_img": 11.0}, {"inner_steps": 4}, {"seed": 1}])
def test_resume_with_another_setting_is_refused(tmp_path: Path, bundle, digits, model, change) -> None:
    """What would make another run is named."""
    folder = RunFolder(tmp_path / "run")
    for _ in distill(distiller_of(bundle, digits, model, replace(CONFIG, outer_steps=1)), folder):
        pass
    other = distiller_of(bundle, digits, model, replace(CONFIG, **change))
    with pytest.raises(MismatchError, match=f"`{next(iter(change))}`"):
        next(distill(other, folder, resume=True))


def test_resume_of_another_bundle_is_refused(tmp_path: Path, bundle, digits, model) -> None:
    """A state belongs to one artifact."""
    folder = RunFolder(tmp_path / "run")
    for _ in distill(distiller_of(bundle, digits, model, replace(CONFIG, outer_steps=1)), folder):
        pass
    other = Distiller(bundle, digits, model, CONFIG, artifact_sha256="cd" * 32)
    with pytest.raises(MismatchError, match="artifact_sha256"):
        next(distill(other, folder, resume=True))


def test_resume_of_nothing_is_refused(tmp_path: Path, bundle, digits, model) -> None:
    """Resuming needs a state."""
    with pytest.raises(MissingError, match="no run to resume"):
        next(distill(distiller_of(bundle, digits, model), RunFolder(tmp_path), resume=True))


def test_bundle_of_another_network_is_refused(bundle, digits) -> None:
    """The first parameter that differs is named before anything is computed."""
    other = networks.parse("ConvNetD2W8", channels=1, image_size=8, classes=10)
    with pytest.raises(MismatchError, match="parameter 0"):
        distiller_of(bundle, digits, other)


def test_evaluation_on_schedule(tmp_path: Path, bundle, digits, model) -> None:
    """Events and metrics of the steps in question carry the accuracy."""
    folder = RunFolder(tmp_path / "run")
    config = replace(CONFIG, outer_steps=4, eval_every=2)
    events = list(distill(distiller_of(bundle, digits, model, config), folder,
                          evaluation=EvaluateConfig(networks=1, epochs=1)))  # fmt: skip
    assert [event.accuracy is not None for event in events] == [False, True, False, True]
    lines = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    assert [("accuracy" in line) for line in lines] == [False, True, False, True]


def test_student_learns_to_follow_a_path_it_can_follow(digits, model) -> None:
    """Where a trajectory comes from ten images, distillation lowers eq. 2 well below 1."""
    random = generator(0)
    network = networks.build(model, generator=random)
    chosen = synthetic.pick_per_class(digits.train_labels, 10, 1, random)
    optimizer, theta = torch.optim.SGD(network.parameters(), lr=0.02), [networks.flatten(network)]
    for _ in range(6):
        for _ in range(3):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(
                network(digits.train_images[chosen]), digits.train_labels[chosen]
            ).backward()
            optimizer.step()
        theta.append(networks.flatten(network))
    layout = trajfmt.ParamLayout.of(networks.parameters_of(network))
    bundle = FakeBundle([torch.stack(theta).numpy()], layout)
    config = replace(CONFIG, inner_steps=6, outer_steps=40, lr_img=100, batch_syn=None)
    distiller = distiller_of(bundle, digits, model, config)
    state, losses = distiller.initial(), []
    for _ in range(40):
        state, event = distiller.step(state)
        losses.append(event.loss)
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])

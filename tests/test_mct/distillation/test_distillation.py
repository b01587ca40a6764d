"""The outer loop: counting, updates, resuming, guards, and one tiny distillation end to end."""

import contextlib
import errno
import json
import os
import random as dice
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.data.augment import DSA  # noqa: E402
from mct.data.datasets import Dataset  # noqa: E402
from mct.distillation import state as states  # noqa: E402
from mct.distillation.distiller import Distiller  # noqa: E402
from mct.distillation.folder import RunFolder  # noqa: E402
from mct.distillation.loop import distill  # noqa: E402
from mct.errors import ConfigError, DivergedError, ExistsError, MismatchError, MissingError  # noqa: E402
from mct.evaluation.protocol import summarize  # noqa: E402
from mct.events import Evaluated, OuterStep  # noqa: E402
from mct.inner.problem import minibatches  # noqa: E402
from mct.inner.unroll import Gradients  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.results import synthetic  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.settings.config import DistillConfig, EvaluateConfig  # noqa: E402
from tests.helpers.fakes import FakeBundle, random_walk  # noqa: E402

CONFIG = DistillConfig(ipc=1, inner_steps=3, expert_steps=2, max_start=3, outer_steps=6, lr_img=10,
                       lr_lr=1e-4, lr_init=0.02, batch_syn=4, save_every=4)  # fmt: skip
PROTOCOL = EvaluateConfig(networks=2, epochs=1)


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
        self.problem = problem
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
    distiller = distiller_of(bundle, digits, model, unroll=StubEngine(image=0.25, slope=3.0))
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


def run_whole(distiller: Distiller, folder: RunFolder, **options) -> list[Evaluated | OuterStep]:
    """Run a distillation to its end."""
    return list(distill(distiller, folder, evaluation=PROTOCOL, **options))


def metrics_of(folder: RunFolder) -> list[dict]:
    """Return the metrics without what differs between runs."""
    taken = dict.fromkeys(("seconds", "parts", "memory_mb", "utilisation"), 0)
    return [json.loads(line) | taken for line in folder.metrics.read_text().splitlines()]


def assert_same_run(one: RunFolder, two: RunFolder) -> None:
    """Results, state, picture and metrics are bit for bit the same, seconds apart."""
    assert {entry.name for entry in one.path.iterdir()} == {entry.name for entry in two.path.iterdir()}
    for entry in one.path.iterdir():
        if entry != one.metrics:
            assert entry.read_bytes() == (two.path / entry.name).read_bytes(), entry.name
    assert metrics_of(one) == metrics_of(two)


ALL = {"labels": "teacher", "eval_every": 2}


@pytest.mark.parametrize(
    ("stop", "extra"), [(1, ALL), (4, ALL), (5, ALL), (5, {}), (2, {"augment": "none"})], ids=str
)
def test_resumed_run_equals_one_that_never_stopped(
    tmp_path: Path, bundle, digits, model, stop, extra
) -> None:
    """Everything in the folder is the same, with augmentation, teacher labels and evaluations."""
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    config = replace(CONFIG, **extra)
    run_whole(distiller_of(bundle, digits, model, config), whole)
    events = distill(distiller_of(bundle, digits, model, config), parts, evaluation=PROTOCOL)
    with contextlib.closing(events):
        for event in events:
            if event.step == stop:
                break
    assert metrics_of(parts)[-1]["step"] == stop
    run_whole(distiller_of(bundle, digits, model, config), parts, resume=True)
    assert_same_run(whole, parts)
    assert [line["step"] for line in metrics_of(parts) if line["step"]] == [1, 2, 3, 4, 5, 6]


KILLED = """
import json, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import trajfmt
from mct.settings.config import DistillConfig, EvaluateConfig
from mct.distillation.distiller import Distiller; from mct.distillation.loop import distill
from mct.distillation.folder import RunFolder
config, protocol = DistillConfig(**json.loads(sys.argv[3])), EvaluateConfig(**json.loads(sys.argv[4]))
with trajfmt.open(sys.argv[1]) as bundle:
    distiller = Distiller.from_bundle(bundle, base=config)
    for _ in distill(distiller, RunFolder(Path(sys.argv[2])), evaluation=protocol):
        pass
"""


def written(tmp_path: Path, bundle, digits, model, **facts) -> Path:
    """Write the fake bundle as a real one."""
    record = trajfmt.Provenance(
        **({"dataset": "digits", "model": model, "preprocessing": digits.transform.record} | facts)
    )
    path = tmp_path / "a.mct"
    with trajfmt.create(path, bundle.layout, encoding="convex", knots=(2,), provenance=record) as writer:
        for item in bundle._items:
            writer.add(trajfmt.ArrayTrajectory(item.theta, bundle.layout))
    return path


def test_run_that_was_killed_loses_what_followed_its_last_state(
    tmp_path: Path, bundle, digits, model
) -> None:
    """SIGKILL at any moment: resumed, the run ends with the bits of one that was left alone."""
    path = written(tmp_path, bundle, digits, model)
    config = replace(CONFIG, outer_steps=24, labels="teacher", eval_every=10, save_every=7)
    whole, killed = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "killed")
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, path, killed.path, json.dumps(asdict(config)),
         json.dumps(asdict(PROTOCOL))], env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE
    )  # fmt: skip
    try:
        enough = dice.randint(1, 18)
        while not killed.metrics.exists() or len(killed.metrics.read_bytes().splitlines()) < enough:
            assert child.poll() is None, child.stderr.read().decode()
            time.sleep(0.001)
    finally:
        child.kill()
        child.wait()
        child.stderr.close()
    (killed.path / ".state.safetensors.x1y2z3").write_bytes(b"half a sta")
    done = metrics_of(killed)[-1]["step"]
    assert 0 <= done - states.load(killed.state).step <= config.save_every
    with trajfmt.open(path) as opened:
        for folder, resume in ((whole, False), (killed, True)):
            run_whole(Distiller.from_bundle(opened, base=config), folder, resume=resume)
    assert_same_run(whole, killed)


def test_augmentation_is_drawn_for_every_batch(bundle, digits, model) -> None:
    """Each inner step has numbers of its own, from the generator of the state, after the batches."""
    engine = StubEngine()
    distiller = distiller_of(bundle, digits, model, unroll=engine)
    state = distiller.initial()
    distiller.step(state)
    random = torch.Generator()
    random.set_state(state.random)
    distiller.stream.draw(random)
    batches = minibatches(10, 4, 3, random)
    for batch, draws, found in zip(batches, engine.problem.draws, engine.problem.batches, strict=True):
        expected = DSA().draw(len(batch), 8, random)
        assert torch.equal(batch, found)
        assert draws.family == expected.family
        assert all(torch.equal(a, b) for a, b in zip(draws.values, expected.values, strict=True))
    plain = StubEngine()
    other = distiller_of(bundle, digits, model, replace(CONFIG, augment="none"), unroll=plain)
    other.step(other.initial())
    assert plain.problem.augment is plain.problem.draws is None


def test_teacher_labels_are_what_the_expert_at_the_target_says(bundle, digits, model) -> None:
    """Softmax of the network with the target's weights, made for this alone, on the images before."""
    engine = StubEngine()
    distiller = distiller_of(bundle, digits, model, replace(CONFIG, labels="teacher"), unroll=engine)
    before = distiller.initial()
    assert before.synthetic.soft_labels is None
    after, event = distiller.step(before)
    assert distiller.stream.materialised == 2
    network = networks.build(model, generator=generator(0)).eval()
    weights = torch.from_numpy(bundle[event.trajectory].at(event.target)).float()
    torch.nn.utils.vector_to_parameters(weights, network.parameters())
    expected = network(before.synthetic.images).softmax(1)
    assert torch.allclose(after.synthetic.soft_labels, expected, atol=1e-6)
    assert torch.equal(engine.problem.targets, after.synthetic.soft_labels)
    assert torch.equal(after.synthetic.labels, before.synthetic.labels)
    assert not after.synthetic.soft_labels.requires_grad


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
        for _ in distill(distiller_of(bundle, digits, model, unroll=Interrupting()), folder):
            pass
    assert folder.origin().config == replace(CONFIG, max_start=3.0, sampling="continuous", engine="eager")
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


@pytest.mark.parametrize("change", [{"momentum": 0.6}, {"inner_steps": 4}, {"seed": 1}, {"augment": "none"},
                                    {"select": "test"}, {"labels": "teacher"}])  # fmt: skip
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
    """Before the first step, every so many, and after the last; events and metrics say on what."""
    folder = RunFolder(tmp_path / "run")
    config = replace(CONFIG, outer_steps=5, eval_every=2)
    events = run_whole(distiller_of(bundle, digits, model, config), folder)
    assert [event.step for event in events] == [0, 1, 2, 3, 4, 5]
    assert [event.accuracy is not None for event in events] == [True, False, True, False, True, True]
    assert {event.accuracy.on for event in events if event.accuracy} == {"heldout"}
    lines = metrics_of(folder)
    assert [line["step"] for line in lines if "accuracy" in line] == [0, 2, 4, 5]
    assert set(lines[0]["accuracy"]) == {"mean", "std", "networks", "learning_rate", "on"}
    assert "loss" not in lines[0]


class Rehearsed:
    """An evaluation that returns given means, and remembers what it was asked."""

    def __init__(self, means) -> None:
        self.means, self.seen = list(means), []

    def __call__(self, images, labels, learning_rate, dataset, model, config, *, on, **_):
        """Stand for `evaluate`."""
        self.seen.append((images, labels, dataset.test_images, (model, config), on))
        yield from ()
        return summarize([self.means.pop(0)], learning_rate, on=on)


@pytest.mark.parametrize("select", ["heldout", "test"])
def test_best_images_are_kept(tmp_path: Path, bundle, digits, model, monkeypatch, select) -> None:
    """The first of the largest means wins; its images and why they were chosen are in their own file."""
    evaluation = Rehearsed([0.1, 0.4, 0.3, 0.4])
    monkeypatch.setattr("mct.distillation.distiller.evaluate", evaluation)
    folder = RunFolder(tmp_path / "run")
    config = replace(CONFIG, eval_every=2, select=select, save_every=100)
    run_whole(distiller_of(bundle, digits, model, config), folder)
    best, last = synthetic.load(folder.best), synthetic.load(folder.result)
    assert torch.equal(best.images, evaluation.seen[1][0])
    assert best.origin.selected == synthetic.Selection(on=select, mean=0.4, std=0.0)
    assert (best.origin.outer_step, last.origin.outer_step, last.origin.selected) == (2, 6, None)
    assert best.origin.evaluation == last.origin.evaluation == PROTOCOL
    expected = digits.heldout() if select == "heldout" else digits
    assert all(torch.equal(seen[2], expected.test_images) for seen in evaluation.seen)
    assert {seen[4] for seen in evaluation.seen} == {select}


def test_best_of_a_resumed_run_is_compared_with_the_one_before(
    tmp_path: Path, bundle, digits, model, monkeypatch
) -> None:
    """Step and accuracy of the best are part of the state; a lost file comes back."""
    monkeypatch.setattr("mct.distillation.distiller.evaluate", Rehearsed([0.1, 0.4, 0.3, 0.2]))
    folder, config = RunFolder(tmp_path / "run"), replace(CONFIG, eval_every=2)
    run_whole(distiller_of(bundle, digits, model, replace(config, outer_steps=3, eval_every=2)), folder)
    before = folder.best.read_bytes()
    folder.best.unlink()
    monkeypatch.setattr("mct.distillation.distiller.evaluate", Rehearsed([0.39, 0.38]))
    run_whole(distiller_of(bundle, digits, model, config), folder, resume=True)
    assert folder.best.read_bytes() == before
    other = replace(PROTOCOL, epochs=2)
    with pytest.raises(MismatchError, match="two protocols cannot be compared"):
        next(distill(distiller_of(bundle, digits, model, config), folder, resume=True, evaluation=other))
    assert list(distill(distiller_of(bundle, digits, model, config), folder, resume=True)) == []


def test_held_out_images_are_not_learned_from(bundle, digits, model) -> None:
    """Initial images come from the other training images; with `select` test, from all."""
    kept = digits.heldout().test_images.flatten(1)

    def initial(select: str):
        config = replace(CONFIG, ipc=100, select=select, batch_syn=None)
        return distiller_of(bundle, digits, model, config).initial().synthetic.images.flatten(1)

    assert float(torch.cdist(initial("heldout"), kept).min()) > 0
    assert float(torch.cdist(initial("test"), kept).min()) == 0


def test_more_images_than_a_class_has_are_refused_at_once(bundle, digits, model) -> None:
    """Before anything is computed; held-out images do not count."""
    least = int(torch.bincount(digits.train_labels).min())
    with pytest.raises(ConfigError, match=rf"`ipc` is {least}, but class '\d' has only \d+ .* held-out"):
        distiller_of(bundle, digits, model, replace(CONFIG, ipc=least))
    distiller_of(bundle, digits, model, replace(CONFIG, ipc=least, select="test"))


def test_augmentation_that_does_not_exist_is_refused_at_once(tmp_path: Path, bundle, digits, model) -> None:
    """That of the run as well as that of its evaluations."""
    with pytest.raises(ConfigError, match="`augment`"):
        distiller_of(bundle, digits, model, replace(CONFIG, augment="mirror"))
    wrong = replace(PROTOCOL, augment="mirror")
    with pytest.raises(ConfigError, match="`augment`"):
        next(distill(distiller_of(bundle, digits, model), RunFolder(tmp_path / "run"), evaluation=wrong))
    assert not (tmp_path / "run").exists()


def test_whitening_of_another_data_set_is_refused(tmp_path: Path, bundle, digits, model) -> None:
    """A bundle whose experts saw other images does not get as far as a step."""
    other = trajfmt.Preprocessing(kind="zca", eps=0.1, images_sha256="00" * 32)
    with (
        trajfmt.open(written(tmp_path, bundle, digits, model, preprocessing=other)) as opened,
        pytest.raises(MismatchError, match="the data set that the experts saw"),
    ):
        Distiller.from_bundle(opened, base=CONFIG)


def test_settings_are_written_beside_the_result(tmp_path: Path, bundle, digits, model) -> None:
    """Every setting resolved, the artifact and the versions; renewed when a run is resumed."""
    folder = RunFolder(tmp_path / "run")
    run_whole(distiller_of(bundle, digits, model, replace(CONFIG, max_start=None)), folder)
    found = json.loads(folder.settings.read_text())
    assert found["settings"]["artifact_sha256"] == "ab" * 32
    assert (found["settings"]["config"]["max_start"], found["settings"]["config"]["lr_img"]) == (4.0, 10.0)
    assert found["settings"]["evaluation"] == asdict(PROTOCOL)
    assert found["versions"]["torch"] == torch.__version__
    longer = replace(CONFIG, max_start=4.0, outer_steps=7)
    run_whole(distiller_of(bundle, digits, model, longer), folder, resume=True)
    assert json.loads(folder.settings.read_text())["settings"]["config"]["outer_steps"] == 7


@pytest.mark.parametrize("full_at", [1, 2, 4, 6, 8])
def test_full_disk_is_one_line_and_keeps_what_was_saved(
    tmp_path: Path, bundle, digits, model, monkeypatch, full_at
) -> None:
    """The error names the file; with room again, the run continues as if nothing had happened."""
    whole, folder = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "run")
    run_whole(distiller_of(bundle, digits, model), whole)
    calls, fsync = [], os.fsync

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) >= full_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        run_whole(distiller_of(bundle, digits, model), folder)
    assert caught.value.errno == errno.ENOSPC
    assert Path(caught.value.filename).parent == folder.path
    assert not list(folder.path.glob(".*"))
    monkeypatch.undo()
    assert folder.state.exists() == (full_at > 1)
    if folder.state.exists():
        assert states.load(folder.state).step == {2: 0, 4: 0, 6: 4, 8: 6}[full_at]
    run_whole(distiller_of(bundle, digits, model), folder, resume=folder.state.exists())
    assert_same_run(whole, folder)


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
    config = replace(CONFIG, inner_steps=6, outer_steps=40, lr_img=100, batch_syn=None, augment="none")
    distiller = distiller_of(bundle, digits, model, config)
    state, losses = distiller.initial(), []
    for _ in range(40):
        state, event = distiller.step(state)
        losses.append(event.loss)
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])

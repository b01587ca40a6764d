"""Runs of methods that need no trajectories."""

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from mct.condensation.method import Scene  # noqa: E402
from mct.distillation.condenser import Condenser  # noqa: E402
from mct.distillation.folder import RunFolder  # noqa: E402
from mct.distillation.run import DistillRun  # noqa: E402
from mct.errors import ConfigError, DivergedError, MismatchError  # noqa: E402
from mct.events import OuterStep  # noqa: E402
from mct.learned.updates import Sgd  # noqa: E402
from mct.reports import run as reports  # noqa: E402
from mct.results import synthetic  # noqa: E402
from mct.runtime.execution import Execution  # noqa: E402
from mct.settings import defaults  # noqa: E402
from mct.settings.groups import configured  # noqa: E402
from tests.helpers.distilling import assert_same_run  # noqa: E402

SMALL = {"dataset": "digits", "model": "ConvNetD1W4", "class_batch": 6, "lr_img": 1.0}
LOOPS = {"dc": {"matches": 2, "passes": 1}, "dsa": {"matches": 2, "passes": 1}, "dm": {},
         "cafe": {"matches": 2, "passes": 1, "halve_at": (1,)}}  # fmt: skip


def run_of(out: Path, method: str = "dm", **settings) -> DistillRun:
    """Return a small run on the digits."""
    resume = settings.pop("resume", False)
    if resume:
        return DistillRun.prepare(None, out, resume=True, **settings)
    return DistillRun.prepare(None, out, method=method, **{**SMALL, **LOOPS[method], **settings})


def steps_of(run: DistillRun) -> list[OuterStep]:
    """Run to the end, and return the outer steps."""
    with run:
        return [event for event in run.events() if isinstance(event, OuterStep)]


@pytest.mark.parametrize("method", LOOPS)
def test_run_continues_bit_for_bit_without_its_options(tmp_path: Path, method: str) -> None:
    """One process to the end, and three, the last of which know the run from its folder alone."""
    events = steps_of(run_of(tmp_path / "whole", method, outer_steps=3))
    assert [(event.step, event.trajectory, event.learning_rate) for event in events] == [
        (number, None, 0.01) for number in (1, 2, 3)
    ]
    steps_of(run_of(tmp_path / "parts", method, outer_steps=1))
    for last in (2, 3):
        steps_of(run_of(tmp_path / "parts", resume=True, outer_steps=last))
    for folder in (tmp_path / "whole", tmp_path / "parts"):
        (folder / "settings.json").unlink()
    assert_same_run(RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts"))
    found = synthetic.load(tmp_path / "whole" / "synthetic.safetensors")
    assert (found.run.artifact_sha256, found.run.config.method, found.ipc) == (None, method, 1)


def test_report_says_that_there_was_no_bundle(tmp_path: Path) -> None:
    """Settings of the group are listed by name, and those that the method does not read as not used."""
    steps_of(run_of(tmp_path / "run", outer_steps=1))
    found = reports.describe(tmp_path / "run").facts
    assert (found.bundle_sha256, found.bundle_hashes, found.bundle) == (None, (), None)
    known = {name: (one.value, one.known) for name, one in found.settings.items()}
    assert known["class_batch"] == (6, "given")
    assert known["expert_steps"][1] == known["matches"][1] == "not used"
    assert known["momentum"] == (0.5, "default")
    assert known["outer_steps"] == (1, "given")


def test_images_have_the_momentum_of_all_updates_and_halved_steps(digits, model) -> None:
    """Gradients of the method go through the published update, in one outer step and from step to step."""
    settings = {
        "method": "cafe",
        "lr_img": 2.0,
        "class_batch": 4,
        "halve_at": (1,),
        "matches": 2,
        "initial": "noise",
    }
    condenser = Condenser(digits, model, configured(None, settings))

    class Constant:
        def step(self, scene: Scene, images, update, _random) -> None:
            assert scene.settings.passes == 200
            for _ in range(2):
                images = update(torch.tensor(3.0), torch.ones_like(images))

    condenser._method = Constant()
    before = condenser.initial()
    assert before.synthetic.images.mean().abs() < 0.2  # noise, not real images
    state, events = before, []
    for _ in range(2):
        state, event = condenser.step(state)
        events.append(event)
    images, memory = before.synthetic.images, {"velocity": torch.zeros_like(before.synthetic.images)}
    for rate in (2.0, 2.0, 1.0, 1.0):
        images, memory = Sgd(rate, 0.5)(images, torch.ones_like(images), memory, 0)
    assert torch.equal(state.synthetic.images, images)
    assert torch.equal(state.memory["images"]["velocity"], memory["velocity"])
    assert [event.loss for event in events] == pytest.approx([3.0 / 10] * 2)
    assert (state.step, before.step) == (2, 0)


def test_step_that_cannot_be_used_leaves_the_state(tmp_path: Path) -> None:
    """The run ends with one line, and continues with a smaller step size."""
    run = run_of(tmp_path / "run", "dc", outer_steps=2, lr_img=1e30)
    with pytest.raises(
        DivergedError, match=r"outer step 1: the .* is not finite; try a smaller `lr_img`.*resume"
    ):
        steps_of(run)
    assert len(steps_of(run_of(tmp_path / "run", resume=True, outer_steps=2, lr_img=0.1))) == 2


def test_what_has_no_effect_is_refused(tmp_path: Path, digits, model) -> None:
    """Settings of other methods, trajectories, budgets of the inner loop, and several processes."""
    out = tmp_path / "run"
    for settings, why in (
        ({"expert_steps": 3}, "`expert_steps` has no effect with the method dm"),
        ({"passes": 3}, "`passes` has no effect with the method dm"),
        ({"labels": "learned"}, "`labels` has no effect with the method dm"),
        ({"shard": True}, "`shard`: no effect without an inner loop"),
        ({"execution": Execution(keep_mb=3)}, "`keep_mb`: no effect without an inner loop"),
        ({"initial": "correct"}, "`initial` correct is for methods that match trajectories"),
        ({"ipc": 5000}, "`ipc` is 5000, but class"),
        ({"dataset": None}, "a run without trajectories needs a dataset; give it: --dataset"),
    ):
        with pytest.raises(ConfigError, match=why):
            run_of(out, **settings)
    with pytest.raises(ConfigError, match="`augment` has no effect with the method dc"):
        run_of(out, "dc", augment="dsa")
    with pytest.raises(ConfigError, match="the method dm uses no trajectories; omit `traj`"):
        DistillRun.prepare("two.mct", out, method="dm", dataset="digits")
    with pytest.raises(ConfigError, match="`preset` dc-cifar10-ipc1 is not one of `method` dm"):
        run_of(out, preset="dc-cifar10-ipc1")
    with pytest.raises(ConfigError, match="must be a ConvNet with pooling"):
        run_of(out, "cafe", model="ConvNetD1W4NP")

    class Two:
        rank, size = 0, 2

    with pytest.raises(ConfigError, match="the method dm runs in one process, and there are 2"):
        Condenser(digits, model, configured(None, {"method": "dm", "class_batch": 2}), ranks=Two())
    assert not out.exists()


def test_other_settings_do_not_continue_a_run(tmp_path: Path) -> None:
    """Those of the group are compared one by one; another method is another run."""
    steps_of(run_of(tmp_path / "run", outer_steps=1))
    with pytest.raises(MismatchError, match="the run has `class_batch` 6, now it is 7; omit `class_batch`"):
        steps_of(run_of(tmp_path / "run", resume=True, outer_steps=2, class_batch=7))
    with pytest.raises(ConfigError, match="there are no trajectories"):
        DistillRun.prepare(None, tmp_path / "run", resume=True, method="mct")
    with pytest.raises(MismatchError, match="the run has `method` 'dm', now it is 'dsa'"):
        steps_of(DistillRun.prepare(None, tmp_path / "run", resume=True, method="dsa"))


def test_evaluations_are_those_of_the_preset() -> None:
    """DC trains for 300 epochs without augmentation, DSA for 1000 with its own."""
    assert defaults.evaluation_of("CIFAR10", 10, method="dc") == {"epochs": 300, "augment": "none"}
    assert defaults.evaluation_of("MNIST", 1, method="dsa")["augment"] == "color_crop_cutout_scale_rotate"
    config = defaults.distill_config("digits", settings_of="dm", class_batch=9)
    assert config.condensation is not None
    assert (config.outer_steps, config.lr_img, config.condensation.class_batch) == (20_000, 1.0, 9)
    assert replace(config, condensation=None).augment == "color_crop_cutout_flip_scale_rotate"

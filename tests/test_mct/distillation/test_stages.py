"""Runs in stages: earlier images stay, the student learns from what it should, and runs continue."""

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from mct.distillation.distiller import Distiller  # noqa: E402
from mct.distillation.folder import RunFolder  # noqa: E402
from mct.distillation.loop import distill  # noqa: E402
from mct.distillation.stages import earlier_of, remark, require_stage  # noqa: E402
from mct.errors import ConfigError, MismatchError  # noqa: E402
from mct.events import OuterStep  # noqa: E402
from mct.results import synthetic  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from tests.helpers.distilling import CONFIG, assert_same_run, distiller_of  # noqa: E402

SHORT = replace(CONFIG, outer_steps=2, engine="eager", batch_syn=None)


@pytest.fixture
def first(tmp_path: Path, bundle, digits, model) -> Path:
    """Return the folder of a first stage."""
    folder = RunFolder(tmp_path / "first")
    list(distill(distiller_of(bundle, digits, model, SHORT), folder))
    return folder.path


def second(bundle, digits, model, after: Path, config=SHORT, **given) -> Distiller:
    """Return a distiller of a stage after the first."""
    earlier = earlier_of(after, None, given=given)
    return distiller_of(bundle, digits, model, replace(config, **given), earlier=earlier)


def alone(distiller: Distiller, images, labels, seed: int = 5, **changes):
    """Return the state of a plain run before its first step, with these images."""
    start = distiller.initial()
    now = replace(start.synthetic, images=images, labels=labels)
    memory = {**start.memory, "images": {"velocity": torch.zeros_like(images)}}
    return replace(start, synthetic=now, memory=memory, random=generator(seed).get_state(), **changes)


@pytest.mark.parametrize("how", ["joint", "apart"])
def test_a_student_learns_from_what_it_should(bundle, digits, model, first: Path, how: str) -> None:
    """The new images change as in a plain run on all images, or on the new ones alone, bit for bit."""
    distiller = second(bundle, digits, model, first, earlier_images=how)
    start = replace(distiller.initial(), random=generator(5).get_state())
    before, rows = start.synthetic, 0 if how == "joint" else 10
    plain = distiller_of(bundle, digits, model, SHORT)
    other = alone(plain, before.images[rows:], before.labels[rows:])
    for _ in range(2):
        start, event = distiller.step(start)
        other, same = plain.step(other)
        if how == "joint":  # a plain run changes the earlier images, too
            changed = other.synthetic.images
            assert not torch.equal(changed[:10], before.images[:10])
            kept = torch.cat([before.images[:10], changed[10:]])
            other = replace(other, synthetic=replace(other.synthetic, images=kept))
        assert replace(event, seconds=0) == replace(same, seconds=0)
        assert torch.equal(start.synthetic.images[10:], other.synthetic.images[10 - rows :])
        assert start.synthetic.learning_rate == other.synthetic.learning_rate
        assert torch.equal(start.synthetic.images[:10], before.images[:10])


def test_new_images_are_others(bundle, digits, model, first: Path) -> None:
    """A stage with the seed of the one before begins with other real images."""
    distiller = second(bundle, digits, model, first)
    plain = distiller_of(bundle, digits, model, SHORT).initial().synthetic
    assert not torch.equal(distiller.initial().synthetic.images[10:], plain.images)


@pytest.mark.parametrize("settings", [{}, {"labels": "learned", "image_average": 0.5}])
def test_a_stage_continues_bit_for_bit(
    tmp_path: Path, bundle, digits, model, first: Path, settings: dict
) -> None:
    """Interrupted in its middle or right at its beginning, it ends as one that was not; old images stay."""
    if settings:
        folder = RunFolder(tmp_path / "learned")
        list(distill(distiller_of(bundle, digits, model, replace(SHORT, labels="learned")), folder))
        first = folder.path
    old = synthetic.load(first / synthetic.RESULT_NAME)
    config = replace(SHORT, outer_steps=4, samples=2, **settings)
    whole = RunFolder(tmp_path / "whole")
    list(distill(second(bundle, digits, model, first, config), whole))
    broken = RunFolder(tmp_path / "broken")
    for stop in (1, 2, None):
        run = distill(second(bundle, digits, model, first, config), broken, resume=stop != 1)
        for event in run:
            if isinstance(event, OuterStep) and event.step == stop:
                break
        run.close()
    assert_same_run(whole, broken)
    found = synthetic.load(broken.result)
    for name, tensor in old.tensors().items():
        if name != "learning_rate":
            assert torch.equal(found.tensors()[name][:10], tensor), name
    begun = second(bundle, digits, model, first, config).initial().synthetic
    assert not torch.equal(found.images[10:], begun.images[10:])
    assert found.run.stages[0].learning_rate == old.learning_rate


def test_a_run_that_continues_needs_its_earlier_stage(tmp_path: Path, bundle, digits, model, first) -> None:
    """Without it, or with another, an error says so; an option without effect is refused."""
    folder = RunFolder(tmp_path / "second")
    list(distill(second(bundle, digits, model, first), folder))
    before = folder.origin()
    with pytest.raises(ConfigError, match="--after"):
        earlier_of(None, before, given={})
    with pytest.raises(MismatchError, match="not the result of the earlier stage"):
        earlier_of(folder.path, before, given={})
    assert earlier_of(first, before, given={}).stages == before.stages
    with pytest.raises(ConfigError, match="`earlier_images` has no effect"):
        earlier_of(None, None, given={"earlier_images": "apart"})
    assert earlier_of(None, None, given={}) is None


def test_experts_that_start_from_other_images_are_noted(first: Path) -> None:
    """They start from the result that the run begins with, or a line says that they do not."""
    earlier = earlier_of(first, None, given={})
    assert remark(None, None) is None
    assert remark({"lr": 0.01}, earlier) is None
    assert remark({"start_from_sha256": earlier.sha256}, earlier) is None
    assert "no earlier stage" in remark({"start_from_sha256": earlier.sha256}, None)
    assert "other distilled images" in remark({"start_from_sha256": "0"}, earlier)


@pytest.mark.parametrize(("number", "stage", "said"), [(2, 1, "stage 1: --after"), (1, 2, "omit --after")])
def test_a_preset_of_another_stage_is_refused(number: int, stage: int, said: str) -> None:
    """The message names both stages, and what to do."""
    with pytest.raises(ConfigError, match=rf"of stage {number}, but this is stage {stage}; .*{said}"):
        require_stage(f"seqmatch-cifar10-zca-ipc50-stage{number}", stage)
    require_stage(f"seqmatch-cifar10-zca-ipc50-stage{number}", number)
    require_stage("mct-cifar10-ipc1", stage)
    require_stage(None, stage)

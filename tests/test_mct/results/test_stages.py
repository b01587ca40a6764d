"""Images of earlier stages: which rows they are, that they stay, and what may follow on what."""

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import msgspec  # noqa: E402

from mct.data.datasets import Dataset  # noqa: E402
from mct.errors import CorruptError, MismatchError  # noqa: E402
from mct.results import files, synthetic  # noqa: E402
from mct.results.stages import Earlier  # noqa: E402
from mct.runtime import tensorfile  # noqa: E402
from tests.helpers.made import made  # noqa: E402


def configured(found: synthetic.SyntheticDataset, rate: float = 0.01, **settings):
    """Return a dataset with other settings and another learning rate."""
    config = replace(found.run.config, **settings)
    return replace(found, learning_rate=rate, origin=replace(found.run, config=config))


def earlier(found: synthetic.SyntheticDataset, name: str = "a") -> Earlier:
    """Return a dataset as the result of earlier stages."""
    return Earlier(path=Path(name), sha256=name * 64, synthetic=found)


def staged(digits: Dataset, how: str = "joint", **settings) -> synthetic.SyntheticDataset:
    """Return 20 images of a first stage and 10 each of two others; `how` is that of the last."""
    one = configured(made(digits, ipc=2), 0.1, **settings)
    two = earlier(one).with_new(configured(made(digits, ipc=1), 0.2, **settings))
    return earlier(two, "b").with_new(configured(made(digits, ipc=1), 0.3, earlier_images=how, **settings))


@pytest.mark.parametrize(("how", "first"), [("joint", 0), ("apart", 30)])
def test_a_sequence_has_the_images_of_each_student(digits: Dataset, how: str, first: int) -> None:
    """A joint stage has all images up to its own, one apart its own alone; each has its rate."""
    found = staged(digits, how)
    rows = [stage.rows.tolist() for stage in found.stages]
    assert rows == [list(range(20)), list(range(30)), list(range(first, 40))]
    assert [stage.learning_rate for stage in found.stages] == [0.1, 0.2, 0.3]
    assert (found.fixed, found.ipc, len(found.labels)) == (30, 4, 40)


def test_one_stage_is_no_sequence(digits: Dataset) -> None:
    """All of its images are learned, and nothing is trained in sequence."""
    found = made(digits)
    assert (found.fixed, found.stages) == (0, ())
    assert found.values["images"] is found.images


def test_images_that_stayed_real_are_known_in_later_stages(digits: Dataset) -> None:
    """The first ones of each class, in the stage in which they came; all are learned where none stayed."""
    assert staged(digits).learned_images is None
    one = configured(made(digits, ipc=2), learned_share=0.5)
    two = earlier(one).with_new(made(digits, ipc=1))
    for found, last in ((two, []), (earlier(two, "b").with_new(one), [False, True] * 10)):
        assert found.learned_images.tolist() == [False, True] * 10 + [True] * 10 + last


def test_only_the_images_of_the_last_stage_are_learned(digits: Dataset) -> None:
    """Other values replace them, and leave those of earlier stages to the bit."""
    found = staged(digits)
    assert torch.equal(found.values["images"], found.images[30:])
    after = found.learned({"images": torch.zeros(10, 1, 8, 8), "learning_rate": 0.5})
    assert torch.equal(after.images[:30], found.images[:30])
    assert not after.images[30:].any()
    assert after.learning_rate == 0.5
    assert [stage.learning_rate for stage in after.stages] == [0.1, 0.2, 0.5]


def test_learned_labels_of_earlier_stages_stay(digits: Dataset) -> None:
    """Logits and probabilities, to the bit."""
    logits = torch.randn(20, 10, generator=torch.Generator().manual_seed(0))
    one = configured(made(digits), labels="learned").learned({"labels": logits})
    new = configured(made(digits, ipc=1), labels="learned").learned({"labels": torch.zeros(10, 10)})
    found = earlier(one).with_new(new)
    assert found.values["labels"].shape == (10, 10)
    after = found.learned({"labels": torch.ones(10, 10)})
    assert torch.equal(after.label_logits[:20], logits)
    assert torch.equal(after.soft_labels[:20], one.soft_labels)
    assert torch.equal(after.label_logits[20:], torch.ones(10, 10))


def test_stages_are_in_the_file(tmp_path: Path, digits: Dataset) -> None:
    """With their rates to the last bit, and the hash of the result from which the next began."""
    found = staged(digits)
    synthetic.save(tmp_path / "a.safetensors", found, digits)
    after = synthetic.load(tmp_path / "a.safetensors")
    assert after.origin == found.origin
    assert [stage.images for stage in after.run.stages] == [20, 10]
    assert [stage.sha256[0] for stage in after.run.stages] == ["a", "b"]
    assert files.earlier(tmp_path / "a.safetensors").stages[-1].images == 10


@pytest.mark.parametrize(
    ("change", "said"),
    [({"images": 30}, "50 of 40 images; none are left"), ({"images": 0}, "0 images"),
     ({"learning_rate": -1.0}, "learning rate > 0")],
)  # fmt: skip
def test_damaged_stages_are_refused(tmp_path: Path, digits: Dataset, change: dict, said: str) -> None:
    """A file with more images of earlier stages than images, or with none of a stage."""
    path = tmp_path / "a.safetensors"
    synthetic.save(path, staged(digits), digits)
    tensors, facts = tensorfile.load(path, kind="synthetic dataset", version=1)
    stage = msgspec.to_builtins(facts["origin"]["stages"][-1]) | change
    facts["origin"]["stages"] = [*facts["origin"]["stages"][:1], stage]
    tensorfile.save(path, tensors, facts)
    with pytest.raises(CorruptError, match=said):
        synthetic.load(path)


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [({}, {"class_names": ("a",) * 10}, "other class names"),
     ({}, {"labels_sha256": "cd" * 32}, "other labels of the training images"),
     ({"labels": "learned"}, {}, "are learned as logits, and those of this one hard"),
     ({"labels": "teacher"}, {"labels": "teacher"}, "are teacher, and those of this one"),
     ({"select": "test"}, {"select": "heldout"}, "--select test")],
)  # fmt: skip
def test_what_cannot_follow(digits: Dataset, then: dict, now: dict, said: str) -> None:
    """Other classes, data or labels, and a selection on images with which an earlier stage may have begun."""
    one = configured(made(digits), **then)
    if then.get("labels") in ("teacher", "learned"):
        one = replace(one, soft_labels=torch.full((20, 10), 0.1))
    if then.get("labels") == "learned":
        one = replace(one, label_logits=torch.zeros(20, 10))
    one = replace(one, origin=replace(one.run, labels_sha256="ab" * 32))
    settings = {name: value for name, value in now.items() if name in ("labels", "select")}
    new = configured(made(digits), **settings)
    own = {name: value for name, value in now.items() if name not in settings}
    with pytest.raises(MismatchError, match=said):
        earlier(one).check(replace(new.run, **own))

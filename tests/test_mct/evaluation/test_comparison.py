"""Training fresh networks: the protocol, the baseline, and what is equal for both."""

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from mct.data.datasets import Dataset  # noqa: E402
from mct.errors import ConfigError, MismatchError  # noqa: E402
from mct.evaluation import protocol  # noqa: E402
from mct.evaluation.comparison import CROSS, Comparison  # noqa: E402
from mct.events import ArchitectureTested, NetworkTrained  # noqa: E402
from mct.results import synthetic  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.settings.config import EvaluateConfig  # noqa: E402
from tests.helpers.generators import drain  # noqa: E402
from tests.helpers.made import made  # noqa: E402
from tests.helpers.stages import two_stages  # noqa: E402


def test_comparison_from_a_file(tmp_path: Path, digits: Dataset) -> None:
    """A result file says what to test on; the learned rate is among the baseline's."""
    synthetic.save(tmp_path / synthetic.RESULT_NAME, made(digits), digits)
    for path in (tmp_path, tmp_path / synthetic.RESULT_NAME):
        comparison = Comparison.prepare(path, networks=1, epochs=1)
        assert torch.equal(comparison.dataset.test_images, digits.test_images)
        assert comparison.rates[0] == comparison.synthetic.learning_rate
        assert drain(comparison.distilled())[1].learning_rate == comparison.synthetic.learning_rate


def test_comparison_on_another_network(tmp_path: Path, digits: Dataset) -> None:
    """Cross-architecture evaluation takes a model by name."""
    synthetic.save(tmp_path / "a.safetensors", made(digits), digits)
    comparison = Comparison.prepare(tmp_path / "a.safetensors", model="ConvNetD1W8BN", epochs=1)
    assert (comparison.model.depth, comparison.model.norm) == (1, "batch")


def test_comparison_takes_the_best_images_of_a_run(tmp_path: Path, digits: Dataset) -> None:
    """Where evaluations chose some, they are tested; a file given by name is taken as it is."""
    last = made(digits)
    chosen = synthetic.Selection(on="heldout", mean=0.5, std=0.1)
    best = replace(last, images=last.images + 1, origin=replace(last.origin, selected=chosen))
    synthetic.save(tmp_path / synthetic.RESULT_NAME, last, digits)
    synthetic.save(tmp_path / synthetic.BEST_NAME, best, digits)
    found = Comparison.prepare(tmp_path, networks=1, epochs=1)
    assert torch.equal(found.synthetic.images, best.images)
    assert found.synthetic.origin.selected == chosen
    named = Comparison.prepare(tmp_path / synthetic.RESULT_NAME, networks=1, epochs=1)
    assert torch.equal(named.synthetic.images, last.images)
    assert named.synthetic.origin.selected is None


def test_comparison_augments_as_the_run_did(tmp_path: Path, digits: Dataset) -> None:
    """The result says how; a given augmentation wins, and one that does not exist is refused at once."""
    start = made(digits)
    origin = replace(start.origin, evaluation=EvaluateConfig(augment="flip_crop"))
    path = tmp_path / "a.safetensors"
    synthetic.save(path, replace(start, origin=origin), digits)
    assert Comparison.prepare(path).config.augment == "flip_crop"
    assert Comparison.prepare(path, augment="none").config.augment == "none"
    with pytest.raises(ConfigError, match="`augment`"):
        Comparison.prepare(path, augment="mirror")


def test_stages_are_evaluated_as_the_run_did(tmp_path: Path, digits: Dataset) -> None:
    """In sequence, with the rate of each stage, which one given rate cannot replace; or together."""
    path = tmp_path / "a.safetensors"
    recorded = EvaluateConfig(protocol="sequence", networks=1, epochs=2, augment="none")
    synthetic.save(path, two_stages(digits, evaluation=recorded), digits)
    comparison = Comparison.prepare(path, networks=1, epochs=2)
    assert comparison.config.protocol == "sequence"
    now = comparison.synthetic
    facts = (now.images, now.labels, now.learning_rate, digits, comparison.model, recorded)
    expected = drain(protocol.evaluate(*facts, stages=now.stages))
    assert drain(comparison.distilled()) == expected
    together = Comparison.prepare(path, networks=1, epochs=2, protocol="mtt", lr=0.2)
    assert drain(together.distilled()) != expected
    with pytest.raises(ConfigError, match="--protocol mtt"):
        Comparison.prepare(path, lr=0.2)


def test_a_rate_that_the_protocol_does_not_use_is_neither_taken_nor_told(tmp_path: Path, digits) -> None:
    """SelMatch's step size is its own; a file without a rate may be given one, as others need it."""
    start = made(digits)
    synthetic.save(tmp_path / "a.safetensors", start, digits)
    few = {"networks": 1, "epochs": 1, "protocol": "selmatch"}
    found = Comparison.prepare(tmp_path / "a.safetensors", **few)
    assert found.rates == (0.1,)
    accuracy = drain(found.distilled())[1]
    assert accuracy.learning_rate == 0.1 != start.learning_rate
    with pytest.raises(ConfigError, match="`lr` has no effect with the protocol selmatch"):
        Comparison.prepare(tmp_path / "a.safetensors", lr=0.5, **few)
    torch.save(start.images, tmp_path / "images_best.pt")
    torch.save(start.labels, tmp_path / "labels_best.pt")
    facts = {"dataset": "digits", "preprocessing": "normalize", "model": "ConvNetD1W4", "lr": 0.5}
    constants = {"mean": tuple(digits.transform.record.mean), "std": tuple(digits.transform.record.std)}
    assert Comparison.prepare(tmp_path / "images_best.pt", **facts, **constants, **few).rates == (0.1,)


def test_more_images_than_real_ones_are_refused_before_training(tmp_path: Path, digits: Dataset) -> None:
    """Images that began as noise may be more than the real images of a class; the message says what to do."""
    synthetic.save(tmp_path / "a.safetensors", made(digits, ipc=2), digits)
    found = Comparison.prepare(tmp_path / "a.safetensors")
    found.check_baseline()
    kept = digits.train_labels != 3
    kept[(~kept).nonzero()[0]] = True
    few = replace(digits, train_images=digits.train_images[kept], train_labels=digits.train_labels[kept])
    with pytest.raises(ConfigError, match=r"2 images of class '3' .* there are only 1; .* --no-baseline"):
        replace(found, dataset=few).check_baseline()


def test_comparison_trains_with_soft_labels(tmp_path: Path, digits: Dataset) -> None:
    """A result that has some is evaluated with them."""
    start = made(digits)
    soft = torch.rand(20, 10, generator=generator(2)).softmax(1)
    synthetic.save(tmp_path / "a.safetensors", replace(start, soft_labels=soft), digits)
    comparison = Comparison.prepare(tmp_path / "a.safetensors", networks=1, epochs=2)
    now = comparison.synthetic
    expected = drain(protocol.evaluate(now.images, soft, now.learning_rate, digits, comparison.model,
                                       comparison.config))  # fmt: skip
    assert drain(comparison.distilled()) == expected


def test_other_architectures(tmp_path: Path, digits: Dataset) -> None:
    """Each gets its networks and one mean, the same as alone."""
    synthetic.save(tmp_path / "a.safetensors", made(digits), digits)
    comparison = Comparison.prepare(tmp_path / "a.safetensors", networks=2, epochs=1)
    names = ("ConvNetD1W4", "ConvNetD2W8BN")
    events = list(comparison.cross(names))
    assert [type(event) for event in events] == [NetworkTrained, NetworkTrained, ArchitectureTested] * 2
    means = {event.model: event.accuracy for event in events if isinstance(event, ArchitectureTested)}
    assert tuple(means) == names
    alone = Comparison.prepare(tmp_path / "a.safetensors", networks=2, epochs=1, model=names[1])
    assert drain(alone.distilled())[1] == means[names[1]]


def test_architectures_that_take_the_images_are_crossed(tmp_path: Path, digits: Dataset) -> None:
    """Others are noted, and if only the family of the evaluated network is left, that is an error."""
    synthetic.save(tmp_path / "a.safetensors", made(digits), digits)
    notes: list[str] = []
    small = Comparison.prepare(tmp_path / "a.safetensors", notes=notes.append)
    with pytest.raises(ConfigError, match=r"AlexNet .*, VGG11 .*, ResNet18 .* do not take images of 8x8"):
        small.crossed()
    for size, names in ((32, CROSS), (56, ("ConvNet", "VGG11", "ResNet18"))):
        images = torch.zeros(1, 1, size, size)
        assert (
            replace(small, dataset=replace(digits, test_images=images, train_images=images)).crossed()
            == names
        )
    assert notes == ["left out, as they do not take images of 56x56 pixels: AlexNet (28 to 35 pixels)"]


def test_unknown_architecture_is_refused_before_any_is_trained(tmp_path: Path, digits: Dataset) -> None:
    """All names, and whether such networks take these images, are checked at the call."""
    synthetic.save(tmp_path / "a.safetensors", made(digits), digits)
    comparison = Comparison.prepare(tmp_path / "a.safetensors", networks=1, epochs=1)
    with pytest.raises(ConfigError, match="Nonesuch"):
        comparison.cross(["ConvNetD1W4", "Nonesuch"])
    with pytest.raises(ConfigError, match="depth"):
        comparison.cross(["ConvNetD1W4", "ConvNetD5W4"])


def test_other_labels_than_those_of_the_distillation_are_refused(tmp_path: Path, digits: Dataset) -> None:
    """The accuracy would be that of other classes. Other test images are only noted."""
    start = made(digits)
    path = tmp_path / "a.safetensors"
    synthetic.save(path, replace(start, origin=replace(start.origin, labels_sha256="0" * 64)), digits)
    with pytest.raises(MismatchError, match="the labels of the dataset 'digits' are not those"):
        Comparison.prepare(path)
    synthetic.save(path, replace(start, origin=replace(start.origin, test_sha256="0" * 64)), digits)
    notes: list[str] = []
    Comparison.prepare(path, notes=notes.append)
    assert notes == ["the test images or their labels are not those of the dataset as it was distilled"]

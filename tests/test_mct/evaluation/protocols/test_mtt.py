"""The protocol `mtt`: what its plan says about itself, and that it ignores stages."""

import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from mct.data.datasets import Dataset  # noqa: E402
from mct.evaluation.protocols.mtt import Mtt, Passes  # noqa: E402
from mct.evaluation.protocols.protocol import Material  # noqa: E402
from mct.results.stages import Stage  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.settings.config import EvaluateConfig  # noqa: E402

CONFIG = EvaluateConfig(epochs=3, batch_size=8, augment="none")


class Listener:
    """A learner that learns nothing, and records what it is told."""

    def __init__(self) -> None:
        self.heard = []

    def begin(self, rate):
        """Record the learning rate."""
        self.heard.append(rate)

    def update(self, batch):
        """Record the images of the batch."""
        self.heard.append(batch.pixels)


def material(digits: Dataset, rate: float = 0.5, **more) -> Material:
    """Return 20 images."""
    images, labels = digits.train_images[:20], digits.train_labels[:20]
    return Material(images=images, labels=labels, learning_rate=rate, **more)


def heard(plan: Passes, seed: int = 1) -> tuple[list, list[bool]]:
    """Return what a plan tells a learner, and after which updates it asks for a test."""
    learner = Listener()
    return learner.heard, list(plan.run(learner, generator(seed)))


def test_rates_and_tests(digits: Dataset, model: trajfmt.Model) -> None:
    """Three of four passes use the full rate, the last a tenth; the test is after the last update."""
    plan = Mtt().plan(material(digits), model, CONFIG)
    told, tests = heard(plan)
    assert [each for each in told if isinstance(each, float)] == [0.5, 0.05]
    assert [isinstance(each, float) for each in told].index(True, 1) == 1 + 3 * 3
    assert tests == [False] * 11 + [True]
    assert plan.updates == 12
    assert plan.shapes == [(8, 1, 8, 8), (4, 1, 8, 8)]


def test_all_images_are_learned_from_together(digits: Dataset, model: trajfmt.Model) -> None:
    """Stages change nothing."""
    stages = (Stage(torch.arange(10), 0.1), Stage(torch.arange(10, 20), 0.5))
    told, _ = heard(Mtt().plan(material(digits, stages=stages), model, CONFIG))
    plain, _ = heard(Mtt().plan(material(digits), model, CONFIG))
    assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(told, plain, strict=True))

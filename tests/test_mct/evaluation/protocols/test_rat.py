"""The protocol `rat`: Adam on even batches, and one of four tests for all networks."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from mct.data.augment import DSA  # noqa: E402
from mct.data.datasets import Dataset  # noqa: E402
from mct.data.picking import even_batches, pick_per_class  # noqa: E402
from mct.evaluation.protocol import accuracy_of, evaluate  # noqa: E402
from mct.evaluation.protocols import rat  # noqa: E402
from mct.evaluation.protocols.protocol import Material  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.results.stages import Stage  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.settings.config import EvaluateConfig  # noqa: E402
from tests.helpers.generators import drain  # noqa: E402

CONFIG = EvaluateConfig(protocol="rat", epochs=4, batch_size=25, networks=3, augment="flip_rotate")
RATE = 0.5  # so large that the best test of the second network is not the last one


@pytest.fixture
def images(digits: Dataset):
    """Return four images of each class, sorted, and their labels as rows."""
    chosen = pick_per_class(digits.train_labels, 10, 4, generator(0))
    return digits.train_images[chosen], torch.eye(10)[digits.train_labels[chosen]] * 1.5


def expected(images, labels, digits: Dataset, model: trajfmt.Model, number: int) -> list[float]:
    """Return the accuracies after 1, 2, 4 and 12 updates, in a loop of plain torch."""
    random = generator(CONFIG.seed, "test", "network", number)
    network = networks.build(model, generator=random)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    batches, augment = even_batches(10, 4, 20, 12, random), DSA("flip_rotate")
    draws = [augment.draw(20, 8, random) for _ in batches]
    found = []
    for update, (batch, draw) in enumerate(zip(batches, draws, strict=True), 1):
        loss = torch.nn.functional.cross_entropy(network(augment.apply(images[batch], draw)), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if update in (1, 2, 4, 12):
            found.append(accuracy_of(network, digits.test_images, digits.test_labels))
    return found


def test_the_best_mean_of_four_tests_counts_for_all_networks(images, digits, model) -> None:
    """Accuracies are those of a plain loop with torch's Adam; the best test of each network is not taken."""
    tests = [expected(*images, digits, model, number) for number in range(CONFIG.networks)]
    best = max(range(4), key=lambda test: sum(row[test] for row in tests))
    assert tests[1][best] < max(tests[1])
    events, found = drain(evaluate(*images, RATE, digits, model, CONFIG, engine="eager"))
    assert found.networks == pytest.approx([row[best] for row in tests], abs=1e-3)
    assert [event.accuracy for event in events] == pytest.approx([max(row) for row in tests], abs=1e-3)


def test_there_are_four_tests_however_few_epochs(images, model) -> None:
    """Numbers of updates that round to the same one are moved apart."""
    material = Material(images=images[0], labels=images[1], learning_rate=RATE)
    for epochs, ends in ((1, [1, 2, 3, 4]), (2, [1, 2, 3, 6]), (1000, [300, 600, 1000, 3000])):
        plan = rat.Rat().plan(material, model, EvaluateConfig(protocol="rat", epochs=epochs))
        assert plan._ends[1:] == ends
        assert plan.updates == ends[-1]


def test_images_that_are_not_sorted_are_passed_over(images, digits, model) -> None:
    """Class numbers that do not come in order leave nothing to draw evenly from; rows cannot say so."""
    labels = digits.train_labels[:20]
    assert not rat.is_even(labels, 10)
    assert rat.is_even(images[1], 10)
    material = Material(images=digits.train_images[:20], labels=labels, learning_rate=RATE)
    rows = {"images": images[0], "labels": images[1], "learning_rate": RATE}
    stages = tuple(Stage(torch.arange(first, first + 20), RATE) for first in (0, 20))
    for own, even in (((), True), (stages, False)):  # stages are sorted by class, one by one
        assert rat.Rat().plan(Material(stages=own, **rows), model, CONFIG)._even is even
    plan = rat.Rat().plan(material, model, CONFIG)
    assert plan.shapes == [(20, 1, 8, 8)]
    (learner,) = plan.learners(
        [networks.build(model, generator=generator(0))], model, engine="eager", notes=None
    )
    tests = list(plan.run(learner, generator(1)))
    assert [number for number, tested in enumerate(tests, 1) if tested] == [1, 2, 4, 12]

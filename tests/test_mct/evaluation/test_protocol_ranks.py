"""Fresh networks that several processes train: the accuracies are those of one."""

import pytest

pytest.importorskip("torch")
from mct.data.datasets import Dataset
from mct.evaluation.protocol import evaluate, evaluate_baseline
from mct.events import Accuracy
from mct.runtime.ranks import Alone
from mct.settings.config import EvaluateConfig
from tests.helpers.threads import in_ranks


@pytest.mark.parametrize("size", [2, 4])
def test_networks_of_several_processes_are_those_of_one(digits: Dataset, model, size: int) -> None:
    """Each trains some, also none; all know all accuracies, of the images and of the baseline."""
    config = EvaluateConfig(networks=3, epochs=2, augment="none", batch_size=8)
    images, labels = digits.train_images[:20], digits.train_labels[:20]

    def work(ranks) -> list[tuple[list[int], Accuracy]]:
        jobs = [
            evaluate(images, labels, 0.05, digits, model, config, ranks=ranks),
            evaluate_baseline(1, digits, model, config, rates=(0.01, 0.1), ranks=ranks),
        ]
        return [drain(job) for job in jobs]

    alone, shared = work(Alone()), in_ranks(work, size)
    for number in (0, 1):
        assert all(each[number][1] == alone[number][1] for each in shared)
        trained = [network for each in shared for network in each[number][0]]
        assert sorted(trained) == sorted(alone[number][0])
        assert shared[0][number][0] == [network for network in alone[number][0] if network % size == 0]


def drain(job) -> tuple[list[int], Accuracy]:
    """Return which networks an evaluation has trained, and what it returns."""
    trained = []
    while True:
        try:
            trained.append(next(job).network)
        except StopIteration as stop:
            return trained, stop.value

"""What one run of the inner loop is given: labels as probabilities, batches, and draws that fit them."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from torch.nn.functional import cross_entropy  # noqa: E402

from mct.data.augment import DSA  # noqa: E402
from mct.inner.problem import Problem, minibatches, targets_of  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402


def test_one_hot_labels_are_hard_labels() -> None:
    """Classes as probabilities of 0 and 1 have the cross-entropy of the classes; probabilities stay."""
    random = generator(0)
    logits = torch.randn(6, 3, generator=random, dtype=torch.float64)
    labels = torch.arange(6) % 3
    targets = targets_of(labels, 3, torch.float64)
    assert cross_entropy(logits, targets) == pytest.approx(float(cross_entropy(logits, labels)), rel=1e-15)
    assert torch.equal(targets_of(logits.softmax(1), 3, torch.float64), logits.softmax(1))


def test_augmentation_and_its_numbers_belong_together() -> None:
    """A problem with one of the two, or with too few draws, cannot be made."""
    random, augment = generator(0), DSA("flip")
    batches = minibatches(6, 4, 3, random)
    problem = Problem(
        weights=torch.zeros(5),
        images=torch.zeros(6, 2, 8, 8),
        targets=torch.eye(6),
        learning_rate=0.05,
        batches=batches,
        augment=augment,
        draws=[augment.draw(len(batch), 8, random) for batch in batches],
    )
    with pytest.raises(ValueError, match="both or neither"):
        replace(problem, augment=None)
    with pytest.raises(ValueError, match="2 draws for 3 batches"):
        replace(problem, draws=problem.draws[:2])


def test_minibatches_pass_over_all_images() -> None:
    """Each pass holds every image once; the remainder of a pass comes first, as in MTT."""
    batches = minibatches(10, 4, 6, generator(0))
    assert [len(batch) for batch in batches] == [2, 4, 4, 2, 4, 4]
    assert sorted(torch.cat(batches[:3]).tolist()) == list(range(10))
    assert sorted(torch.cat(batches[3:]).tolist()) == list(range(10))


def test_minibatches_larger_than_the_set() -> None:
    """A batch size above the number of images means all of them."""
    assert [len(batch) for batch in minibatches(3, 100, 2, generator(0))] == [3, 3]

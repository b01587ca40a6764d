"""Students as DD-Ranking trains them: losses, schedules, and the best of several tests."""

import pytest

torch = pytest.importorskip("torch")

from mct.data.datasets import Dataset  # noqa: E402
from mct.errors import ConfigError  # noqa: E402
from mct.evaluation import students  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.settings.ranking import RankingConfig  # noqa: E402
from mct.training.loader import Batch  # noqa: E402


def rows(seed: int) -> torch.Tensor:
    """Return logits of 6 images and 4 classes."""
    return torch.randn(6, 4, generator=generator(seed), dtype=torch.float64)


@pytest.mark.parametrize("scale", [False, True])
def test_soft_losses_are_their_definitions(scale: bool) -> None:
    """With a temperature of 1.5, SCE is -sum p log q, and KL is less by the entropy of p."""
    outputs, targets = rows(1), rows(2)
    p, q = (targets / 1.5).softmax(1), (outputs / 1.5).softmax(1)
    expected = {"sce": -(p * q.log()).sum(1).mean(), "kl": (p * (p / q).log()).sum(1).mean()}
    for loss, value in expected.items():
        config = RankingConfig(loss=loss, temperature=1.5, scale_loss=scale)
        found = students.soft_loss(config)(outputs, targets, None)
        assert float(found) == pytest.approx(float(value) * (2.25 if scale else 1), rel=1e-12)


def test_squared_error_and_classes() -> None:
    """MSE of all logits and the cross-entropy of class numbers, which must be known."""
    outputs, targets, classes = rows(1), rows(2), torch.tensor([0, 1, 2, 3, 0, 1])
    loss = students.soft_loss(RankingConfig(loss="mse_gt", mse_weight=0.7, ce_weight=0.3))
    entropy = -outputs.log_softmax(1)[torch.arange(6), classes].mean()
    expected = 0.7 * ((outputs - targets) ** 2).mean() + 0.3 * entropy
    assert float(loss(outputs, targets, classes)) == pytest.approx(float(expected), rel=1e-12)
    with pytest.raises(ConfigError, match="`mse_gt` needs class numbers"):
        loss(outputs, targets, None)


@pytest.mark.parametrize("schedule", ["step", "cosineannealing", "cosine"])
def test_schedules_are_those_of_torch(schedule: str) -> None:
    """The learning rate of every epoch is what torch's scheduler gives."""
    scheduler = torch.optim.lr_scheduler
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    theirs = {
        "step": lambda: scheduler.StepLR(optimizer, step_size=3),
        "cosineannealing": lambda: scheduler.CosineAnnealingLR(optimizer, T_max=10),
        "cosine": lambda: scheduler.LambdaLR(
            optimizer,
            lambda epoch: 0.5 * (1 + torch.cos(torch.tensor(torch.pi * epoch / 20, dtype=torch.float64))),
        ),
    }[schedule]()
    for epoch in range(10):
        found = students.rate_at(epoch, 0.3, schedule=schedule, step_size=3, epochs=10)
        assert found == pytest.approx(float(optimizer.param_groups[0]["lr"]), rel=1e-6)
        optimizer.step()
        theirs.step()


def test_a_teacher_sees_what_the_student_sees(model) -> None:
    """It labels the augmented pixels of each batch, and the classes go to the loss."""
    seen = []

    def loss(outputs, targets, classes):
        seen.append((targets, classes))
        return outputs.sum()

    pixels, labels = torch.randn(3, 1, 8, 8, generator=generator(1)), torch.tensor([1, 2, 3])
    network = networks.build(model, generator=generator(0))
    student = students.Student(
        network, momentum=0.9, weight_decay=0.0, loss=loss, teacher=lambda images: images.sum((1, 2, 3))
    )
    student.learn([Batch(pixels, labels, labels)], 0.1)
    assert torch.equal(seen[0][0], pixels.sum((1, 2, 3)))
    assert torch.equal(seen[0][1], labels)


def test_the_best_test_counts(digits: Dataset, model, monkeypatch) -> None:
    """Tests are after every second epoch and after the last one."""
    values = iter([0.2, 0.6, 0.4])
    monkeypatch.setattr(students, "accuracy_of", lambda *_: next(values))
    student = students.Student(networks.build(model, generator=generator(0)), momentum=0.9, weight_decay=0.0)
    found = students.best_accuracy(
        student, digits.train_images[:4], digits.train_labels[:4], (digits.test_images, digits.test_labels),
        RankingConfig(epochs=5), rate=0.1, classes=10, augment=True, test_every=2, random=generator(1),
    )  # fmt: skip
    assert found == 0.6
    assert next(values, None) is None

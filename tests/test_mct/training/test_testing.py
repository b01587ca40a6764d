"""Hits on test images, counted block by block."""

import pytest

torch = pytest.importorskip("torch")

from mct.training.testing import BLOCK, Trial  # noqa: E402


class Mean(torch.nn.Module):
    """A network whose answer is the rounded mean of an image; remembers how many it saw and in which mode."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, bool]] = []

    def forward(self, images):
        """Return logits that are largest at the mean."""
        self.seen.append((len(images), self.training))
        return -(images.mean((1, 2, 3))[:, None] - torch.arange(4)).abs()


@pytest.mark.parametrize(
    ("block", "blocks"), [(None, [BLOCK, 8]), (7, [7] * 5 + [5]), (40, [40]), (99, [40])], ids=str
)
def test_share_of_hits(block: int | None, blocks: list[int]) -> None:
    """30 of 40 are right, whatever the blocks; the network is asked in evaluation mode and left as it was."""
    labels = torch.arange(40) % 4
    images = labels.float()[:, None, None, None].expand(40, 1, 2, 2)
    wrong = torch.where(labels == 3, 0, labels)
    network = Mean().train()
    trial = Trial(network, images, wrong, block=block)
    assert sum(1 for _ in trial) == len(blocks)
    assert (int(trial.hits), trial.accuracy) == (30, 0.75)
    assert trial.right.tolist() == [10, 10, 10, 0]
    assert network.seen == [(count, False) for count in blocks]
    assert network.training


def test_another_classifier_answers_in_its_place() -> None:
    """A compiled one; the network is not asked, and its own mode stays."""
    network = Mean().eval()
    trial = Trial(
        network, torch.zeros(5, 1, 2, 2), torch.full((5,), 2), classify=lambda x: torch.eye(4)[[2] * len(x)]
    )
    for _ in trial:
        pass
    assert trial.accuracy == 1.0
    assert network.seen == []
    assert not network.training


def test_logits_that_are_not_finite_count_as_wrong() -> None:
    """The first class would be right by chance."""
    images, labels = torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64)
    for value, accuracy in ((float("nan"), 0.0), (float("inf"), 0.0), (1.0, 1.0)):
        logits = torch.tensor([[value, 0.0]])
        trial = Trial(torch.nn.Identity(), images, labels, classify=lambda x, y=logits: y.expand(len(x), 2))
        list(trial)
        assert trial.accuracy == accuracy
        assert bool(trial.diverged) == (accuracy == 0)

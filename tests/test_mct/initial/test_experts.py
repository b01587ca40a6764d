"""Initial images and labels from hand-made experts."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from mct.data.picking import pick_per_class  # noqa: E402
from mct.initial.experts import correct_first, mean_logits  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402

LABELS = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
IMAGES = torch.arange(8.0).view(8, 1, 1, 1)


class Experts:
    """Experts that are right about the images of some numbers, and certain as their own number says."""

    def __init__(self, *right: set[int]) -> None:
        self.right, self.asked = right, list[int]()

    def __len__(self) -> int:
        return len(self.right)

    def logits(self, expert: int, images):
        """Return (expert + 1) times a one-hot row of the class that the expert takes an image for."""
        self.asked.append(expert)
        numbers = images.flatten().long().tolist()
        wanted = [int(LABELS[number]) ^ (number not in self.right[expert]) for number in numbers]
        return (expert + 1.0) * torch.nn.functional.one_hot(torch.tensor(wanted), 2).float()


def picked(experts: Experts, ipc: int) -> list[int]:
    """Return the images that are chosen from the random order of seed 0."""
    prefer = correct_first(experts, IMAGES, LABELS)
    return pick_per_class(LABELS, 2, ipc, generator(0), prefer=prefer).tolist()


def test_first_correct_images_of_the_random_order() -> None:
    """Those of expert 0 come first, in the random order, then those of the next; nobody is asked in vain."""
    order = pick_per_class(LABELS, 2, 4, generator(0)).tolist()
    experts = Experts({0, 2, 5, 6}, {3, 4})
    zero, one = order[:4], order[4:]
    expected = [*[n for n in zero if n in (0, 2)], 3, 1, *[n for n in one if n in (5, 6)], 4, 7]
    assert picked(experts, 4) == expected
    assert picked(Experts(set(range(8))), 4) == order
    everybody = Experts(set(range(8)), set())
    picked(everybody, 1)
    assert everybody.asked == [0, 0]  # one call a class


def test_labels_are_the_mean_of_those_who_are_right() -> None:
    """Of three experts with scales 1, 2 and 3; nobody is right about image 7, so all of them count."""
    experts = Experts({0, 4}, {4}, {4, 1})
    found = mean_logits(experts, IMAGES[[0, 1, 4, 7]], LABELS[[0, 1, 4, 7]])
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [2.0, 0.0]]))

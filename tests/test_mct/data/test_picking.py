"""Random images of every class."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from mct.data.picking import pick_per_class  # noqa: E402
from mct.errors import ConfigError  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402

LABELS = torch.tensor([1, 0, 1, 0, 0, 1, 1])


def test_as_many_of_each_class_as_asked_for() -> None:
    """Without repeats, sorted by class, one number for all classes or one for each."""
    for ipc, counts in ((2, [2, 2]), ((1, 3), [1, 3]), ((0, 4), [0, 4])):
        found = pick_per_class(LABELS, 2, ipc, generator(0))
        assert len(set(found.tolist())) == len(found)
        assert LABELS[found].tolist() == [0] * counts[0] + [1] * counts[1]


def test_preferred_images_come_first() -> None:
    """`prefer` is given the random order of the class and may sort it; the draws stay the same."""
    seen = []

    def descending(indices):
        seen.append(indices.tolist())
        return indices.sort(descending=True).values

    assert pick_per_class(LABELS, 2, 2, generator(0), prefer=descending).tolist() == [4, 3, 6, 5]
    assert [order[:2] for order in seen] == pick_per_class(LABELS, 2, 2, generator(0)).view(2, 2).tolist()


def test_class_with_too_few_images() -> None:
    """Is named."""
    with pytest.raises(ConfigError, match="class 0 has only 3 training images"):
        pick_per_class(LABELS, 2, 4, generator(0))

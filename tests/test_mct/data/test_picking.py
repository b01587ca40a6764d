"""Random images of every class."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from mct.data.picking import even_batches, pick_per_class  # noqa: E402
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


def test_even_batches_have_equally_many_images_of_every_class() -> None:
    """No image twice in a batch, all images over many batches, and every batch is drawn anew."""
    batches = even_batches(4, 5, 8, 50, generator(0))
    assert all(torch.equal(batch // 5, torch.arange(4).repeat_interleave(2)) for batch in batches)
    assert all(len(batch.unique()) == 8 for batch in batches)
    assert torch.cat(batches).unique().tolist() == list(range(20))
    assert len({tuple(batch.tolist()) for batch in batches}) > 25


def test_even_batches_of_fewer_images_than_classes() -> None:
    """One image of each of so many classes, and over many batches all of them."""
    batches = even_batches(7, 2, 3, 60, generator(0))
    assert all(len((batch // 2).unique()) == 3 for batch in batches)
    assert torch.cat(batches).unique().tolist() == list(range(14))


def test_even_batches_of_everything_draw_nothing() -> None:
    """The generator stays as it was, as a batch of all images has no choice."""
    random = generator(0)
    before = random.get_state()
    for size in (None, 6, 9):
        assert [batch.tolist() for batch in even_batches(3, 2, size, 2, random)] == [list(range(6))] * 2
    assert torch.equal(random.get_state(), before)


def test_even_batches_of_an_uneven_size_are_refused() -> None:
    """Seven images cannot be the same number of each of three classes."""
    with pytest.raises(ConfigError, match="`batch_syn` must be less than the 3 classes, or a multiple"):
        even_batches(3, 5, 7, 1, generator(0))

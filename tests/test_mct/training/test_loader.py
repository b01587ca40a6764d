"""Batches that are drawn ahead and augmented many at a time are those that would be drawn one by one."""

import pytest

torch = pytest.importorskip("torch")

from mct.data.augment import augmentation  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.training import loader  # noqa: E402

IMAGES = torch.randn(20, 3, 8, 8, generator=generator(0))
LABELS = torch.arange(20) % 4


def one_by_one(size, augment, passes, random):
    """Yield pixels and labels as MTT's loop would see them."""
    for _ in range(passes):
        for batch in torch.split(torch.randperm(20, generator=random), size):
            pixels = IMAGES[batch]
            yield (pixels if augment is None else augment(pixels, random)), LABELS[batch]


@pytest.mark.parametrize("ahead", [1, 45, 1 << 16])
@pytest.mark.parametrize("budget", [1, 7 * IMAGES[0].nbytes * 4, 2 << 20])
@pytest.mark.parametrize("augment", ["none", "dsa", "flip_color"])
def test_batches_are_those_drawn_one_by_one(monkeypatch, ahead: int, budget: int, augment: str) -> None:
    """However many are drawn or augmented at once: bit for bit."""
    monkeypatch.setattr(loader, "_AHEAD", ahead)
    monkeypatch.setattr(loader, "_BUDGET", budget)
    dsa = augmentation(augment)
    batches = loader.Loader(IMAGES, LABELS, classes=4, size=7, augment=dsa).batches(5, generator(1))
    for batch, (pixels, labels) in zip(batches, one_by_one(7, dsa, 5, generator(1)), strict=True):
        assert torch.equal(batch.pixels, pixels)
        assert torch.equal(batch.labels, labels)
        assert torch.equal(batch.targets, torch.nn.functional.one_hot(labels, 4).float())


@pytest.mark.parametrize("ahead", [1, 45, 1 << 16])
@pytest.mark.parametrize("skip", [0, 1, 4, 14, 15])
def test_batches_after_those_left_out_are_the_same(monkeypatch, ahead: int, skip: int) -> None:
    """Wherever a training goes on, also within a pass or a chunk: bit for bit."""
    monkeypatch.setattr(loader, "_AHEAD", ahead)
    monkeypatch.setattr(loader, "_BUDGET", 2 * 7 * IMAGES[0].nbytes)
    source = loader.Loader(IMAGES, LABELS, classes=4, size=7, augment=augmentation("dsa"))
    whole = list(source.batches(5, generator(1)))
    for batch, expected in zip(source.batches(5, generator(1), skip=skip), whole[skip:], strict=True):
        assert torch.equal(batch.pixels, expected.pixels)
        assert torch.equal(batch.labels, expected.labels)


def test_counts_and_shapes() -> None:
    """A last batch that is smaller has a shape of its own."""
    for size, updates, sizes in ((7, 3, [7, 6]), (10, 2, [10]), (50, 1, [20])):
        found = loader.Loader(IMAGES, LABELS, classes=4, size=size, augment=None)
        assert (found.updates(1), found.updates(3), found.images(2)) == (updates, 3 * updates, 20)
        assert found.shapes == [(size, 3, 8, 8) for size in sizes]


PASSES = [
    torch.tensor([3, 17, 4, 9, 11, 0, 1, 2, 5]),
    torch.arange(20),
    torch.tensor([8]),
    torch.arange(2, 20),
]


@pytest.mark.parametrize("ahead", [1, 45, 1 << 16])
@pytest.mark.parametrize("skip", [0, 1, 2, 6, 8])
def test_passes_over_some_images(monkeypatch, ahead: int, skip: int) -> None:
    """Each is shuffled and augmented like a pass over a dataset of its images, wherever training goes on."""
    monkeypatch.setattr(loader, "_AHEAD", ahead)
    dsa, random, expected = augmentation("dsa"), generator(1), []
    for images in PASSES:
        alone = loader.Loader(IMAGES[images], LABELS[images], classes=4, size=7, augment=dsa)
        expected += list(alone.batches(1, random))
    found = loader.Loader(IMAGES, LABELS, classes=4, size=7, augment=dsa, passes=PASSES)
    assert [found.images(number) for number in range(4)] == [9, 20, 1, 18]
    assert [found.updates(count) for count in range(5)] == [0, 2, 5, 6, 9]
    assert found.shapes == [(7, 3, 8, 8)]
    for batch, other in zip(found.batches(4, generator(1), skip=skip), expected[skip:], strict=True):
        assert torch.equal(batch.pixels, other.pixels)
        assert torch.equal(batch.labels, other.labels)


def test_passes_without_a_whole_batch_have_no_usual_shape() -> None:
    """Every one would have another."""
    small = loader.Loader(IMAGES, LABELS, classes=4, size=20, augment=None, passes=[PASSES[0], PASSES[3]])
    assert small.shapes == []


def test_probabilities_are_targets() -> None:
    """Soft labels are handed out as they are."""
    soft = torch.rand(20, 4, generator=generator(2)).softmax(1)
    (batch,) = loader.Loader(IMAGES, soft, classes=4, size=50, augment=None).batches(1, generator(1))
    order = torch.randperm(20, generator=generator(1))
    assert torch.equal(batch.targets, soft[order])

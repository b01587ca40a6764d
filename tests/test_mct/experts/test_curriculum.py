"""The images of every epoch under PAD's curriculum."""

import pytest

torch = pytest.importorskip("torch")

from mct.experts.curriculum import passes  # noqa: E402


def test_counts_are_those_of_pad_for_cifar10() -> None:
    """Images of a class in each of 100 epochs: what PAD's `buffer_CL.py` takes with the README's options."""
    growing = [3750, 3812, 3875, 3937, 4000, 4062, 4125, 4187, 4250, 4312, 4375, 4437, 4500, 4562, 4625, 4687,
               4750, 4812, 4875, 4937, 5000]  # fmt: skip
    order = (torch.arange(5000), torch.arange(5000, 10_000))
    found = passes(order, 100)
    expected = growing + [5000] * 20 + [4500] * 20 + [4000] * 39
    assert [len(images) for images in found] == [2 * count for count in expected]
    for epoch, (images, count) in enumerate(zip(found, expected, strict=True)):
        own = torch.arange(count) if epoch <= 40 else torch.arange(5000 - count, 5000)
        assert torch.equal(images, torch.cat([own, own + 5000]))


def test_classes_have_sizes_of_their_own() -> None:
    """Of 500 images, a fifth is left out at the end and not all; a class of one image keeps it."""
    order = (torch.arange(500), torch.tensor([500]))
    found = passes(order, 62)
    assert [len(found[epoch]) for epoch in (0, 20, 41, 61)] == [376, 501, 451, 401]
    assert found[61].tolist() == [*range(100, 500), 500]
    assert all(500 in images for images in found)


def test_short_training_sees_the_beginning() -> None:
    """The schedule counts epochs, and is not stretched."""
    order = (torch.arange(100),)
    assert [images.tolist() for images in passes(order, 3)] == [
        images.tolist() for images in passes(order, 100)[:3]
    ]

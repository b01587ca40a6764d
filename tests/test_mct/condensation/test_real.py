"""Real images by class."""

import pytest

torch = pytest.importorskip("torch")

from mct.condensation.real import ClassImages  # noqa: E402


def test_images_are_of_the_class_and_none_twice() -> None:
    """As many as asked for, or all; the generator alone decides which."""
    images, labels = torch.arange(30.0).view(30, 1, 1, 1), torch.arange(30) % 3
    real = ClassImages(images, labels, 3)
    found = real.draw(1, 4, torch.Generator().manual_seed(1)).flatten().tolist()
    assert len(set(found)) == 4
    assert all(value % 3 == 1 for value in found)
    assert real.draw(1, 4, torch.Generator().manual_seed(1)).flatten().tolist() == found
    assert real.draw(1, 4, torch.Generator().manual_seed(2)).flatten().tolist() != found
    assert sorted(real.draw(2, 99, torch.Generator()).flatten().tolist()) == list(range(2, 30, 3))

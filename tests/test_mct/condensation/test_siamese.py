"""Siamese augmentation."""

import pytest

torch = pytest.importorskip("torch")

from mct.condensation import siamese  # noqa: E402
from mct.data.augment import DSA, STRATEGY  # noqa: E402


@pytest.mark.parametrize("family", STRATEGY.split("_"))
def test_equal_images_stay_equal_in_batches_of_any_size(family: str) -> None:
    """Whatever the number of images, each is changed as the first one, which DSA changes as one image."""
    augment, random = DSA(family, aligned=False), torch.Generator().manual_seed(3)
    image = torch.randn(1, 3, 8, 8, generator=random)
    draws = siamese.draw(augment, 8, random)
    one = augment.apply(image, draws)
    for count in (1, 5, 40):
        found = siamese.apply(augment, image.expand(count, -1, -1, -1), draws)
        torch.testing.assert_close(found, one.expand(count, -1, -1, -1), rtol=0, atol=1e-6)

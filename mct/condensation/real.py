"""Real images by class, of which random ones are drawn."""

import torch
from torch import Tensor


class ClassImages:
    """The real training images of K classes.

    Args:
        images: `(M, C, H, W)`.
        labels: `(M,)` int64: their classes.
        classes: K.

    Example:
        >>> images = ClassImages(torch.arange(6.0).view(6, 1, 1, 1), torch.tensor([0, 1, 0, 1, 0, 1]), 2)
        >>> sorted(images.draw(1, 5, torch.Generator().manual_seed(0)).flatten().tolist())
        [1.0, 3.0, 5.0]
    """

    def __init__(self, images: Tensor, labels: Tensor, classes: int) -> None:
        self.images, self.classes = images, classes
        self._members = [(labels == label).nonzero()[:, 0] for label in range(classes)]

    def draw(self, label: int, count: int, random: torch.Generator) -> Tensor:
        """Return random images of a class, without replacement: `count` of them, or all if it has fewer.

        Args:
            label: The class.
            count: Number of images.
            random: A generator on the CPU.
        """
        members = self._members[label]
        chosen = torch.randperm(len(members), generator=random)[:count]
        return self.images[members[chosen.to(members.device)]]

"""Counts how many images a network classifies correctly, on their device and without waiting for it."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

BLOCK = 32
"""Images per forward pass on a CPU, where larger tensors come from fresh memory and leave the caches."""

_DEVICE_BLOCK = 1024
"""Images per forward pass on a GPU."""

Classifier = Callable[[Tensor], Tensor]
"""From at most `BLOCK` images `(B, C, H, W)` to logits `(B, K)`, in evaluation mode."""


class Trial:
    """Tests one network on labelled images: iterating over it counts block by block; then read `accuracy`.

    Args:
        network: Is in evaluation mode while it is asked, and afterwards in the mode that it was in.
        images: `(N, C, H, W)`.
        labels: `(N,)` int64.
        block: Images per forward pass; None: what suits the device.
        classify: Gives the logits `(B, K)` in place of the network; None: the network does.
    """

    def __init__(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        block: int | None = None,
        classify: Classifier | None = None,
    ) -> None:
        self._network, self._images, self._labels = network, images, labels
        self._classify = classify or network
        self._block = block or (BLOCK if images.device.type == "cpu" else _DEVICE_BLOCK)
        self.hits = torch.zeros((), dtype=torch.int64, device=labels.device)
        """How many are right, `()` on the device of the labels."""
        self.right = torch.zeros(0, dtype=torch.int64, device=labels.device)
        """How many of each class are right, `(K,)` on the same device; empty before the first block."""
        self.diverged = torch.zeros((), dtype=torch.bool, device=labels.device)
        """Whether some logits are not finite, `()` on the same device. Such images count as wrong."""

    def __iter__(self) -> Iterator[None]:
        training = self._network.training
        self._network.eval()
        blocks = (torch.split(part, self._block) for part in (self._images, self._labels))
        for x, y in zip(*blocks, strict=True):
            with torch.no_grad():  # not around the yield: another thread may ask for the next block
                logits = self._classify(x)
                finite = logits.isfinite().all(
                    1
                )  # of those that are not, `argmax` would take the first class
                hit = (logits.argmax(1) == y) & finite
                self.hits += hit.sum()
                classes = torch.arange(logits.shape[1], device=y.device)
                right = ((y[:, None] == classes) & hit[:, None]).sum(0)
                self.right = right if not len(self.right) else self.right + right
                self.diverged |= ~finite.all()
            yield
        self._network.train(training)

    @property
    def accuracy(self) -> float:
        """Return the share that is right; waits for the device."""
        return int(self.hits) / len(self._labels)

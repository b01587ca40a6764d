"""What the last weights of the experts predict for real images.

The last weights of an expert are a knot of every trajectory, so that a convexified trajectory answers as a
full one does.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mct.models.functional import Functional
from mct.trajectories.stream import KnotStream


class LastExperts:
    """The experts of a stream at their last timesteps.

    Args:
        stream: The trajectories.
        network: Their network.
        unpack: Returns weights of the stream `(P,)` in the order of `Module.parameters()`.
    """

    def __init__(self, stream: KnotStream, network: nn.Module, unpack: Callable[[Tensor], Tensor]) -> None:
        self._stream, self._network, self._unpack = stream, Functional(network), unpack

    def __len__(self) -> int:
        return self._stream.trajectories

    def logits(self, expert: int, images: Tensor) -> Tensor:
        """Return the logits `(N, K)` of an expert for images `(N, C, H, W)`."""
        weights = self._unpack(self._stream.last(expert))
        return self._network.logits(weights, images)


def correct_first(experts: LastExperts, images: Tensor, labels: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function that sorts indices so that images which experts classify correctly come first.

    Images that expert 0 classifies correctly come first, then those of the others that expert 1 does, and so
    on; the rest comes last. Among each other they keep their order (DATM's `pix_init:
    samples_predicted_correctly`). An expert is asked only if there are images left that no expert before has
    classified correctly.

    Args:
        experts: The experts.
        images: All real images `(N, C, H, W)`.
        labels: Their classes `(N,)`.
    """

    def sort(indices: Tensor) -> Tensor:
        taken, left = [], indices
        for expert in range(len(experts)):
            if not len(left):
                break
            hit = experts.logits(expert, images[left]).argmax(1) == labels[left]
            taken.append(left[hit])
            left = left[~hit]
        return torch.cat([*taken, left])

    return sort


def mean_logits(experts: LastExperts, images: Tensor, labels: Tensor) -> Tensor:
    """Return for each image the mean logits of the experts that classify it correctly, `(N, K)`.

    An image that no expert classifies correctly gets the mean of all experts.

    Args:
        experts: The experts.
        images: `(N, C, H, W)`.
        labels: Their classes `(N,)`.
    """
    total: Tensor | None = None
    hits = torch.zeros(len(labels), 1, dtype=torch.float64, device=images.device)
    for expert in range(len(experts)):
        found = experts.logits(expert, images).double()
        hit = (found.argmax(1) == labels)[:, None].double()
        if total is None:
            total = torch.zeros(2, *found.shape, dtype=torch.float64, device=images.device)
        total[0] += found * hit
        total[1] += found
        hits += hit
    assert total is not None
    mean = torch.where(hits > 0, total[0] / hits.clamp(min=1), total[1] / len(experts))
    return mean.to(images.dtype)

"""CAFE: synthetic images with the features of real ones in every block, by which real images are classified.

With the mean features r_bk of real and s_bk of synthetic images of class k after block b, and the embeddings
f of all real images, of classes c, the loss is

    sum_b w_b sum_k ||r_bk - s_bk||^2 + sum_k ||r_k - s_k||^2 + gamma sum_i CE(<f_i, s_1> … <f_i, s_K>; c_i)

where r_k and s_k are mean embeddings, and gamma is `discrimination`. The weight w_b is `late_weight` for the
last block, before and after pooling, and `early_weight` for all others. The published code also adds the
cross-entropy of the real images, which does not depend on the synthetic ones. The loss here has this term,
too, so that it has the values of the published code.

Between two updates of the images, the network is trained on them until its accuracy on real images has
changed enough (`stop_training`). The next network follows when this accuracy hardly changes from one update
to the next (`stop_matching`).

References:
    Wang et al., "CAFE: Learning to Condense Dataset by Aligning Features", CVPR 2022, and `distill.py` of its
    code at commit b718ff5.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mct.condensation import siamese, students
from mct.condensation.method import Scene, Update
from mct.settings.condensation import Condensation

_WATCHED = 10
"""Number of accuracies whose range is compared with a bound."""


@dataclass(frozen=True, slots=True)
class Real:
    """What the loss needs of real images."""

    embeddings: Tensor
    """`(B, F)`: of all real images."""

    labels: Tensor
    """`(B,)` int64: their classes."""

    means: Sequence[Tensor]
    """For each block, and after the last pooling, the mean features `(K, …)`."""

    mean: Tensor
    """`(K, F)`: mean embeddings."""

    entropy: Tensor
    """`()`: mean cross-entropy of the network on the real images."""


def weights_of(count: int, settings: Condensation) -> list[float]:
    """Return the weights of the features, of which there are `count`.

    Example:
        >>> weights_of(4, Condensation())
        [0.1, 0.1, 1.0, 1.0]
    """
    return [settings.early_weight] * (count - 2) + [settings.late_weight] * 2


def loss_of(real: Real, embeddings: Tensor, found: Sequence[Tensor], settings: Condensation) -> Tensor:
    """Return the loss `()`, differentiable in what belongs to the synthetic images.

    Args:
        real: The features of real images.
        embeddings: Embeddings of the synthetic images, `(N, F)`, sorted by class.
        found: Their features, `(N, …)` each, as `students.features` returns them.
        settings: The weights.
    """
    classes = len(real.mean)
    total = real.entropy
    for weight, goal, own in zip(weights_of(len(found), settings), real.means, found, strict=True):
        total = total + weight * (goal - _by_class(own, classes)).square().sum()
    means = _by_class(embeddings, classes)
    apart = cross_entropy(real.embeddings @ means.T, real.labels, reduction="sum")
    return total + (real.mean - means).square().sum() + settings.discrimination * apart


def _by_class(values: Tensor, classes: int) -> Tensor:
    return values.view(classes, -1, *values.shape[1:]).mean(1)


class Watch:
    """The last accuracies, and whether they have stayed the same.

    Example:
        >>> watch = Watch()
        >>> [watch.range(accuracy) for accuracy in (0.5, 0.25)]
        [None, None]
        >>> [watch.range(0.25) for _ in range(9)][-2:]
        [0.25, 0.0]
    """

    def __init__(self) -> None:
        self._seen: list[float] = []

    def range(self, accuracy: float) -> float | None:
        """Return the range of the last ten accuracies, of which this is the last; None if there are fewer."""
        self._seen = [*self._seen, accuracy][-_WATCHED:]
        return max(self._seen) - min(self._seen) if len(self._seen) == _WATCHED else None


@dataclass(frozen=True, slots=True)
class FeatureAlignment:
    """CAFE."""

    @torch.no_grad()
    def check(self, network: nn.Module, images: Tensor, /) -> None:
        """Require a ConvNet with pooling, which has the features."""
        students.features(network, images)

    def step(self, scene: Scene, images: Tensor, update: Update, random: torch.Generator, /) -> None:
        """Update the images with one network until its accuracy stays the same, at most `matches` times."""
        settings, clock = scene.settings, scene.clock
        assert settings.matches is not None
        assert settings.passes is not None
        network, outer = scene.fresh(random), Watch()
        for number in range(settings.matches):
            with clock.part("match"):
                loss, slope = self.gradient(scene, network, images, random)
            images = update(loss, slope)
            with clock.part("watch"):
                still = outer.range(students.accuracy(scene, network, random))
            if number + 1 == settings.matches or (still is not None and still < settings.stop_matching):
                return
            with clock.part("train"):
                inner, training = Watch(), students.train(scene, network, images, random)
                for _ in range(settings.passes):
                    next(training)
                    moved = inner.range(students.accuracy(scene, network, random))
                    if moved is not None and moved > settings.stop_training:
                        break

    def gradient(
        self, scene: Scene, network: nn.Module, images: Tensor, random: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the loss `()` and its gradient in the images `(N, C, H, W)`."""
        reals, leaf = [], images.detach().clone().requires_grad_()
        changed = []
        for label, own in enumerate(torch.split(leaf, scene.ipc)):
            real, synthetic = scene.real.draw(label, scene.settings.class_batch, random), own
            if scene.augment is not None:
                draws = siamese.draw(scene.augment, real.shape[-1], random)
                real = siamese.apply(scene.augment, real, draws)
                synthetic = siamese.apply(scene.augment, own, draws)
            reals.append(real)
            changed.append(synthetic)
        embeddings, found = students.features(network, torch.cat(changed))
        loss = loss_of(_real(network, reals), embeddings, found, scene.settings)
        (slope,) = torch.autograd.grad(loss, [leaf])
        return loss.detach(), slope


@torch.no_grad()
def _real(network: nn.Module, reals: Sequence[Tensor]) -> Real:
    """Return the features of real images, given for each class."""
    sizes = [len(real) for real in reals]
    embeddings, found = students.features(network, torch.cat(list(reals)))
    logits = students.classifier_of(network)(embeddings)
    labels = torch.arange(len(reals), device=logits.device).repeat_interleave(
        torch.tensor(sizes, device=logits.device)
    )

    def means(values: Tensor) -> Tensor:
        return torch.stack([part.mean(0) for part in torch.split(values, sizes)])

    return Real(
        embeddings=embeddings,
        labels=labels,
        means=[means(each) for each in found],
        mean=means(embeddings),
        entropy=cross_entropy(logits, labels),
    )

"""DC and DSA: synthetic images on which a network has the gradients that it has on real ones.

For every class, the gradient of the cross-entropy in the weights is computed on real and on synthetic images.
The loss is the sum over classes, layers and outputs o of a layer of

    1 - <g_o, r_o> / (||g_o|| ||r_o|| + 1e-6)

where g_o are the synthetic and r_o the real gradients of the weights of output o. Vectors of parameters, such
as biases, do not count. Between two updates of the images, the network is trained on them. DSA augments the
real and the synthetic images of a class in the same way.

References:
    Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021.
    Zhao and Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML 2021.
    `main.py` and `match_loss` of their code at commit 53f63a6.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mct.condensation import siamese, students
from mct.condensation.method import Scene, Update
from mct.data.augment import Draws

_EPS = 1e-6


def distance(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Return the distance `()` of two gradients, given as one tensor for each parameter.

    Args:
        found: The synthetic gradient.
        wanted: The real gradient, with the same shapes. Tensors of one dimension do not count.
    """
    total = torch.zeros((), dtype=wanted[0].dtype, device=wanted[0].device)
    for one, other in zip(found, wanted, strict=True):
        if one.ndim < 2:
            continue
        rows, goals = one.flatten(1), other.flatten(1)
        inner, norms = (rows * goals).sum(1), rows.norm(dim=1) * goals.norm(dim=1)
        total = total + (1 - inner / (norms + _EPS)).sum()
    return total


def loss_of_class(network: nn.Module, real: Tensor, synthetic: Tensor, label: int) -> Tensor:
    """Return the distance of the gradients of one class, differentiable in the synthetic images.

    Args:
        network: The network.
        real: Real images of the class, `(B, C, H, W)`.
        synthetic: Its synthetic images, `(ipc, C, H, W)`.
        label: The class.
    """
    parameters = list(network.parameters())

    def gradient(images: Tensor, *, graph: bool) -> tuple[Tensor, ...]:
        labels = torch.full((len(images),), label, device=images.device)
        return torch.autograd.grad(cross_entropy(network(images), labels), parameters, create_graph=graph)

    return distance(gradient(synthetic, graph=True), gradient(real, graph=False))


@dataclass(frozen=True, slots=True)
class GradientMatching:
    """DC, and with an augmentation DSA."""

    def check(self, _network: nn.Module, _images: Tensor, /) -> None:
        """Accept every network."""

    def step(self, scene: Scene, images: Tensor, update: Update, random: torch.Generator, /) -> None:
        """Update the images `matches` times, and train the network for `passes` passes in between."""
        settings, clock = scene.settings, scene.clock
        assert settings.matches is not None
        network = scene.fresh(random)
        for number in range(settings.matches):
            with clock.part("match"):
                students.freeze_statistics(scene, network, random)
                loss, slope = self.gradient(scene, network, images, random)
            images = update(loss, slope)
            if number + 1 < settings.matches:
                with clock.part("train"):
                    for _ in islice(students.train(scene, network, images, random), settings.passes):
                        pass

    def gradient(
        self, scene: Scene, network: nn.Module, images: Tensor, random: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the loss `()` and its gradient in the images `(N, C, H, W)`, one class after the other."""
        total, slopes = torch.zeros((), dtype=images.dtype, device=images.device), list[Tensor]()
        for label, own in enumerate(torch.split(images.detach(), scene.ipc)):
            real = scene.real.draw(label, scene.settings.class_batch, random)
            leaf, draws = own.clone().requires_grad_(), self._draws(scene, real, random)
            synthetic: Tensor = leaf
            if scene.augment is not None and draws is not None:
                real = siamese.apply(scene.augment, real, draws)
                synthetic = siamese.apply(scene.augment, leaf, draws)
            loss = loss_of_class(network, real, synthetic, label)
            slopes += torch.autograd.grad(loss, [leaf])
            total = total + loss.detach()
        return total, torch.cat(slopes)

    @staticmethod
    def _draws(scene: Scene, real: Tensor, random: torch.Generator) -> Draws | None:
        return None if scene.augment is None else siamese.draw(scene.augment, real.shape[-1], random)

"""DM: synthetic images whose mean embedding in random networks is that of real ones.

The loss is the sum over classes of the squared distance between the mean embeddings of real and of synthetic
images, both augmented in the same way. An embedding is the input of the last linear layer of a fresh network,
which is not trained.

References:
    Zhao and Bilen, "Dataset Condensation with Distribution Matching", WACV 2023, and `main_DM.py` of their
    code at commit 53f63a6.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mct.condensation import siamese, students
from mct.condensation.method import Scene, Update


def loss_of(real: Tensor, synthetic: Tensor, classes: int) -> Tensor:
    """Return the loss `()` of embeddings, differentiable in the synthetic ones.

    Args:
        real: Embeddings of real images, `(K, F)`: the mean of each class.
        synthetic: Embeddings of the synthetic images, `(N, F)`, sorted by class.
        classes: K, a divisor of N.
    """
    means = synthetic.view(classes, -1, synthetic.shape[1]).mean(1)
    return (real - means).square().sum()


@dataclass(frozen=True, slots=True)
class EmbeddingMatching:
    """DM."""

    def check(self, network: nn.Module, _images: Tensor, /) -> None:
        """Require a linear layer, whose input is the embedding."""
        students.classifier_of(network)

    def step(self, scene: Scene, images: Tensor, update: Update, random: torch.Generator, /) -> None:
        """Update the images once, with one random network."""
        network = scene.fresh(random)
        with scene.clock.part("match"):
            loss, slope = self.gradient(scene, network, images, random)
        update(loss, slope)

    def gradient(
        self, scene: Scene, network: nn.Module, images: Tensor, random: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the loss `()` and its gradient in the images `(N, C, H, W)`.

        If the network has batch norm, all classes are one batch, as in the published code; otherwise each is
        one for itself.
        """
        network.requires_grad_(requires_grad=False)
        reals, leaves, changed = [], [], []
        for label, own in enumerate(torch.split(images.detach(), scene.ipc)):
            real = scene.real.draw(label, scene.settings.class_batch, random)
            leaf = own.clone().requires_grad_()
            synthetic: Tensor = leaf
            if scene.augment is not None:
                draws = siamese.draw(scene.augment, real.shape[-1], random)
                real = siamese.apply(scene.augment, real, draws)
                synthetic = siamese.apply(scene.augment, leaf, draws)
            reals.append(real)
            leaves.append(leaf)
            changed.append(synthetic)
        if any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
            sizes = [len(real) for real in reals]
            with torch.no_grad():
                parts = torch.split(students.embedded(network, torch.cat(reals)), sizes)
            means = torch.stack([part.mean(0) for part in parts])
            loss = loss_of(means, students.embedded(network, torch.cat(changed)), scene.classes)
            return loss.detach(), torch.cat(torch.autograd.grad(loss, leaves))
        total, slopes = torch.zeros((), dtype=images.dtype, device=images.device), list[Tensor]()
        for real, leaf, synthetic in zip(reals, leaves, changed, strict=True):
            with torch.no_grad():
                mean = students.embedded(network, real).mean(0, keepdim=True)
            loss = loss_of(mean, students.embedded(network, synthetic), 1)
            slopes += torch.autograd.grad(loss, [leaf])
            total = total + loss.detach()
        return total, torch.cat(slopes)

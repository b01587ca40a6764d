"""Networks of an outer step: their training on synthetic images, their features, and their accuracy."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mct.condensation.method import Scene
from mct.errors import ConfigError
from mct.models.architectures.convnet import ConvNet

_FROZEN_BY = 16
"""Real images of each class that set the statistics of batch norm (`BNSizePC` in the code of DC)."""

_TESTED = 128
"""Real images of each class on which accuracies are measured (CAFE)."""


def classifier_of(network: nn.Module) -> nn.Linear:
    """Return the last linear layer of a network, whose input is the embedding of an image.

    Raises:
        ConfigError: There is none.
    """
    layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise ConfigError("`model`: the network has no linear layer, whose input would be the embedding")
    return layers[-1]


def embedded(network: nn.Module, images: Tensor) -> Tensor:
    """Return the embeddings of images, the inputs `(B, F)` of the last linear layer."""
    seen: list[Tensor] = []
    hook = classifier_of(network).register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    try:
        network(images)
    finally:
        hook.remove()
    return seen[-1].flatten(1)


def features(network: nn.Module, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the embeddings of images, and the features of every block of a ConvNet.

    Args:
        network: A `ConvNet` with pooling.
        images: `(B, C, H, W)`.

    Returns:
        The embeddings `(B, F)`, and the outputs of the activation of every block, before pooling, and at the
        end that of the last pooling.

    Raises:
        ConfigError: The network is another one.
    """
    if not isinstance(network, ConvNet) or not any(_pools(layer) for layer in network.features):
        raise ConfigError("`model` must be a ConvNet with pooling, whose blocks have the features to align")
    found, now = [], images
    for layer in network.features:
        now = layer(now)
        if isinstance(layer, nn.ReLU):
            found.append(now)
    found.append(now)
    return now.flatten(1), found


def _pools(layer: nn.Module) -> bool:
    return isinstance(layer, nn.AvgPool2d | nn.MaxPool2d)


def freeze_statistics(scene: Scene, network: nn.Module, random: torch.Generator) -> None:
    """Set the running statistics of batch norm from real images, and use them from now on.

    A network without batch norm is left as it is, and nothing is drawn.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    images = [scene.real.draw(label, _FROZEN_BY, random) for label in range(scene.classes)]
    network.train()
    with torch.no_grad():
        network(torch.cat(images))
    for norm in norms:
        norm.eval()


def train(scene: Scene, network: nn.Module, images: Tensor, random: torch.Generator) -> Iterator[None]:
    """Train a network on the synthetic images by SGD without momentum, and yield after every pass.

    Args:
        scene: Gives batches, step size and augmentation, which draws values for every image.
        network: The network, which is changed.
        images: The synthetic images `(N, C, H, W)`.
        random: A generator on the CPU.
    """
    labels, settings, images = scene.labels(), scene.settings, images.detach()
    parameters = list(network.parameters())
    while True:
        network.train()
        order = torch.randperm(len(images), generator=random)
        for batch in torch.split(order, settings.net_batch):
            chosen = batch.to(images.device)
            pixels = images[chosen]
            if scene.augment is not None:
                pixels = scene.augment(pixels, random)
            loss = cross_entropy(network(pixels), labels[chosen])
            slopes = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                for parameter, slope in zip(parameters, slopes, strict=True):
                    parameter.sub_(slope, alpha=settings.lr_net)
        yield


@torch.no_grad()
def accuracy(scene: Scene, network: nn.Module, random: torch.Generator) -> float:
    """Return the mean over the classes of the accuracy on random real images, in [0, 1]."""
    total = 0.0
    for label in range(scene.classes):
        found = network(scene.real.draw(label, _TESTED, random)).argmax(1)
        total += float((found == label).double().mean())
    return total / scene.classes

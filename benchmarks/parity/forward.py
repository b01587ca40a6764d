"""Networks: the same weights and images give the same outputs and the same gradient of the weights."""

from __future__ import annotations

import itertools
from types import ModuleType

import torch
from table import Line, Lines, relative
from torch import nn
from torch.nn.functional import cross_entropy

import trajfmt
from mct.errors import MctError
from mct.models import networks
from mct.runtime.seeds import generator

NORMS = {"instance": "IN", "batch": "BN", "group": "GN", "layer": "LN", "none": "NN"}
POOLINGS = ("AP", "MP", "NP")
OTHERS = {
    "AlexNet": "AlexNet",
    "VGG11": "VGG11",
    "VGG11BN": "VGG11BN",
    "ResNet18": "ResNet18",
    "ResNet18BN": "ResNet18BN",
    "ResNet18AP": "ResNet18_AP",
    "ResNet18BNAP": "ResNet18BN_AP",
}
"""Our names and the reference's functions."""

SIZES = ((3, 32), (1, 28))


def theirs_of(reference: ModuleType, model: trajfmt.Model) -> nn.Module:
    """Return the reference's ConvNet for a model."""
    return reference.ConvNet(
        channel=model.channels,
        num_classes=model.classes,
        net_width=model.width,
        net_depth=model.depth,
        net_act="relu",
        net_norm=model.norm if model.norm == "none" else f"{model.norm}norm",
        net_pooling=model.pooling if model.pooling == "none" else f"{model.pooling}pooling",
        im_size=(model.image_size, model.image_size),
    )


def ours_of(model: trajfmt.Model, seed: int = 0) -> nn.Module:
    """Return our network, with biases and norms that are not at their initial constants."""
    network = networks.build(model, generator=generator(seed)).double()
    with torch.no_grad():
        for number, value in enumerate(network.parameters()):
            value += 0.05 * torch.randn(value.shape, generator=generator(seed, number)).double()
    return network


def errors(ours: nn.Module, theirs: nn.Module, channels: int, size: int) -> tuple[float, float]:
    """Return the errors of outputs and of the gradient, after giving both the same weights."""
    theirs = theirs.double()
    pairs = list(zip(ours.named_parameters(), theirs.named_parameters(), strict=True))
    for (name, value), (other_name, other) in pairs:
        assert (name, value.shape) == (other_name, other.shape), (name, other_name)
        other.data.copy_(value.data)
    images = torch.randn(4, channels, size, size, generator=generator(1)).double()
    labels = torch.tensor([0, 3, 3, 9])
    outputs, gradients = [], []
    for network in (ours, theirs):
        logits = network.train()(images)
        flat = torch.autograd.grad(cross_entropy(logits, labels), list(network.parameters()))
        outputs.append(logits)
        gradients.append(torch.cat([value.flatten() for value in flat]))
    return relative(*outputs), relative(*gradients)


def check(reference: ModuleType) -> Lines:
    """Compare the ConvNet family, then every other architecture that `mct.models.networks` offers."""
    shapes = "3 poolings, depths 1 to 4, " + " and ".join(f"{c}x{size}x{size}" for c, size in SIZES)
    for norm, code in NORMS.items():
        worst = (0.0, 0.0)
        for pooling, depth, (channels, size) in itertools.product(POOLINGS, (1, 2, 3, 4), SIZES):
            name = f"ConvNetD{depth}W8{code}{pooling}"
            model = networks.parse(name, channels=channels, image_size=size, classes=10)
            found = errors(ours_of(model, depth), theirs_of(reference, model), channels, size)
            worst = max(worst[0], found[0]), max(worst[1], found[1])
        yield Line(f"ConvNet, norm {norm}, {shapes}: outputs", worst[0], 1e-12)
        yield Line(f"ConvNet, norm {norm}, {shapes}: gradient of the weights", worst[1], 1e-9)
    for name, function in OTHERS.items():
        for channels, size in SIZES:
            what = f"{name}, {channels}x{size}x{size}"
            try:
                model = networks.parse(name, channels=channels, image_size=size, classes=10)
            except MctError as exc:
                yield Line(f"{what}: not offered ({str(exc)[:60]}…)", None)
                continue
            found = errors(ours_of(model), getattr(reference, function)(channels, 10), channels, size)
            yield Line(f"{what}: outputs", found[0], 1e-12)
            yield Line(f"{what}: gradient of the weights", found[1], 1e-9)

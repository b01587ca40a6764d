"""Networks by name: what a name stands for, how it is built, and whether it fits a bundle.

The families are in `convnet`, `alexnet`, `vgg` and `resnet`, networks of others in `factory`. How a
network is trained is elsewhere.
"""

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import nn

import trajfmt
from mct.errors import ConfigError, MismatchError
from mct.models import factory
from mct.models.architectures.alexnet import AlexNet
from mct.models.architectures.convnet import ConvNet
from mct.models.architectures.resnet import ResNet18
from mct.models.architectures.vgg import VGG11
from trajfmt.schema import models
from trajfmt.torch import flatten

__all__ = ["ConvNet", "build", "check_layout", "flatten", "parameters_of", "parse", "unknown"]

_SIZES: Final = {
    "AlexNet": ((32, 39), (28, 35)),
    "VGG11": ((32, 63), (28, 59)),
    "ResNet18": ((25, 56), (25, 56)),
    "ResNet18AP": ((32, 39), (24, 31)),
}
"""Family → smallest and largest image that MTT's network takes: of several channels, of one."""


def parse(name: str, *, channels: int, image_size: int, classes: int) -> trajfmt.Model:
    """Return the model that a name stands for, for given images and classes.

    In `ConvNet…`, `D` is depth (3), `W` width (128), then BN, LN, IN, GN, NN for the norm (IN) and AP,
    MP, NP for the pooling (AP). Unlike in MTT they combine. The other networks of MTT are AlexNet, VGG11,
    ResNet18 and ResNet18_AP, with BN behind VGG11 or ResNet18 for batch norm. `package.module:factory`
    is anybody's network; see `factory.call`.

    Args:
        name: From the user, never from a file: code that it names will be imported.
        channels: Of the images.
        image_size: Height and width of the images.
        classes: Logits per image.

    Raises:
        ConfigError: The name is none of these.

    Example:
        >>> model = parse("ConvNetD4W64BN", channels=3, image_size=32, classes=10)
        >>> model.depth, model.width, model.norm, model.pooling
        (4, 64, 'batch', 'avg')
    """
    facts = models.named(name)
    if facts is None and factory.REFERENCE.fullmatch(name):
        factory.allow(name)
        facts = {"family": "other", "factory": name}
    if facts is None:
        raise ConfigError(
            "`model` must be like ConvNet, ConvNetD3W32 or ConvNetD4W128BN, one of AlexNet, VGG11, VGG11BN, "
            "ResNet18, ResNet18BN, ResNet18_AP, ResNet18BN_AP, or package.module:factory for your own, "
            f"got {name!r}"
        )
    if facts["family"] == "ConvNet":
        facts = {"depth": 3, "width": 128} | facts
        if not (facts["depth"] and facts["width"]):
            raise ConfigError(f"depth and width of `model` must be >= 1, got {name!r}")
    return trajfmt.Model(channels=channels, image_size=image_size, classes=classes, **facts)


def unknown(model: trajfmt.Model) -> list[str]:
    """Return the facts that `build` needs and the model does not tell."""
    match model.family:
        case "ConvNet":
            needed = ["image_size", "norm", "pooling"]
        case "other":
            needed = ["image_size", "factory"]
        case _:
            needed = ["image_size", "norm"]
    return [fact for fact in needed if getattr(model, fact) is None]


def build(
    model: trajfmt.Model, *, generator: torch.Generator, device: str | torch.device = "cpu"
) -> nn.Module:
    """Build a network with PyTorch's default initialisation, drawn from `generator` alone.

    Args:
        model: Every fact of it must be known.
        generator: On the CPU, so that the same seed gives the same weights on every device.
        device: Where the network is to live.

    Raises:
        ConfigError: A fact is unknown, the network is not one for such images, or code would be imported
            that the user has not named.
    """
    if open_facts := unknown(model):
        raise ConfigError(
            "`image_size`, and of most networks `norm`, `pooling` or `factory`, must be known; of this "
            f"{models.model_name(model)} {' and '.join(open_facts)} is not"
        )
    if model.factory is not None and model.image_size is not None:
        return factory.call(
            model.factory,
            channels=model.channels,
            image_size=model.image_size,
            classes=model.classes,
            generator=generator,
        ).to(device)
    with torch.device("meta"):  # skip the default initialisation: it draws from the global RNG
        network = _convnet(model) if model.family == "ConvNet" else _fixed(model)
    network.to_empty(device="cpu")
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            _initialise(module, generator)
        elif isinstance(module, nn.GroupNorm | nn.LayerNorm | nn.BatchNorm2d):
            module.reset_parameters()  # constants: ones and zeros
    return network.to(device)


def _convnet(model: trajfmt.Model) -> nn.Module:
    names = ("depth", "width", "channels", "image_size", "classes", "norm", "pooling")
    facts = {name: getattr(model, name) for name in names}
    if model.norm == "group" and facts["width"] % 4:
        raise ConfigError(f"group norm has 4 groups: `width` {model.width!r} is not divisible by it")
    return ConvNet(**facts)


def _fixed(model: trajfmt.Model) -> nn.Module:
    """Build a network of which only images, classes and norm can be chosen."""
    family, norm, size = model.family, str(model.norm), model.image_size or 0
    norms = ("none",) if family == "AlexNet" else ("instance", "batch")
    if norm not in norms or model.pooling is not None:
        raise ConfigError(
            f"`norm` of {family} must be {' or '.join(norms)} and its pooling cannot be chosen, got {norm!r} "
            f"and {model.pooling!r}"
        )
    least, most = _SIZES[family][model.channels == 1]
    if not least <= size <= most:
        raise ConfigError(
            f"{family} takes images from {least}x{least} to {most}x{most} with {model.channels} channels, "
            f"got {size}x{size}; use a ConvNet, or package.module:factory"
        )
    match family:
        case "AlexNet":
            return AlexNet(channels=model.channels, classes=model.classes)
        case "VGG11":
            return VGG11(channels=model.channels, classes=model.classes, norm=norm)
    average = family == "ResNet18AP"
    return ResNet18(channels=model.channels, classes=model.classes, norm=norm, average=average)


def _initialise(module: nn.Conv2d | nn.Linear, generator: torch.Generator) -> None:
    # nn.Conv2d and nn.Linear draw weight and bias from U(-b, b) with b = 1/sqrt(fan_in):
    # kaiming_uniform_ with a = sqrt(5) is that.
    bound = 1 / math.sqrt(module.weight[0].numel())
    with torch.no_grad():
        module.weight.uniform_(-bound, bound, generator=generator)
        if module.bias is not None:
            module.bias.uniform_(-bound, bound, generator=generator)


def parameters_of(network: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    """Return `(name, shape)` of every parameter in the order of `Module.parameters()`."""
    return [(name, tuple(value.shape)) for name, value in network.named_parameters()]


def check_layout(network: nn.Module, layout: trajfmt.ParamLayout) -> None:
    """Raise unless the parameters of `network` are those of `layout`, in the same order.

    Names are compared only where the bundle has real ones: a converter that did not recognise
    the model calls them `param.000`, `param.001`, …. They may stand behind a prefix: Lightning's
    checkpoints have that of the attribute which holds the network.

    Raises:
        MismatchError: Naming the first parameter that differs, and both versions of it.
    """
    ours = parameters_of(network)
    theirs = [(entry.name, tuple(entry.shape)) for entry in layout.parameters]
    if len(ours) != len(theirs):
        raise MismatchError(
            f"the network has {len(ours)} parameter tensors, the bundle {len(theirs)}; "
            f"first of the network {_first(ours)}, of the bundle {_first(theirs)}"
        )
    for number, (own, other) in enumerate(zip(ours, theirs, strict=True)):
        same = own[0] == other[0] or other[0].endswith(f".{own[0]}") or other[0] == f"param.{number:03d}"
        if own[1] != other[1] or not same:
            raise MismatchError(
                f"parameter {number}: the network has `{own[0]}` {own[1]}, "
                f"the bundle `{other[0]}` {other[1]}; check the model"
            )


def _first(parameters: Sequence[tuple[str, tuple[int, ...]]]) -> str:
    return "is none" if not parameters else f"`{parameters[0][0]}` {parameters[0][1]}"

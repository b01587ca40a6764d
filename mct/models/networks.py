"""Networks by name: what a name stands for, how the network is built, and whether it fits a bundle.

The package `architectures` has one module for each family, and `FAMILIES` a row. `factory` builds networks
with the user's own code. `trajfmt.schema.models` parses the names.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    """Return the facts that `build` needs and the model does not state."""
    family = FAMILIES.get(model.family)
    needed = ("image_size", "factory") if family is None else family.needs
    return [fact for fact in needed if getattr(model, fact) is None]


def class_of(model: trajfmt.Model) -> type[nn.Module] | None:
    """Return the class of a model's network; None if the user's code builds it."""
    family = FAMILIES.get(model.family)
    return None if family is None else family.network


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
    family = FAMILIES[model.family]
    _check(family, model)
    with torch.device("meta"):  # skips the default initialisation, which draws from the global generator
        network = family.make(model)
    network.to_empty(device="cpu")
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            _initialise(module, generator)
        elif isinstance(module, nn.GroupNorm | nn.LayerNorm | nn.BatchNorm2d):
            module.reset_parameters()  # constants: ones and zeros
    return network.to(device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How the networks of one family are built."""

    network: type[nn.Module]
    """The class of all networks of the family."""

    make: Callable[[trajfmt.Model], nn.Module]
    """Makes a network of a model with every fact known; its weights are initialised afterwards."""

    needs: tuple[str, ...] = ("image_size", "norm")
    """Facts of a `Model` that must be known."""

    norms: tuple[str, ...] | None = ("instance", "batch")
    """Norms that the family has; None if it is free in norm and pooling."""

    sizes: tuple[tuple[int, int], tuple[int, int]] | None = None
    """Smallest and largest image that MTT's network takes: with several channels, and with one. None: any."""


def _convnet(model: trajfmt.Model) -> nn.Module:
    names = ("depth", "width", "channels", "image_size", "classes", "norm", "pooling")
    facts = {name: getattr(model, name) for name in names}
    if model.norm == "group" and facts["width"] % 4:
        raise ConfigError(f"group norm has 4 groups: `width` {model.width!r} is not divisible by it")
    return ConvNet(**facts)


def _alexnet(model: trajfmt.Model) -> nn.Module:
    return AlexNet(channels=model.channels, classes=model.classes)


def _vgg11(model: trajfmt.Model) -> nn.Module:
    return VGG11(channels=model.channels, classes=model.classes, norm=str(model.norm))


def _resnet18(model: trajfmt.Model) -> nn.Module:
    average = model.family == "ResNet18AP"
    return ResNet18(channels=model.channels, classes=model.classes, norm=str(model.norm), average=average)


FAMILIES: Final[Mapping[str, Family]] = {
    "ConvNet": Family(network=ConvNet, make=_convnet, needs=("image_size", "norm", "pooling"), norms=None),
    "AlexNet": Family(network=AlexNet, make=_alexnet, norms=("none",), sizes=((32, 39), (28, 35))),
    "VGG11": Family(network=VGG11, make=_vgg11, sizes=((32, 63), (28, 59))),
    "ResNet18": Family(network=ResNet18, make=_resnet18, sizes=((25, 56), (25, 56))),
    "ResNet18AP": Family(network=ResNet18, make=_resnet18, sizes=((32, 39), (24, 31))),
}
"""Family, as `trajfmt.Model` has it, to how its networks are built."""


def _check(family: Family, model: trajfmt.Model) -> None:
    """Raise unless the family has such a norm and pooling, and takes images of this size."""
    name, norm, size = model.family, str(model.norm), model.image_size or 0
    if family.norms is not None and (norm not in family.norms or model.pooling is not None):
        raise ConfigError(
            f"`norm` of {name} must be {' or '.join(family.norms)} and its pooling cannot be chosen, got "
            f"{norm!r} and {model.pooling!r}"
        )
    if family.sizes is None:
        return
    least, most = family.sizes[model.channels == 1]
    if not least <= size <= most:
        raise ConfigError(
            f"{name} takes images from {least}x{least} to {most}x{most} with {model.channels} channels, "
            f"got {size}x{size}; use a ConvNet, or package.module:factory"
        )


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

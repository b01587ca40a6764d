"""Parsing the name of a network, building the network, and comparing it with a bundle.

`mct.models.architectures` contains one module for each network family, and the table `FAMILIES` one entry.
`mct.models.factory` builds networks with user code. `trajfmt.schema.models` parses names of networks.
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
from trajfmt.errors import counted
from trajfmt.schema import models
from trajfmt.torch import flatten

__all__ = ["ConvNet", "build", "check_layout", "flatten", "parameters_of", "parse", "unknown"]


def parse(name: str, *, channels: int, image_size: int, classes: int) -> trajfmt.Model:
    """Return the model with a given name, for given images and classes.

    A name is one of

    * `ConvNet`, optionally followed by `D` and the depth (default 3), `W` and the width (default 128), one of
      `BN`, `LN`, `IN`, `GN`, `NN` for batch, layer, instance (the default), group or no normalisation, and
      one of `AP`, `MP`, `NP` for average (the default), max or no pooling. MTT allows only one such part.
    * `AlexNet`, `VGG11`, `ResNet18`, `ResNet18_AP`, or with batch norm `VGG11BN`, `ResNet18BN`,
      `ResNet18BN_AP`.
    * `package.module:factory`, code that builds a network, see `mct.models.factory.call`.

    Args:
        name: A name given by the user. Do not pass a name that was read from a file, as `build` will import
            the code that it names.
        channels: Channels of the images.
        image_size: Height and width of the images.
        classes: Number of classes.

    Raises:
        ConfigError: If `name` is none of these.

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
            "`model` must be a ConvNet such as ConvNet, ConvNetD3W32 or ConvNetD4W128BN, one of AlexNet, "
            "VGG11, VGG11BN, ResNet18, ResNet18BN, ResNet18_AP and ResNet18BN_AP, or package.module:factory "
            f"for a network of your own, got {name!r}"
        )
    if facts["family"] == "ConvNet":
        facts = {"depth": 3, "width": 128} | facts
        if not (facts["depth"] and facts["width"]):
            raise ConfigError(f"depth and width of `model` must be >= 1, got {name!r}")
    return trajfmt.Model(channels=channels, image_size=image_size, classes=classes, **facts)


def unknown(model: trajfmt.Model) -> list[str]:
    """Return the names of the attributes that `build` needs and that are None in `model`."""
    family = FAMILIES.get(model.family)
    needed = ("image_size", "factory") if family is None else family.needs
    return [fact for fact in needed if getattr(model, fact) is None]


def class_of(model: trajfmt.Model) -> type[nn.Module] | None:
    """Return the class of the network of `model`, or None if user code builds the network."""
    family = FAMILIES.get(model.family)
    return None if family is None else family.network


def build(
    model: trajfmt.Model, *, generator: torch.Generator, device: str | torch.device = "cpu"
) -> nn.Module:
    """Build a network with PyTorch's default initialisation, using random numbers of `generator` only.

    Args:
        model: The network, with every attribute that `unknown` checks.
        generator: A generator on the CPU. A seed gives the same weights on every device.
        device: Device of the network.

    Raises:
        ConfigError: If an attribute is unknown, the network does not support images of this size, or it is
            built by code that the user has not named.
    """
    if open_facts := unknown(model):
        raise ConfigError(
            f"the network {models.model_name(model)!r} cannot be built without knowing its "
            f"{' and '.join(open_facts)}; name the network with --model"
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
            module.reset_parameters()  # sets ones and zeros, and draws nothing
    return network.to(device)


def sizes(model: trajfmt.Model) -> tuple[int, int] | None:
    """Return the smallest and the largest image size that a network accepts, or None for any size."""
    both = None if model.factory is not None else FAMILIES[model.family].sizes
    return None if both is None else both[model.channels == 1]


def source_sha256(model: trajfmt.Model) -> str | None:
    """Return the hash of the user code that builds a network, see `factory.source_sha256`; else None."""
    return None if model.factory is None else factory.source_sha256(model.factory)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The properties of a network family, and how its networks are built."""

    network: type[nn.Module]
    """The class of the networks."""

    make: Callable[[trajfmt.Model], nn.Module]
    """Creates the network of a model whose attributes are all known. `build` initialises its weights."""

    needs: tuple[str, ...] = ("image_size", "norm")
    """Names of the attributes of a `Model` that must be known."""

    norms: tuple[str, ...] | None = ("instance", "batch")
    """The normalisation layers that the family supports, with one pooling; None for all of them, and all
    poolings."""

    sizes: tuple[tuple[int, int], tuple[int, int]] | None = None
    """Smallest and largest image size that MTT's network accepts, for images with several channels and for
    images with one channel; None for any size."""


def _convnet(model: trajfmt.Model) -> nn.Module:
    names = ("depth", "width", "channels", "image_size", "classes", "norm", "pooling")
    facts = {name: getattr(model, name) for name in names}
    if model.norm == "group" and facts["width"] % 4:
        raise ConfigError(f"`width` must be divisible by the 4 groups of group norm, got {model.width!r}")
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
"""All network families, by the value of `trajfmt.Model.family`."""


def _check(family: Family, model: trajfmt.Model) -> None:
    """Check that a family supports the normalisation, the pooling and the image size of a model.

    Raises:
        ConfigError: If it does not.
    """
    name, norm, size = model.family, str(model.norm), model.image_size or 0
    if family.norms is not None and (norm not in family.norms or model.pooling is not None):
        raise ConfigError(
            f"`norm` of {name} must be {' or '.join(family.norms)}, and `pooling` must be unset, got "
            f"{norm!r} and {model.pooling!r}"
        )
    accepted = sizes(model)
    if accepted is None:
        return
    least, most = accepted
    if not least <= size <= most:
        raise ConfigError(
            f"{name} accepts images from {least}x{least} to {most}x{most} with {model.channels} channels, "
            f"got {size}x{size}; use a ConvNet, or a network of your own with package.module:factory"
        )


def _initialise(module: nn.Conv2d | nn.Linear, generator: torch.Generator) -> None:
    # nn.Conv2d and nn.Linear call kaiming_uniform_ with a = sqrt(5), which draws from U(-b, b) with
    # b = 1/sqrt(fan_in), and draw the bias from the same distribution.
    bound = 1 / math.sqrt(module.weight[0].numel())
    with torch.no_grad():
        module.weight.uniform_(-bound, bound, generator=generator)
        if module.bias is not None:
            module.bias.uniform_(-bound, bound, generator=generator)


def parameters_of(network: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    """Return the name and shape of every parameter, in the order of `Module.parameters()`."""
    return [(name, tuple(value.shape)) for name, value in network.named_parameters()]


def check_layout(network: nn.Module, layout: trajfmt.ParamLayout) -> None:
    """Check that a network has the parameters of a bundle, in the same order.

    Shapes must be equal. Names must be equal except for a prefix, because Lightning's checkpoints prepend the
    name of the attribute that contains the network. The placeholder names `param.000`, `param.001`, …, which
    a conversion uses if it does not recognise the network, match any name.

    Raises:
        MismatchError: If a parameter differs. The message names the first one.
    """
    ours = parameters_of(network)
    theirs = [(entry.name, tuple(entry.shape)) for entry in layout.parameters]
    if len(ours) != len(theirs):
        raise MismatchError(
            f"the network has {counted(len(ours), 'parameter tensor')}, but the bundle has "
            f"{len(theirs)}; the first of "
            f"the network is {_first(ours)}, the first of the bundle is {_first(theirs)}; check the model"
        )
    for number, (own, other) in enumerate(zip(ours, theirs, strict=True)):
        same = own[0] == other[0] or other[0].endswith(f".{own[0]}") or other[0] == f"param.{number:03d}"
        if own[1] != other[1] or not same:
            raise MismatchError(
                f"parameter {number} is `{own[0]}` {own[1]} in the network, but "
                f"`{other[0]}` {other[1]} in the bundle; check the model"
            )


def _first(parameters: Sequence[tuple[str, tuple[int, ...]]]) -> str:
    return "missing" if not parameters else f"`{parameters[0][0]}` {parameters[0][1]}"

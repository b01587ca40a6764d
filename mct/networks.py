"""The ConvNet family of trajectory matching: names, layers, initialisation and its fit to a bundle.

The layers, and with them the names and the order of `Module.parameters()`, are those of MTT's
`ConvNet`, because that order is how its buffers are read. How a network is trained is elsewhere.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

import trajfmt
from mct.errors import ConfigError, MismatchError
from trajfmt import models


class ConvNet(nn.Module):
    """`depth` blocks of 3x3 convolution, norm, ReLU and 2x2 pooling, then one linear layer.

    Input `(B, channels, image_size, image_size)` float, output `(B, classes)` logits.
    """

    def __init__(
        self, *, depth: int, width: int, channels: int, image_size: int, classes: int, norm: str, pooling: str
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        # MTT pads the first convolution by 3 for every one-channel input, and treats 28 as 32
        # throughout; the two agree for 28x28 alone, so only there do we do it.
        padding, size, incoming = (
            (3, 32, 1) if (channels, image_size) == (1, 28) else (1, image_size, channels)
        )
        for _ in range(depth):
            layers.append(nn.Conv2d(incoming, width, kernel_size=3, padding=padding))
            layers.extend(_norm(norm, width, size))
            layers.append(nn.ReLU())
            if pooling != "none":
                layers.append(nn.AvgPool2d(2) if pooling == "avg" else nn.MaxPool2d(2))
                size //= 2
            incoming, padding = width, 1
        if size < 1:
            raise ConfigError(
                f"a ConvNet of depth {depth} halves {image_size}x{image_size} images to nothing; "
                "use a smaller depth"
            )
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(width * size * size, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `(B, classes)` of `images`."""
        logits: Tensor = self.classifier(self.features(images).flatten(1))
        return logits


def _norm(kind: str, width: int, size: int) -> list[nn.Module]:
    match kind:
        case "instance":  # one group per channel, as in MTT; not nn.InstanceNorm2d
            return [nn.GroupNorm(width, width)]
        case "batch":
            return [nn.BatchNorm2d(width)]
        case "group":
            return [nn.GroupNorm(4, width)]
        case "layer":
            return [nn.LayerNorm([width, size, size])]
    return []


def parse(name: str, *, channels: int, image_size: int, classes: int) -> trajfmt.Model:
    """Return the model that an MTT-style name stands for, for given images and classes.

    `D` is depth (3), `W` width (128), then BN, LN, IN, GN, NN for the norm (IN) and AP, MP, NP
    for the pooling (AP). Unlike in MTT they combine.

    Example:
        >>> model = parse("ConvNetD4W64BN", channels=3, image_size=32, classes=10)
        >>> model.depth, model.width, model.norm, model.pooling
        (4, 64, 'batch', 'avg')
    """
    facts = models.named(name)
    if facts is None:
        raise ConfigError(f"`model` must be like ConvNet, ConvNetD3W32 or ConvNetD4W128BN, got {name!r}")
    model = trajfmt.Model(
        family="ConvNet",
        channels=channels,
        image_size=image_size,
        classes=classes,
        **({"depth": 3, "width": 128} | facts),
    )
    if not (model.depth and model.width):
        raise ConfigError(f"depth and width of `model` must be >= 1, got {name!r}")
    return model


def build(model: trajfmt.Model, *, generator: torch.Generator, device: str | torch.device = "cpu") -> ConvNet:
    """Build a network with PyTorch's default initialisation, drawn from `generator` alone.

    Args:
        model: Every fact of it must be known.
        generator: On the CPU, so that the same seed gives the same weights on every device.
        device: Where the network is to live.
    """
    if model.image_size is None or model.norm is None or model.pooling is None:
        raise ConfigError(
            "`image_size`, `norm` and `pooling` of the model must be known, got "
            f"{model.image_size!r}, {model.norm!r}, {model.pooling!r}"
        )
    if model.norm == "group" and model.width % 4:
        raise ConfigError(f"group norm has 4 groups: `width` {model.width!r} is not divisible by it")
    with torch.device("meta"):  # skip the default initialisation: it draws from the global RNG
        network = ConvNet(
            depth=model.depth,
            width=model.width,
            channels=model.channels,
            image_size=model.image_size,
            classes=model.classes,
            norm=model.norm,
            pooling=model.pooling,
        )
    network.to_empty(device="cpu")
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            _initialise(module, generator)
        elif isinstance(module, nn.GroupNorm | nn.LayerNorm | nn.BatchNorm2d):
            module.reset_parameters()  # constants: ones and zeros
    return network.to(device)


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


def flatten(network: nn.Module) -> Tensor:
    """Return a fresh `(P,)` copy of the parameters, in the order of `Module.parameters()`."""
    return torch.cat([value.detach().reshape(-1) for value in network.parameters()])


def check_layout(network: nn.Module, layout: trajfmt.ParamLayout) -> None:
    """Raise unless the parameters of `network` are those of `layout`, in the same order.

    Names are compared only where the bundle has real ones: a converter that did not recognise
    the model calls them `param.000`, `param.001`, ….

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
        anonymous = other[0] == f"param.{number:03d}"
        if own[1] != other[1] or (own[0] != other[0] and not anonymous):
            raise MismatchError(
                f"parameter {number}: the network has `{own[0]}` {own[1]}, "
                f"the bundle `{other[0]}` {other[1]}; check the model"
            )


def _first(parameters: Sequence[tuple[str, tuple[int, ...]]]) -> str:
    return "is none" if not parameters else f"`{parameters[0][0]}` {parameters[0][1]}"

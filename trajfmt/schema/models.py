"""Recognise MTT's networks from the shapes of their parameters, from model names and from folder names.

The networks are the ConvNet family, AlexNet, VGG11 and ResNet18. Facts that shapes cannot determine stay
unknown unless a name states them. For example, instance, batch and group norm have the same shapes.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from trajfmt.errors import UsageError
from trajfmt.schema.provenance import Family, Model, Preprocessing

__all__ = ["PathFacts", "facts_of_path", "model_name", "named", "normalisation", "recognise", "settle"]

Shape = tuple[int, ...]
Named = list[tuple[str, Shape]]
Norm = Literal["instance", "batch", "none"]

_NORMS: Final = {"IN": "instance", "BN": "batch", "GN": "group", "LN": "layer", "NN": "none"}
_POOLINGS: Final = {"AP": "avg", "MP": "max", "NP": "none"}
_NAME: Final = re.compile(
    rf"ConvNet(?:D(?P<depth>\d{{1,2}}))?(?:W(?P<width>\d{{1,5}}))?"
    rf"(?P<norm>{'|'.join(_NORMS)})?(?P<pooling>{'|'.join(_POOLINGS)})?"
)
_OTHERS: Final[dict[str, tuple[Family, Norm]]] = {
    "AlexNet": ("AlexNet", "none"),
    "VGG11": ("VGG11", "instance"),
    "VGG11BN": ("VGG11", "batch"),
    "ResNet18": ("ResNet18", "instance"),
    "ResNet18BN": ("ResNet18", "batch"),
    "ResNet18_AP": ("ResNet18AP", "instance"),
    "ResNet18BN_AP": ("ResNet18AP", "batch"),
    "ResNet18AP": ("ResNet18AP", "instance"),  # spelt like the suffix of a ConvNet, without underscore
    "ResNet18BNAP": ("ResNet18AP", "batch"),
}
"""MTT's other networks: name → family and norm. If a network has two names, MTT uses the first."""

_FIXED: Final[tuple[Family, ...]] = ("AlexNet", "VGG11", "ResNet18", "ResNet18AP")
"""Families whose shapes depend only on the numbers of input channels and classes."""

_DATASETS: Final = frozenset(
    {"CIFAR10", "CIFAR100", "Tiny", "ImageNet", "MNIST", "FashionMNIST", "SVHN", "digits"}
)
"""Data sets that are recognised in a folder name without the suffix `_NO_ZCA`."""

_CIFAR: Final = ([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010])
_IMAGENET: Final = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
_NORMALISATION: Final = {"CIFAR10": _CIFAR, "CIFAR100": _CIFAR, "Tiny": _IMAGENET, "ImageNet": _IMAGENET}
"""Means and standard deviations that MTT uses. They are not always those of the data set: CIFAR-100 gets the
values of CIFAR-10."""

_ZCA_BY_DEFAULT: Final = frozenset({"CIFAR10", "CIFAR100"})
"""Data sets for which MTT adds `_NO_ZCA` to the folder name if it does not whiten the images."""


def recognise(
    shapes: Sequence[Shape], *, pooling: bool = True, names: Sequence[str] | None = None
) -> tuple[Model, list[str]] | None:
    """Recognise one of MTT's networks from the shapes of its parameters.

    Other networks have the same shapes, such as a Conv-4 for images of another size. Names tell them apart.

    Args:
        shapes: shapes of the parameters, in the order of `Module.parameters()`.
        pooling: whether the blocks of a ConvNet end in pooling, which the shapes do not show. MTT's networks
            have pooling unless their name ends in NP. Parameter names and image size depend on it.
        names: the names of the parameters, if they are known. They must be MTT's, all of which may have the
            same prefix, and decide about pooling. Names whose last part is a number say nothing.

    Returns:
        The model, with the facts that shapes determine, and the parameter names. None for other networks.

    Example:
        >>> found = recognise([(8, 3, 3, 3), (8,), (8,), (8,), (10, 2048), (10,)])
        >>> found[0].depth, found[0].image_size, found[0].norm, found[1][:3]
        (1, 32, None, ['features.0.weight', 'features.0.bias', 'features.1.weight'])
    """
    found = _by_shapes(shapes, pooling=pooling)
    if found is None or names is None or all(name.rpartition(".")[2].isdigit() for name in names):
        return found
    tries = (found, _by_shapes(shapes, pooling=not pooling))
    return next((each for each in tries if each and _are(names, each[1])), None)


def _are(names: Sequence[str], own: Sequence[str]) -> bool:
    """Return whether names are those of a network, or all have one prefix before them."""
    prefix = names[0].removesuffix(own[0])
    return prefix[-1:] in ("", ".") and list(names) == [prefix + name for name in own]


def _by_shapes(shapes: Sequence[Shape], *, pooling: bool) -> tuple[Model, list[str]] | None:
    rest = [tuple(shape) for shape in shapes]
    if len(rest) < 4 or len(rest[0]) != 4 or len(rest[-2]) != 2 or rest[-1] != rest[-2][:1]:
        return None
    channels, classes = rest[0][1], rest[-1][0]
    if channels < 1 or classes < 1:
        return None
    for family in _FIXED:
        tensors = _tensors(family, channels, classes)
        if rest == [shape for _, shape in tensors]:
            norm = "none" if family == "AlexNet" else None
            model = Model(family=family, channels=channels, classes=classes)
            return msgspec.structs.replace(model, norm=norm), [name for name, _ in tensors]
    return _convnet(rest, pooling=pooling)


def _convnet(rest: Sequence[Shape], *, pooling: bool) -> tuple[Model, list[str]] | None:
    width, channels = rest[0][:2]
    affine = len(rest[2]) in (1, 3)
    per_block = 4 if affine else 2
    depth, left = divmod(len(rest) - 2, per_block)
    classes, features = rest[-2]
    side = math.isqrt(features // width) if width else 0
    if left or depth < 1 or side < 1 or width * side * side != features:
        return None
    image_size = side * 2**depth if pooling else side
    stride = 2 + affine + pooling  # modules of a block: convolution, norm, ReLU, pooling
    norm: str | None = None if affine else "none"
    names: list[str] = []
    for block in range(depth):
        own = rest[per_block * block : per_block * (block + 1)]
        inputs = channels if block == 0 else width
        size = image_size // 2**block if pooling else image_size
        norms: tuple[list[Shape], ...] = ([(width,)] * 2, [(width, size, size)] * 2) if affine else ([],)
        if own[:2] != [(width, inputs, 3, 3), (width,)] or own[2:] not in norms:
            return None
        at = stride * block
        names += [f"features.{at}.weight", f"features.{at}.bias"]
        if affine:
            names += [f"features.{at + 1}.weight", f"features.{at + 1}.bias"]
    names += ["classifier.weight", "classifier.bias"]
    if affine and len(rest[2]) == 3:
        norm = "layer"
    # MTT pads 28 x 28 images with one channel to 32 x 32, so the shapes of the two sizes are equal.
    known_size = None if pooling and channels == 1 and image_size == 32 else image_size
    model = Model(
        family="ConvNet",
        depth=depth,
        width=width,
        channels=channels,
        classes=classes,
        image_size=known_size,
    )
    known = {"norm": norm} if norm else {}
    return msgspec.structs.replace(model, **known, pooling=None if pooling else "none"), names


def _tensors(family: Family, channels: int, classes: int) -> Named:
    """Return names and shapes of the parameters of a network in `_FIXED`, as MTT builds it."""
    match family:
        case "AlexNet":
            found, incoming = [], channels
            for at, width, kernel in ((0, 128, 5), (3, 192, 5), (6, 256, 3), (8, 192, 3), (10, 192, 3)):
                found += _pair(f"features.{at}", (width, incoming, kernel, kernel))
                incoming = width
            return found + _pair("fc", (classes, 192 * 4 * 4))
        case "VGG11":
            found, incoming, at = [], channels, 0
            for widths in ((64,), (128,), (256, 256), (512, 512), (512, 512)):
                for width in widths:
                    found += _pair(f"features.{at}", (width, incoming, 3, 3))
                    found += _pair(f"features.{at + 1}", (width,))
                    incoming, at = width, at + 3  # convolution, norm, ReLU
                at += 1  # pooling
            return found + _pair("classifier", (classes, 512))
    average = family == "ResNet18AP"
    found = [("conv1.weight", (64, channels, 3, 3)), *_pair("bn1", (64,))]
    for stage, width in enumerate((64, 128, 256, 512), 1):
        for block in (0, 1):
            at_block = f"layer{stage}.{block}"
            incoming = width // 2 if stage > 1 and block == 0 else width
            for number, inputs in ((1, incoming), (2, width)):
                found.append((f"{at_block}.conv{number}.weight", (width, inputs, 3, 3)))
                found += _pair(f"{at_block}.bn{number}", (width,))
            if incoming != width:
                found.append((f"{at_block}.shortcut.0.weight", (width, incoming, 1, 1)))
                found += _pair(f"{at_block}.shortcut.{2 if average else 1}", (width,))
    # ResNet18AP does not pool the last stage: it has 3 x 3 pixels for one channel, and 4 x 4 otherwise
    pixels = 1 if not average else 9 if channels == 1 else 16
    return found + _pair("classifier", (classes, 512 * pixels))


def _pair(name: str, shape: Shape) -> Named:
    return [(f"{name}.weight", shape), (f"{name}.bias", shape[:1])]


def named(name: str) -> dict[str, Any] | None:
    """Return the facts in one of MTT's model names; None for any other name.

    The facts are family and norm and, for a ConvNet, pooling and the depth and width that the name states.

    Example:
        >>> named("ConvNetD4W64BN")
        {'family': 'ConvNet', 'depth': 4, 'width': 64, 'norm': 'batch', 'pooling': 'avg'}
    """
    if name in _OTHERS:
        family, norm = _OTHERS[name]
        return {"family": family, "norm": norm}
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    facts: dict[str, Any] = {"family": "ConvNet"}
    for key in ("depth", "width"):
        if match[key]:
            facts[key] = int(match[key])
    return facts | {
        "norm": _NORMS[match["norm"] or "IN"],
        "pooling": _POOLINGS[match["pooling"] or "AP"],
    }


def model_name(model: Model) -> str:
    """Return MTT's name of a network, which `named` can parse.

    For a network that is not MTT's, return its factory if it is known, and otherwise its family.

    Example:
        >>> model_name(Model(family="ConvNet", depth=3, width=128, channels=3, classes=10, norm="instance"))
        'ConvNetD3W128'
        >>> model_name(Model(family="ResNet18AP", channels=3, classes=10, norm="batch"))
        'ResNet18BN_AP'
    """
    if model.family != "ConvNet":
        for name, (family, norm) in _OTHERS.items():
            if family == model.family and model.norm in (None, norm):
                return name
        return model.factory or model.family
    suffix = {value: key for key, value in _NORMS.items()}.get(model.norm or "instance", "")
    pooling = {value: key for key, value in _POOLINGS.items()}.get(model.pooling or "avg", "")
    name = f"{model.family}D{model.depth}W{model.width}"
    return name + (suffix if suffix != "IN" else "") + (pooling if pooling != "AP" else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PathFacts:
    """The facts in an MTT path `{dataset}[_NO_ZCA][/{subset}/{res}]/{model}/`."""

    dataset: str | None = None
    preprocessing: Preprocessing | None = None
    model: dict[str, Any] | None = None
    """The facts in the model name, as returned by `named`."""


def normalisation(dataset: str | None) -> Preprocessing:
    """Return MTT's normalisation of a data set, with mean and standard deviation if MTT defines them.

    Example:
        >>> normalisation("CIFAR100").std
        [0.2023, 0.1994, 0.201]
    """
    mean, std = _NORMALISATION.get((dataset or "").partition("/")[0], (None, None))
    return Preprocessing(kind="normalize", mean=mean, std=std)


def facts_of_path(folder: Path) -> PathFacts:
    """Read the facts that MTT encodes in its folder names.

    The result is empty for a path of any other form. A folder name without the suffix `_NO_ZCA` implies
    whitened images only for CIFAR-10 and CIFAR-100. For Tiny ImageNet, MTT writes "Tiny" in either case.

    Example:
        >>> facts_of_path(Path("buffers/CIFAR10_NO_ZCA/ConvNet")).dataset
        'CIFAR10'
    """
    parts = [part for part in Path(os.path.abspath(folder)).parts if part]
    if len(parts) < 2 or (model := named(parts[-1])) is None:
        return PathFacts()
    owner, subset = parts[-2], ""
    if owner.isdigit() and len(parts) >= 4:  # {dataset}/{subset}/{res}/{model}
        owner, subset = parts[-4], f"/{parts[-3]}"
    dataset = owner.removesuffix("_NO_ZCA")
    plain = owner.endswith("_NO_ZCA")
    if not (plain or dataset in _DATASETS):
        return PathFacts(model=model)  # the outer folder need not be named after a data set
    preprocessing = None
    if plain:
        preprocessing = normalisation(dataset)
    elif dataset in _ZCA_BY_DEFAULT:
        preprocessing = Preprocessing(kind="zca", eps=0.1)  # MTT uses no other value
    return PathFacts(dataset=dataset + subset or None, preprocessing=preprocessing, model=model)


def settle(model: Model, name: str | dict[str, Any]) -> Model:
    """Complete a recognised model with the facts of a model name.

    Args:
        model: the model that `recognise` returned.
        name: one of MTT's model names, or the facts in it as returned by `named`.

    Raises:
        UsageError: the name is unknown, or its depth, width or norm contradict the shapes.
    """
    facts = named(name) if isinstance(name, str) else name
    if facts is None:
        raise UsageError(
            f"unknown model {name!r}; known are ConvNet, ConvNetD4, ConvNetD3W32BN, …, {', '.join(_OTHERS)}"
        )
    for key, value in facts.items():
        known = getattr(model, key)
        if known is None and key == "norm" and value in ("layer", "none"):
            known = "one weight per channel"
        if known is not None and known != value:
            raise UsageError(f"the model name implies {key} {value}, but the shapes imply {known}")
    pooled = facts.get("pooling") == "none" and model.pooling is None
    if pooled and model.image_size is not None and model.depth is not None:
        facts = {**facts, "image_size": model.image_size // 2**model.depth}  # `model` assumes pooling
    return msgspec.structs.replace(model, **facts)

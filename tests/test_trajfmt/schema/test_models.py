"""Recognising the ConvNet family by shapes, names and paths, against networks that torch builds."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trajfmt import Model, Preprocessing, UsageError
from trajfmt.schema.models import facts_of_path, model_name, named, recognise, settle

Shape = tuple[int, ...]

CIFAR = Preprocessing(kind="normalize", mean=[0.4914, 0.4822, 0.4465], std=[0.2023, 0.1994, 0.2010])
IMAGENET = Preprocessing(kind="normalize", mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])


def _build(
    depth: int, width: int, channels: int, size: int, classes: int, norm: str, pooling: str = "avg"
) -> list[tuple[str, Shape]]:
    """Build MTT's ConvNet with torch and return its parameters' names and shapes."""
    nn = pytest.importorskip("torch").nn
    layers: list[Any] = []
    inputs, side = channels, 32 if size == 28 else size
    for _ in range(depth):
        layers.append(nn.Conv2d(inputs, width, 3, padding=1))
        if norm == "instance":
            layers.append(nn.GroupNorm(width, width, affine=True))
        elif norm == "batch":
            layers.append(nn.BatchNorm2d(width, affine=True))
        elif norm == "group":
            layers.append(nn.GroupNorm(2, width, affine=True))
        elif norm == "layer":
            layers.append(nn.LayerNorm((width, side, side), elementwise_affine=True))
        layers.append(nn.ReLU(inplace=True))
        if pooling != "none":
            layers.append(nn.AvgPool2d(2, 2) if pooling == "avg" else nn.MaxPool2d(2, 2))
            side //= 2
        inputs = width
    network = nn.ModuleDict(
        {"features": nn.Sequential(*layers), "classifier": nn.Linear(width * side * side, classes)}
    )
    return [(name, tuple(parameter.shape)) for name, parameter in network.named_parameters()]


CASES = [
    (depth, width, channels, size, classes, norm)
    for (depth, size), width, (channels, classes), norm in itertools.product(
        [(1, 8), (2, 8), (3, 32), (4, 64), (5, 32)],
        [2, 16],
        [(3, 10), (1, 7)],
        ["instance", "batch", "group", "layer", "none"],
    )
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_networks_that_torch_builds_are_recognised(case: tuple[int, int, int, int, int, str]) -> None:
    """Names and every fact that shapes tell; what they cannot tell stays unknown."""
    depth, width, channels, size, classes, norm = case
    built = _build(depth, width, channels, size, classes, norm)
    found = recognise([shape for _, shape in built])
    assert found is not None
    model, names = found
    assert names == [name for name, _ in built]
    assert (model.depth, model.width, model.channels, model.classes) == (depth, width, channels, classes)
    assert model.image_size == (None if (channels, size) == (1, 32) else size)
    assert model.norm == (norm if norm in ("layer", "none") else None)
    assert model.pooling is None


def test_padded_digits_leave_the_image_size_unknown() -> None:
    """28 x 28 with one channel is padded to 32 x 32 by MTT: shapes do not tell which it was."""
    found = recognise([shape for _, shape in _build(3, 8, 1, 28, 10, "instance")])
    assert found is not None
    assert found[0].image_size is None


def _resnet18() -> list[Shape]:
    """Return the shapes of MTT's ResNet18 for CIFAR-10: a convolution, eight blocks, a linear layer."""
    shapes: list[Shape] = [(64, 3, 3, 3), (64,), (64,)]
    for inputs, width in (
        (64, 64),
        (64, 64),
        (64, 128),
        (128, 128),
        (128, 256),
        (256, 256),
        (256, 512),
        (512, 512),
    ):
        shapes += [(width, inputs, 3, 3), (width,), (width,), (width, width, 3, 3), (width,), (width,)]
        shapes += [(width, inputs, 1, 1), (width,), (width,)] if inputs != width else []
    return [*shapes, (10, 512), (10,)]


RESNET = _resnet18()


def test_mtts_other_networks_are_recognised_by_their_shapes() -> None:
    """Family, images and names of the tensors; the norm stays unknown until a name tells it."""
    found = recognise(RESNET)
    assert found is not None
    assert found[0] == Model(family="ResNet18", channels=3, classes=10)
    assert found[1][-5:-2] == ["layer4.1.conv2.weight", "layer4.1.bn2.weight", "layer4.1.bn2.bias"]
    assert settle(found[0], "ResNet18BN").norm == "batch"
    for name in ("ResNet18_AP", "VGG11", "ConvNet"):
        with pytest.raises(UsageError, match="the shapes imply ResNet18"):
            settle(found[0], name)


def test_form_of_resnet_is_told_by_its_classifier() -> None:
    """MTT's averaged form keeps 4 x 4 pixels for colour images, 3 x 3 for one channel."""
    colour, grey = (
        recognise([(64, c, 3, 3), *RESNET[1:-2], (7, p * 512), (7,)]) for c, p in ((3, 16), (1, 9))
    )
    assert colour is not None
    assert grey is not None
    assert colour[0] == Model(family="ResNet18AP", channels=3, classes=7)
    assert grey[0] == Model(family="ResNet18AP", channels=1, classes=7)
    assert recognise([*RESNET[:-2], (10, 9 * 512), (10,)]) is None


CONV: list[Shape] = [(8, 3, 3, 3), (8,), (8,), (8,), (8, 8, 3, 3), (8,), (8,), (8,), (10, 512), (10,)]


def test_the_example_is_recognised() -> None:
    """The cases below are one change away from this."""
    found = recognise(CONV)
    assert found is not None
    assert (found[0].depth, found[0].image_size) == (2, 32)


@pytest.mark.parametrize(
    "shapes",
    [
        [],
        [()],
        [(0, 0, 0, 0)] * 4,
        [(0, 3, 3, 3), (0,), (10, 0), (10,)],
        CONV[:-1],
        CONV[1:],
        CONV[::-1],
        [*CONV, (1,)],
        [(8, 3, 5, 5), *CONV[1:]],
        [*CONV[:4], (8, 4, 3, 3), *CONV[5:]],
        [*CONV[:2], (4,), *CONV[3:]],
        [*CONV[:2], (8, 32, 32), *CONV[3:]],
        [*CONV[:2], (8, 16, 16), (8, 16, 16), *CONV[4:]],
        [*CONV[:-2], (10, 513), (10,)],
        [*CONV[:-2], (10, 8 * 63), (10,)],
        [*CONV[:-2], (10, 512), (9,)],
        [(8, 0, 3, 3), *CONV[1:]],
        [*CONV[:-2], (0, 512), (0,)],
        [*RESNET[:3], *RESNET[6:]],
        [*RESNET[:-2], (10, 1024), (10,)],
        [(64, 0, 3, 3), *RESNET[1:]],
        [(64, 3, 7, 7), (64,), (64,), (10, 64), (10,)],
        [(128, 784), (128,), (10, 128), (10,)],
    ],
)
def test_other_networks_are_not_mistaken_for_it(shapes: list[Shape]) -> None:
    """No guess: parameters of anything else are numbered, not named."""
    assert recognise(shapes) is None


def test_network_without_pooling_keeps_true_facts() -> None:
    """Once the name says that there is no pooling, the image size is that of the last layer."""
    built = _build(2, 4, 3, 8, 10, "instance", pooling="none")
    found = recognise([shape for _, shape in built])
    assert found is not None
    assert settle(found[0], "ConvNetD2W4NP").image_size == 8


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("ConvNet", {"norm": "instance", "pooling": "avg"}),
        ("ConvNetD4", {"depth": 4, "norm": "instance", "pooling": "avg"}),
        ("ConvNetW32", {"width": 32, "norm": "instance", "pooling": "avg"}),
        ("ConvNetBN", {"norm": "batch", "pooling": "avg"}),
        ("ConvNetD3W128NNMP", {"depth": 3, "width": 128, "norm": "none", "pooling": "max"}),
        ("ConvNetGNNP", {"norm": "group", "pooling": "none"}),
    ],
)
def test_names_of_the_family(name: str, facts: dict[str, Any]) -> None:
    """Depth, width, norm and pooling, with MTT's defaults."""
    assert named(name) == {"family": "ConvNet", **facts}


@pytest.mark.parametrize(
    ("name", "family", "norm"),
    [
        ("AlexNet", "AlexNet", "none"),
        ("VGG11", "VGG11", "instance"),
        ("VGG11BN", "VGG11", "batch"),
        ("ResNet18", "ResNet18", "instance"),
        ("ResNet18BN", "ResNet18", "batch"),
        ("ResNet18_AP", "ResNet18AP", "instance"),
        ("ResNet18BN_AP", "ResNet18AP", "batch"),
    ],
)
def test_names_of_mtts_other_networks(name: str, family: Any, norm: Any) -> None:
    """MTT's names, there and back; without a known norm the name is that of MTT's default."""
    assert named(name) == {"family": family, "norm": norm}
    assert model_name(Model(family=family, channels=3, classes=10, norm=norm)) == name
    assert model_name(Model(family=family, channels=3, classes=10)) == name.replace("BN", "")


def test_the_suffix_may_be_a_convnets() -> None:
    """ResNet18AP is what MTT calls ResNet18_AP."""
    assert named("ResNet18AP") == named("ResNet18_AP")
    assert named("ResNet18BNAP") == named("ResNet18BN_AP")


def test_network_of_somebody_else_is_called_by_its_factory() -> None:
    """What builds it, where that is known."""
    assert (
        model_name(Model(family="other", channels=3, classes=10, factory="lab.nets:make")) == "lab.nets:make"
    )
    assert model_name(Model(family="other", channels=3, classes=10)) == "other"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "convnet",
        "ConvNetD",
        "ConvNetX",
        "ConvNet ",
        "ConvNet\n",
        "ResNet34",
        "ResNet18_",
        "VGG11AP",
        "a:b",
    ],
)
def test_other_names_say_nothing(name: str) -> None:
    """No part of a foreign name is believed."""
    assert named(name) is None


@pytest.mark.parametrize("norm", [None, "instance", "batch", "group", "layer", "none"])
@pytest.mark.parametrize("pooling", [None, "avg", "max", "none"])
def test_names_round_trip(norm: Any, pooling: Any) -> None:
    """What a model's name says is the model."""
    model = Model(family="ConvNet", depth=3, width=7, channels=3, classes=10, norm=norm, pooling=pooling)
    facts = named(model_name(model))
    assert facts == {
        "family": "ConvNet",
        "depth": 3,
        "width": 7,
        "norm": norm or "instance",
        "pooling": pooling or "avg",
    }


def test_settle_completes_and_contradicts() -> None:
    """A name adds what shapes leave open, and must not deny what they tell."""
    found = recognise(CONV)
    assert found is not None
    assert settle(found[0], "ConvNetD2W8BN").norm == "batch"
    for name in ("ConvNetD3", "ConvNetD2W9", "VGG11"):
        with pytest.raises(UsageError):
            settle(found[0], name)


@pytest.mark.parametrize(
    ("path", "dataset", "preprocessing"),
    [
        ("buffers/CIFAR10/ConvNet", "CIFAR10", Preprocessing(kind="zca", eps=0.1)),
        ("buffers/CIFAR100/ConvNetD3", "CIFAR100", Preprocessing(kind="zca", eps=0.1)),
        ("buffers/CIFAR10_NO_ZCA/ConvNet", "CIFAR10", CIFAR),
        ("buffers/Tiny/ConvNetD4", "Tiny", None),
        ("buffers/Tiny_NO_ZCA/ConvNetD4", "Tiny", IMAGENET),
        (
            "buffers/ImageNet_NO_ZCA/imagenette/128/ConvNetD5",
            "ImageNet/imagenette",
            IMAGENET,
        ),
        ("buffers/CIFAR10/ResNet18", "CIFAR10", Preprocessing(kind="zca", eps=0.1)),
        ("buffers/CIFAR10/ResNet34", None, None),
        ("somewhere/else", None, None),
        ("_NO_ZCA/ConvNet", None, Preprocessing(kind="normalize")),
        ("/", None, None),
    ],
)
def test_paths_tell_dataset_and_preprocessing(
    path: str, dataset: str | None, preprocessing: Preprocessing | None
) -> None:
    """MTT's folder names, and nothing from others."""
    facts = facts_of_path(Path("/data") / path)
    assert (facts.dataset, facts.preprocessing) == (dataset, preprocessing)
    assert (facts.model is not None) == ("ConvNet" in path or "ResNet18" in path)


def test_settle_refuses_unknown_names_and_norms_without_channels() -> None:
    """A norm of all pixels has other shapes than one weight per channel, which the shapes leave open."""
    found = recognise(CONV)
    assert found is not None
    with pytest.raises(UsageError, match="unknown model 'ConvNetD3Q'; known are ConvNet, "):
        settle(found[0], "ConvNetD3Q")
    open_norm = msgspec.structs.replace(found[0], norm=None)
    assert settle(open_norm, {"norm": "batch"}).norm == "batch"
    for norm in ("layer", "none"):
        with pytest.raises(
            UsageError, match=f"implies norm {norm}, but the shapes imply one weight per channel"
        ):
            settle(open_norm, {"norm": norm})


def test_a_subset_may_lie_in_a_folder_of_any_name() -> None:
    """The name of the model is believed all the same."""
    facts = facts_of_path(Path("/data/mine/imagenette/128/ConvNetD5"))
    assert (facts.dataset, facts.preprocessing) == (None, None)
    assert facts.model == named("ConvNetD5")


def _normed(name: str, norm: str, width: int, inputs: int, size: int = 3) -> list[tuple[str, Shape]]:
    """Return a convolution without a bias, and its norm."""
    head, _, number = name.rpartition("conv")
    return [
        (f"{name}.weight", (width, inputs, size, size)),
        (f"{head}{norm}{number}.weight", (width,)),
        (f"{head}{norm}{number}.bias", (width,)),
    ]


def _expected_resnet(average: bool) -> list[tuple[str, Shape]]:
    """Return the parameters of ResNet18, stage by stage as in its paper."""
    found = _normed("conv1", "bn", 64, 3)
    for stage, (width, before) in enumerate([(64, 64), (128, 64), (256, 128), (512, 256)], 1):
        for block in (0, 1):
            at, inputs = f"layer{stage}.{block}", width if block else before
            found += _normed(f"{at}.conv1", "bn", width, inputs)
            found += _normed(f"{at}.conv2", "bn", width, width)
            if inputs != width:
                norm = f"{at}.shortcut.{2 if average else 1}"
                found.append((f"{at}.shortcut.0.weight", (width, inputs, 1, 1)))
                found += [(f"{norm}.weight", (width,)), (f"{norm}.bias", (width,))]
    features = 512 * 16 if average else 512
    return [*found, ("classifier.weight", (10, features)), ("classifier.bias", (10,))]


def _expected_vgg() -> list[tuple[str, Shape]]:
    """Return the parameters of VGG11: at which numbers its convolutions are, and from what to what."""
    steps = [(0, 3, 64), (4, 64, 128), (8, 128, 256), (11, 256, 256), (15, 256, 512), (18, 512, 512)]
    found: list[tuple[str, Shape]] = []
    for at, inputs, width in [*steps, (22, 512, 512), (25, 512, 512)]:
        found += [(f"features.{at}.weight", (width, inputs, 3, 3)), (f"features.{at}.bias", (width,))]
        found += [(f"features.{at + 1}.{kind}", (width,)) for kind in ("weight", "bias")]
    return [*found, ("classifier.weight", (10, 512)), ("classifier.bias", (10,))]


def _expected_alexnet() -> list[tuple[str, Shape]]:
    """Return the parameters of AlexNet for images of 32 pixels."""
    steps = [(0, 3, 128, 5), (3, 128, 192, 5), (6, 192, 256, 3), (8, 256, 192, 3), (10, 192, 192, 3)]
    found: list[tuple[str, Shape]] = []
    for at, inputs, width, size in steps:
        found += [(f"features.{at}.weight", (width, inputs, size, size)), (f"features.{at}.bias", (width,))]
    return [*found, ("fc.weight", (10, 3072)), ("fc.bias", (10,))]


@pytest.mark.parametrize(
    ("family", "expected", "norm"),
    [
        ("ResNet18", _expected_resnet(average=False), None),
        ("ResNet18AP", _expected_resnet(average=True), None),
        ("VGG11", _expected_vgg(), None),
        ("AlexNet", _expected_alexnet(), "none"),
    ],
)
def test_tensors_of_mtts_other_networks(family: Any, expected: list[tuple[str, Shape]], norm: Any) -> None:
    """Every name and every shape; a network that differs in one size is another one."""
    shapes = [shape for _, shape in expected]
    found = recognise(shapes)
    assert found == (
        Model(family=family, channels=3, classes=10, norm=norm),
        [name for name, _ in expected],
    )
    for number, shape in enumerate(shapes[1:-2], 1):
        other = [*shapes[:number], (shape[0] + 1, *shape[1:]), *shapes[number + 1 :]]
        assert recognise(other) is None


@pytest.mark.parametrize("pooling", [True, False])
@pytest.mark.parametrize("norm", ["one", "layer", "none"])
def test_names_and_sizes_of_a_convnet(norm: str, pooling: bool) -> None:
    """By the number of modules in a block; without pooling, every block has the pixels of the image."""
    sides = (32, 16) if pooling else (8, 8)
    shapes: list[Shape] = []
    for side, inputs in zip(sides, (3, 5), strict=True):
        shapes += [(5, inputs, 3, 3), (5,)]
        shapes += {"one": [(5,)] * 2, "layer": [(5, side, side)] * 2, "none": []}[norm]
    shapes += [(10, 5 * 64), (10,)]
    found = recognise(shapes, pooling=pooling)
    assert found is not None
    model, names = found
    assert (model.depth, model.width, model.channels, model.classes) == (2, 5, 3, 10)
    assert model.image_size == sides[0]
    assert model.pooling == (None if pooling else "none")
    assert model.norm == (None if norm == "one" else norm)
    step = 2 + (norm != "none") + pooling
    at = [0, 1, step, step + 1] if norm != "none" else [0, step]
    expected = [f"features.{number}.{kind}" for number in at for kind in ("weight", "bias")]
    assert names == [*expected, "classifier.weight", "classifier.bias"]


def test_grey_images_of_32_pixels_may_have_been_28() -> None:
    """Digits are padded; without pooling, or in another size, nothing is left open."""
    for channels, side, pooling, size in ((1, 16, True, None), (1, 8, True, 16), (3, 16, True, 32)):
        shapes = [(4, channels, 3, 3), (4,), (10, 4 * side * side), (10,)]
        found = recognise(shapes, pooling=pooling)
        assert found is not None
        assert found[0].image_size == size
    found = recognise([(4, 1, 3, 3), (4,), (10, 4 * 32 * 32), (10,)], pooling=False)
    assert found is not None
    assert found[0].image_size == 32


def test_a_name_without_pooling_leaves_the_image_as_small_as_its_features() -> None:
    """The shapes alone were read as those of a network that halves the image in each block."""
    shapes: list[Shape] = []
    for inputs in (3, 4, 4):
        shapes += [(4, inputs, 3, 3), (4,), (4,), (4,)]
    found = recognise([*shapes, (10, 4 * 64), (10,)])
    assert found is not None
    assert (found[0].image_size, found[0].pooling) == (64, None)
    settled = settle(found[0], "ConvNetD3W4NP")
    assert (settled.image_size, settled.pooling) == (8, "none")
    for name in ("ConvNetD3W4AP", "ConvNetD3W4MP"):
        assert settle(found[0], name).image_size == 64
    assert settle(settled, {"pooling": "none"}).image_size == 8


@pytest.mark.parametrize("prefix", ["", "model.", "net.encoder."])
@pytest.mark.parametrize("pooling", [True, False])
def test_names_decide_where_networks_have_the_same_shapes(prefix: str, pooling: bool) -> None:
    """MTT's names are recognised under one prefix, and tell pooling; other names are another network."""
    shapes = [(8, 3, 3, 3), (8,), (8,), (8,), (8, 8, 3, 3), (8,), (8,), (8,), (10, 128), (10,)]
    own = recognise(shapes, pooling=pooling)
    assert own is not None
    names = [prefix + name for name in own[1]]
    assert recognise(shapes, names=names) == own
    assert recognise(shapes, names=[f"param.{n:03d}" for n in range(10)]) == recognise(shapes)
    for wrong in ("fc", f"{prefix}classifiers", f"{prefix}x.classifier"):
        others = [*names[:-2], f"{wrong}.weight", f"{wrong}.bias"]
        assert recognise(shapes, names=others) is None

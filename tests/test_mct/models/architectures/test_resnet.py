"""MTT's ResNet18."""

import pytest

torch = pytest.importorskip("torch")
from mct.models import networks  # noqa: E402
from mct.models.architectures.resnet import Block  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from tests.helpers.networks import shared  # noqa: E402


@pytest.mark.parametrize(("name", "place"), [("ResNet18", 1), ("ResNet18_AP", 2)])
def test_resnet18_is_mtts(name: str, place: int) -> None:
    """The first stages in full: no biases of convolutions, the shortcut's norm behind its pooling."""
    found = networks.parameters_of(shared(name))
    assert len(found) == 62
    norm = [("bn1.weight", (64,)), ("bn1.bias", (64,)), ("bn2.weight", (64,)), ("bn2.bias", (64,))]
    block = [("conv1.weight", (64, 64, 3, 3)), *norm[:2], ("conv2.weight", (64, 64, 3, 3)), *norm[2:]]
    assert found[:15] == [
        ("conv1.weight", (64, 3, 3, 3)),
        *norm[:2],
        *((f"layer1.0.{key}", shape) for key, shape in block),
        *((f"layer1.1.{key}", shape) for key, shape in block),
    ]
    assert found[15] == ("layer2.0.conv1.weight", (128, 64, 3, 3))
    assert found[21:24] == [
        ("layer2.0.shortcut.0.weight", (128, 64, 1, 1)),
        (f"layer2.0.shortcut.{place}.weight", (128,)),
        (f"layer2.0.shortcut.{place}.bias", (128,)),
    ]
    assert found[-2:] == [
        ("classifier.weight", (10, 512 if place == 1 else 8192)),
        ("classifier.bias", (10,)),
    ]


@pytest.mark.parametrize("average", [False, True])
def test_block_without_its_convolutions_is_the_shortcut(average: bool) -> None:
    """With zero 3x3 convolutions a block is relu(x), or relu(norm(halved 1x1 convolution))."""
    images = torch.randn(2, 4, 6, 6, generator=generator(0)).double()
    for halve, width in ((False, 4), (True, 8)):
        block = Block(4, width, halve=halve, norm="instance", average=average).double()
        torch.nn.init.zeros_(block.conv1.weight)
        torch.nn.init.zeros_(block.conv2.weight)
        expected = images
        if halve:
            weight = torch.randn(8, 4, 1, 1, generator=generator(1)).double()
            block.shortcut[0].weight.data.copy_(weight)
            part = torch.einsum("oi,bihw->bohw", weight[:, :, 0, 0], images)
            part = part.reshape(2, 8, 3, 2, 3, 2).mean((3, 5)) if average else part[:, :, ::2, ::2]
            mean, var = part.mean((2, 3), keepdim=True), part.var((2, 3), correction=0, keepdim=True)
            expected = (part - mean) / (var + 1e-5).sqrt()
        torch.testing.assert_close(block(images), expected.clamp(min=0), rtol=1e-12, atol=1e-12)

"""One block of the ConvNet family against torch's modules and their derivatives."""

import pytest

torch = pytest.importorskip("torch")

from mct.inner.steps.blocks import Block, Weights, blocks_of  # noqa: E402
from mct.inner.steps.norms import ChannelNorm, LayerNorm  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402

NAMES = ["ConvNetD1W8", "ConvNetD1W8BN", "ConvNetD1W8LN", "ConvNetD1W8GN", "ConvNetD1W8NN", "ConvNetD1W8MP"]


def block_of(name: str):
    """Return a block, the modules that it stands for, their parameters, and images."""
    model = networks.parse(name, channels=3, image_size=8, classes=5)
    network = networks.build(model, generator=generator(0)).double()
    (block,) = blocks_of(network)
    random = generator(1)
    values = [
        torch.randn(p.shape, generator=random, dtype=torch.float64) for p in network.features.parameters()
    ]
    images = torch.randn(4, 3, 8, 8, generator=random, dtype=torch.float64)
    return block, network.features, Weights(*values, *[None] * (4 - len(values))), images


def plain(features, own: Weights, images):
    """Return what the modules give with other parameters."""
    names = [name for name, _ in features.named_parameters()]
    state = dict(zip(names, own, strict=False)) | {name: b.clone() for name, b in features.named_buffers()}
    return torch.func.functional_call(features, state, (images,))


@pytest.mark.parametrize("name", NAMES)
def test_forward_and_backward_are_those_of_the_modules(name: str) -> None:
    """Output, and gradients of kernel, bias, norm and images; a bias that a norm subtracts has none."""
    block, features, own, images = block_of(name)
    at = block.forward(own, images)
    torch.testing.assert_close(at.out, plain(features, own, images), rtol=0, atol=1e-12)
    leaves = [value.clone().requires_grad_() for value in own if value is not None]
    pixels = images.clone().requires_grad_()
    out = plain(features, Weights(*leaves, *[None] * (4 - len(leaves))), pixels)
    dp = torch.randn(out.shape, generator=generator(2), dtype=torch.float64)
    expected = torch.autograd.grad(out, [pixels, *leaves], dp)
    dy, found = block.backward(own, at, dp)
    for one, other in zip([block.image_gradient(own, dy, images), *found], expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_tangents_are_the_derivatives_of_both_passes(name: str) -> None:
    """Of the output, of every gradient, and of that of the images, along all inputs at once."""
    block, _, own, images = block_of(name)
    held = [value for value in own if value is not None]
    moved = [value.flip(0) + 0.5 for value in held]
    blank = [None] * (4 - len(held))
    random = generator(3)
    imagest = torch.randn(images.shape, generator=random, dtype=torch.float64)
    at = block.forward(own, images)
    dp, dpt = torch.randn(2, *at.out.shape, generator=random, dtype=torch.float64)

    def both(pixels, dp, *values):
        mine = Weights(*values, *blank)
        passed = block.forward(mine, pixels)
        dy, gradients = block.backward(mine, passed, dp)
        return passed.out, block.image_gradient(mine, dy, pixels), *gradients

    _, expected = torch.autograd.functional.jvp(both, (images, dp, *held), (imagest, dpt, *moved))
    ownt = Weights(*moved, *blank)
    pushed = block.forward_tangent(own, ownt, at, imagest)
    _, parameters, pull = block.backward_tangent(own, ownt, at, pushed, dp, dpt)
    for one, other in zip((pushed.out, pull, *parameters), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_blocks_are_read_off_the_modules() -> None:
    """One for each convolution, with the norm and pooling behind it, in their order."""
    found = {}
    for name in ("ConvNetD3W8", "ConvNetD2W8GNMP", "ConvNetD1W8BNNP", "ConvNetD1W8LN", "ConvNetD1W8NN"):
        model = networks.parse(name, channels=3, image_size=16, classes=5)
        found[name] = list(blocks_of(networks.build(model, generator=generator(0))))
    instance = ChannelNorm(kind="instance", groups=8, eps=1e-5)
    assert found["ConvNetD3W8"] == [Block(1, instance, "avg")] * 3
    assert found["ConvNetD2W8GNMP"] == [Block(1, ChannelNorm(kind="group", groups=4, eps=1e-5), "max")] * 2
    assert found["ConvNetD1W8BNNP"] == [Block(1, ChannelNorm(kind="batch", groups=1, eps=1e-5), "none")]
    assert found["ConvNetD1W8LN"] == [Block(1, LayerNorm(eps=1e-5), "avg")]
    assert found["ConvNetD1W8NN"] == [Block(1, None, "avg")]
    assert [found[name][0].joins_images for name in found] == [False, False, True, False, False]

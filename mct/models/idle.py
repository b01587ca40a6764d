"""Parameters that do not change the output of a network, such as the bias of a convolution before a norm."""

import copy

import torch
from torch import Tensor, nn

from mct.errors import ConfigError, first_line
from mct.models.functional import Functional
from mct.models.networks import flatten
from mct.runtime.seeds import generator

_NOISE = 1e-9
"""Gradients in float64 below this share of the largest are rounding errors, which are about 1e-15."""

_IMAGES = 4


def idle_parameters(network: nn.Module, size: tuple[int, int, int]) -> Tensor:
    """Return which parameters do not change the output: `(P,)` bool, in the order of `parameters()`.

    The output for random images is differentiated in float64 near the weights of the network. A parameter
    tensor counts as a whole.

    Args:
        network: Any module, in training mode.
        size: (C, H, W) of its images.

    Raises:
        ConfigError: The network cannot be computed in float64.

    Example:
        >>> from mct.models.networks import build, parse
        >>> model = parse("ConvNetD1W4", channels=1, image_size=8, classes=2)
        >>> network = build(model, generator=generator(0))
        >>> int(idle_parameters(network, (1, 8, 8)).sum())  # the four biases of the convolution
        4
    """
    random, twin = generator(0, "idle"), copy.deepcopy(network).double()
    given = flatten(twin).detach()
    noise = torch.randn(len(given), generator=random, dtype=torch.float64)
    images = torch.randn(_IMAGES, *size, generator=random, dtype=torch.float64)
    with torch.enable_grad():
        theta = (given + 0.1 * noise.to(given.device)).requires_grad_()
        try:
            logits = Functional(twin)(theta, images.to(given.device))
            weights = torch.randn(logits.shape, generator=random, dtype=torch.float64)
            (slope,) = torch.autograd.grad((logits * weights.to(given.device)).sum(), theta)
        except RuntimeError as exc:
            raise ConfigError(
                "`inner_optimizer` adam needs to know which parameters do not change the output of the "
                f"network, but the network cannot be computed in float64: {first_line(exc)}"
            ) from None
    sizes = [value.numel() for value in network.parameters()]
    largest = torch.stack([piece.abs().max() for piece in torch.split(slope, sizes)])
    idle = largest <= _NOISE * largest.max()
    return torch.repeat_interleave(idle, torch.tensor(sizes, device=idle.device))

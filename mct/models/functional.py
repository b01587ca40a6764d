"""A network as a function of one flat vector of weights, without memory.

Parameters are taken in the order of `Module.parameters()`, in which bundles store them. Buffers, such as
the running statistics of batch norm, are copied for every call: what a call does to them is lost with
it, so that the same weights and images give the same output however often the network was called.
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.dropout import _DropoutNd

from mct.errors import ConfigError

_BLOCK = 1024
"""Images per forward pass where no gradient is wanted."""


class Functional:
    """Evaluates a network at given weights.

    Args:
        network: Any module; its own parameters are not used, only their names and shapes. It is put
            into training mode, as MTT's student is.

    Raises:
        ConfigError: It has dropout, whose output is another one every time.
    """

    def __init__(self, network: nn.Module) -> None:
        for name, module in network.named_modules():
            if isinstance(module, _DropoutNd) and module.p > 0:
                raise ConfigError(
                    f"`model`: `{name}` is dropout, and the exact gradient needs a network that gives the "
                    "same output twice; set its probability to 0"
                )
        self._network = network.train()
        named = list(network.named_parameters())
        self._names = [name for name, _ in named]
        self._shapes = [value.shape for _, value in named]
        self._sizes = [value.numel() for _, value in named]

    def __call__(self, theta: Tensor, images: Tensor) -> Tensor:
        """Return the logits `(B, K)` of `images` `(B, C, H, W)` with weights `theta` `(P,)`."""
        pieces = torch.split(theta, self._sizes)
        state = {
            name: piece.view(shape)
            for name, piece, shape in zip(self._names, pieces, self._shapes, strict=True)
        }
        state |= {name: buffer.clone() for name, buffer in self._network.named_buffers()}
        logits: Tensor = functional_call(self._network, state, (images,))
        return logits

    @torch.no_grad()
    def probabilities(self, theta: Tensor, images: Tensor) -> Tensor:
        """Return the softmax `(N, K)` of the logits, in evaluation mode.

        Trajectories hold no running statistics. Where a network has some, those of `images`, all at
        once, take their place.
        """
        if any(True for _ in self._network.buffers()):
            return self(theta, images).softmax(1)
        self._network.eval()
        try:
            logits = [self(theta, block) for block in torch.split(images, _BLOCK)]
        finally:
            self._network.train()
        return torch.cat(logits).softmax(1)

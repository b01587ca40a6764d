"""A network as a pure function of a flat weight vector.

The vector contains the parameters in the order of `Module.parameters()`, as bundles do. Module buffers, such
as the running statistics of batch norm, are copied for every call and the copies are discarded, so that equal
weights and images always give equal outputs.
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.dropout import _DropoutNd

from mct.errors import ConfigError

_BLOCK = 1024
"""Images per forward pass in `Functional.probabilities`, which needs no gradient."""


class Functional:
    """A network that can be evaluated at any weights.

    Args:
        network: Any module. Only the names and shapes of its parameters are used, not their values. It is
            set to training mode, like MTT's student.

    Raises:
        ConfigError: If the network has active dropout, so that its output would be random.
    """

    def __init__(self, network: nn.Module) -> None:
        for name, module in network.named_modules():
            if isinstance(module, _DropoutNd) and module.p > 0:
                raise ConfigError(
                    f"`model`: the layer `{name}` is dropout, but the exact gradient needs a network whose "
                    "output is not random; set the probability of dropout to 0"
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
        """Return the softmax `(N, K)` of `logits`."""
        return self.logits(theta, images).softmax(1)

    @torch.no_grad()
    def logits(self, theta: Tensor, images: Tensor) -> Tensor:
        """Return the logits `(N, K)`, with the network in evaluation mode.

        If the network has module buffers, such as running statistics, all images are instead evaluated as one
        batch in training mode, because trajectories contain no running statistics.

        Args:
            theta: Weights `(P,)`.
            images: `(N, C, H, W)`.
        """
        if any(True for _ in self._network.buffers()):
            return self(theta, images)
        self._network.eval()
        try:
            logits = [self(theta, block) for block in torch.split(images, _BLOCK)]
        finally:
            self._network.train()
        return torch.cat(logits)

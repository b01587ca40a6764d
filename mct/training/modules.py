"""Networks that remember more than their weights, and learn batch by batch as modules."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import trajfmt
from mct.training.loader import Batch
from mct.training.sharpness import Sharpness
from mct.training.testing import Classifier
from trajfmt import torch as bridge


class ModuleLearner:
    """A network that remembers more than its weights, trained as a module.

    Args:
        network: What is trained.
        momentum: As `torch.optim.SGD` takes it.
        weight_decay: As `torch.optim.SGD` takes it.
        sharpness: How updates are made sharpness-aware; None: they are plain.
        betas: Decays of Adam, which then replaces SGD and its momentum; None: SGD.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        momentum: float,
        weight_decay: float,
        sharpness: Sharpness | None = None,
        betas: tuple[float, float] | None = None,
    ) -> None:
        self._network = network.train()
        self._momentum, self._weight_decay = momentum, weight_decay
        self._sharpness, self._betas = sharpness, betas
        self._layout: trajfmt.ParamLayout | None = None

    def begin(self, rate: float) -> None:
        """Go on with this step size and without momentum."""
        self._optimizer = optimizer_of(
            self._network.parameters(),
            rate,
            momentum=self._momentum,
            weight_decay=self._weight_decay,
            betas=self._betas,
        )

    def update(self, batch: Batch) -> Tensor:
        """Do one update, and return the logits `(B, K)` before it."""
        logits = self._differentiate(batch)
        if self._sharpness is not None:
            self._sharpen(self._sharpness, batch)
        self._optimizer.step()
        return logits

    def _differentiate(self, batch: Batch) -> Tensor:
        """Set the gradients of the parameters, and return the logits `(B, K)`."""
        logits: Tensor = self._network(batch.pixels)
        self._optimizer.zero_grad()
        torch.autograd.backward(cross_entropy(logits, batch.labels))
        return logits.detach()

    def _sharpen(self, sharpness: Sharpness, batch: Batch) -> None:
        """Replace the gradients by the direction of a sharpness-aware update.

        The second pass leaves the buffers as they are, as in FTD's code: running statistics are those of the
        network, not of the perturbed one.
        """
        trained = [value for value in self._network.parameters() if value.grad is not None]
        theta, gradient = _flat(trained), _flat([_gradient(value) for value in trained])
        buffers = {name: value.clone() for name, value in self._network.named_buffers()}
        _assign(trained, sharpness.ascent(theta, gradient))
        self._differentiate(batch)
        perturbed = _flat([_gradient(value) for value in trained])
        _assign(trained, theta)
        with torch.no_grad():
            for name, value in self._network.named_buffers():
                value.copy_(buffers[name])
        for value, piece in _pieces(trained, sharpness.direction(gradient, perturbed)):
            value.grad = piece

    def weights(self) -> Tensor:
        """Return the weights `(P,)`, in memory of their own.

        Their order is that of `Module.parameters()` at the first call. Code of the network that registers a
        parameter again would change it.

        Raises:
            SourceError: The network has other parameters than at the first call.
        """
        if self._layout is None:
            self._layout = bridge.layout_of(self._network)
        return bridge.flatten(self._network, self._layout)

    def state(self) -> dict[str, Tensor]:
        """Return parameters and buffers of the module, and the momentum of each parameter that has one."""
        found = {f"value.{name}": value.detach() for name, value in _values(self._network).items()}
        momenta = {name: momentum_of(self._optimizer, x) for name, x in self._network.named_parameters()}
        return found | {f"momentum.{name}": x for name, x in momenta.items() if x is not None}

    def restore(self, state: Mapping[str, Tensor], rate: float) -> None:
        """Go on from what `state` has returned, with this step size, before any update."""
        with torch.no_grad():
            for name, value in _values(self._network).items():
                value.copy_(state[f"value.{name}"])
        self.begin(rate)
        for name, value in self._network.named_parameters():
            momentum = state.get(f"momentum.{name}")
            if momentum is not None:
                self._optimizer.state[value]["momentum_buffer"] = momentum.to(value.device, copy=True)

    def network(self) -> nn.Module:
        """Return the network with these weights."""
        return self._network

    def classifier(self) -> Classifier | None:
        """Return None: the network knows what it remembers."""
        return None


def _flat(values: Sequence[Tensor]) -> Tensor:
    """Return tensors as one vector, in memory of its own."""
    return torch.cat([value.detach().reshape(-1) for value in values])


def _gradient(value: Tensor) -> Tensor:
    """Return the gradient of a parameter; zeros if the loss does not depend on it."""
    return torch.zeros_like(value) if value.grad is None else value.grad


def _pieces(values: Sequence[Tensor], vector: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each of some tensors with its piece of a vector, in its shape."""
    sizes = [value.numel() for value in values]
    for value, piece in zip(values, torch.split(vector, sizes), strict=True):
        yield value, piece.view_as(value)


@torch.no_grad()
def _assign(values: Sequence[Tensor], vector: Tensor) -> None:
    """Overwrite tensors with the pieces of a vector."""
    for value, piece in _pieces(values, vector):
        value.copy_(piece)


def _values(network: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and all buffers of a network, by name."""
    return dict(network.named_parameters()) | dict(network.named_buffers())


def optimizer_of(
    values: Iterable[Tensor],
    rate: float,
    *,
    momentum: float,
    weight_decay: float,
    betas: tuple[float, float] | None,
    on_gpu: bool = False,
) -> torch.optim.Optimizer:
    """Return SGD, or with `betas` Adam, for tensors; with `on_gpu` one that CUDA graphs can capture."""
    if betas is not None:
        return torch.optim.Adam(
            values, lr=rate, betas=betas, weight_decay=weight_decay, fused=on_gpu, capturable=on_gpu
        )
    # Of SGD on a CPU, the fused kernel rounds its last few elements differently.
    return torch.optim.SGD(
        values, lr=rate, momentum=momentum, weight_decay=weight_decay, fused=on_gpu or None
    )


def momentum_of(optimizer: torch.optim.Optimizer, value: Tensor) -> Tensor | None:
    """Return the momentum of a parameter; None before the first update, or without momentum."""
    found: Tensor | None = optimizer.state.get(value, {}).get("momentum_buffer")
    return found

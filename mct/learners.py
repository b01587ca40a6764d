"""Networks that learn batch by batch with SGD: on one flat vector of weights, or as modules.

A network without memory is a vector of weights and a step, and its update one pass over the vector; on a
GPU the whole update becomes one CUDA graph. A network with buffers, such as the running statistics of
batch norm, or with dropout, stays a module. Both do what `torch.optim.SGD` does, by calling it.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.dropout import _DropoutNd

import trajfmt
from mct import networks
from mct.architectures.convnet import ConvNet
from mct.errors import first_line
from mct.feed import Batch
from mct.functional import Functional
from mct.seeds import generator
from mct.steps import Notes, Step, make_step
from mct.steps.compiled import compile_apart
from mct.testing import BLOCK
from trajfmt import torch as bridge

_PLAIN = 3
"""Updates of a shape before its graph is captured: kernels and workspaces are chosen in the first ones."""


Classifier = Callable[[Tensor], Tensor]
"""From at most `testing.BLOCK` images `(B, C, H, W)` to logits `(B, K)`, in evaluation mode."""


class Learner(Protocol):
    """One network in training; P parameters, batches of B images, K classes."""

    def begin(self, rate: float, /) -> None:
        """Go on with this step size and without momentum."""
        ...

    def update(self, batch: Batch, /) -> Tensor:
        """Do one update, and return the logits `(B, K)` before it, which the next one may overwrite."""
        ...

    def weights(self) -> Tensor:
        """Return the weights `(P,)` in the order of `Module.parameters()`, in memory of their own."""
        ...

    def network(self) -> nn.Module:
        """Return the network with these weights."""
        ...

    def classifier(self) -> Classifier | None:
        """Return what gives logits at these weights faster than the network does, if anything."""
        ...


class FlatLearner:
    """A network without memory: its weights are one vector in the packed order of a step.

    Args:
        network: Where training starts; left alone until `network` is called.
        step: Of this architecture; one that several learners share must be safe to call at once.
        momentum: As `torch.optim.SGD` takes it.
        weight_decay: As `torch.optim.SGD` takes it.
        notes: Called with one line where a CUDA graph could not be captured.
        forward: The compiled forward pass, where there is one.
    """

    def __init__(
        self,
        network: nn.Module,
        step: Step,
        *,
        momentum: float,
        weight_decay: float,
        notes: Notes | None,
        forward: Callable[..., object] | None,
    ) -> None:
        self._forward = forward
        self._network, self._step, self._notes = network, step, notes
        self._momentum, self._weight_decay = momentum, weight_decay
        self._theta = step.pack(bridge.flatten(network))
        self._graphs: dict[int, _Graph] = {}
        self._seen: dict[int, int] = {}
        self._capture = self._theta.is_cuda

    def begin(self, rate: float) -> None:
        """Go on with this step size and without momentum."""
        self._optimizer = torch.optim.SGD(
            [self._theta],
            lr=rate,
            momentum=self._momentum,
            weight_decay=self._weight_decay,
            fused=self._theta.is_cuda,  # the CPU's rounds its last few elements differently
        )
        self._graphs.clear()  # the step size is part of them
        self._seen.clear()

    def update(self, batch: Batch) -> Tensor:
        """Do one update, and return the logits `(B, K)` before it, which the next one may overwrite."""
        size = len(batch.targets)
        if size in self._graphs:
            return self._graphs[size].replay(batch)
        self._seen[size] = self._seen.get(size, 0) + 1
        if self._capture and self._seen[size] > _PLAIN:
            try:
                self._graphs[size] = _Graph(self._update, batch)
            except RuntimeError as exc:
                self._capture = False
                if self._notes is not None:
                    self._notes(
                        f"updates run without a CUDA graph, which could not be captured: {first_line(exc)}"
                    )
            else:
                return self._graphs[size].replay(batch)
        return self._update(batch.pixels, batch.targets)

    def _update(self, pixels: Tensor, targets: Tensor) -> Tensor:
        self._theta.grad, logits = self._step.gradient(self._theta, pixels, targets)
        self._optimizer.step()
        return logits

    def weights(self) -> Tensor:
        """Return the weights `(P,)` in the order of `Module.parameters()`, in memory of their own."""
        found = self._step.unpack(self._theta)
        return found.clone() if found is self._theta else found

    def network(self) -> nn.Module:
        """Return the network with these weights."""
        nn.utils.vector_to_parameters(self.weights(), self._network.parameters())
        return self._network

    def classifier(self) -> Classifier | None:
        """Return the compiled forward pass at these weights, if there is one."""
        return None if self._forward is None else partial(_logits, self._forward, self.weights())


class _Graph:
    """One update as a CUDA graph; capturing it does nothing to the weights."""

    def __init__(self, update: "_Update", batch: Batch) -> None:
        self._pixels, self._targets = batch.pixels.clone(), batch.targets.clone()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._logits = update(self._pixels, self._targets)

    def replay(self, batch: Batch) -> Tensor:
        """Do the update with another batch of the same size."""
        self._pixels.copy_(batch.pixels)
        self._targets.copy_(batch.targets)
        self._graph.replay()
        return self._logits


class _Update(Protocol):
    def __call__(self, pixels: Tensor, targets: Tensor, /) -> Tensor: ...


class ModuleLearner:
    """A network that remembers more than its weights, trained as a module.

    Args:
        network: What is trained.
        momentum: As `torch.optim.SGD` takes it.
        weight_decay: As `torch.optim.SGD` takes it.
    """

    def __init__(self, network: nn.Module, *, momentum: float, weight_decay: float) -> None:
        self._network = network.train()
        self._momentum, self._weight_decay = momentum, weight_decay

    def begin(self, rate: float) -> None:
        """Go on with this step size and without momentum."""
        self._optimizer = torch.optim.SGD(
            self._network.parameters(), lr=rate, momentum=self._momentum, weight_decay=self._weight_decay
        )

    def update(self, batch: Batch) -> Tensor:
        """Do one update, and return the logits `(B, K)` before it."""
        logits: Tensor = self._network(batch.pixels)
        self._optimizer.zero_grad()
        torch.autograd.backward(cross_entropy(logits, batch.labels))
        self._optimizer.step()
        return logits.detach()

    def weights(self) -> Tensor:
        """Return the weights `(P,)` in the order of `Module.parameters()`, in memory of their own."""
        return bridge.flatten(self._network)

    def network(self) -> nn.Module:
        """Return the network with these weights."""
        return self._network

    def classifier(self) -> Classifier | None:
        """Return None: the network knows what it remembers."""
        return None


def learners(
    started: Sequence[nn.Module],
    model: trajfmt.Model,
    *,
    momentum: float,
    weight_decay: float,
    engine: Literal["compiled", "eager"],
    shapes: Sequence[tuple[int, ...]] = (),
    notes: Notes | None = None,
) -> list[Learner]:
    """Return what trains these networks, which may learn at once.

    Args:
        started: Networks of one architecture, initialised.
        model: The architecture. What is compiled for it is kept for the next call.
        momentum: As `torch.optim.SGD` takes it.
        weight_decay: As `torch.optim.SGD` takes it.
        engine: How gradients are computed, where a network has no memory.
        shapes: Of the batches, `(B, C, H, W)`. They are compiled here, because compiling while another
            thread computes is not safe; for as many threads as torch is set to.
        notes: Called with one line where something could not be compiled or captured.
    """
    if not all(is_memoryless(network) for network in started):
        return [ModuleLearner(network, momentum=momentum, weight_decay=weight_decay) for network in started]
    shared = _compiled_for(started[0], model, shapes, notes) if engine == "compiled" and started else None
    if shared is None:  # an eager step swaps weights into its module: no two threads may share one
        ways: list[tuple[Step, Callable[..., object] | None]] = [
            (make_step(network, engine="eager"), None) for network in started
        ]
    else:
        ways = [shared] * len(started)
    return [
        FlatLearner(network, step, momentum=momentum, weight_decay=weight_decay, notes=notes, forward=forward)
        for network, (step, forward) in zip(started, ways, strict=True)
    ]


def is_memoryless(network: nn.Module) -> bool:
    """Return whether an output depends on weights and images alone, and every parameter is trained."""
    return (
        not any(True for _ in network.buffers())
        and not is_random(network)
        and all(value.requires_grad for value in network.parameters())
    )


def is_random(network: nn.Module) -> bool:
    """Return whether it has dropout, whose draws from global generators bar training several at once."""
    return any(isinstance(module, _DropoutNd) and module.p > 0 for module in network.modules())


@lru_cache(maxsize=8)
def _step(model: trajfmt.Model, _device: torch.device, _threads: int) -> tuple[Step, list[str]]:
    """Return a step that compiles, and what it could not compile; device and threads are part of its code."""
    said: list[str] = []
    network = networks.build(model, generator=generator(0))
    return make_step(network, engine="compiled", notes=said.append), said


@lru_cache(maxsize=8)
def _forward(
    model: trajfmt.Model, image: tuple[int, ...], _threads: int
) -> tuple[Callable[..., object] | None, list[str]]:
    """Return what gives logits of `BLOCK` images `(C, H, W)` on a CPU, or why it could not be compiled."""
    said: list[str] = []
    network = networks.build(model, generator=generator(0))
    functional, theta = Functional(network), bridge.flatten(network)
    network.eval()
    images = theta.new_zeros(BLOCK, *image).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        forward = compile_apart(
            functional.__call__, theta, images, notes=lambda line: said.append(f"in tests {line}")
        )
    return forward, said


def _logits(forward: Callable[..., object], theta: Tensor, pixels: Tensor) -> Tensor:
    """Return the logits `(B, K)` of at most `BLOCK` images at `theta` `(P,)`, in the module's order."""
    count = len(pixels)
    if count < BLOCK:
        pixels = torch.cat([pixels, pixels.new_zeros(BLOCK - count, *pixels.shape[1:])])
    found = forward(theta, pixels.contiguous(memory_format=torch.channels_last))
    return cast(Tensor, found)[:count]


def _compiled_for(
    network: nn.Module, model: trajfmt.Model, shapes: Sequence[tuple[int, ...]], notes: Notes | None
) -> tuple[Step, Callable[..., object] | None] | None:
    """Return step and forward pass after a first call with every shape, or None if there is no step."""
    flat, threads = bridge.flatten(network), torch.get_num_threads()
    step, said = _step(model, flat.device, threads)
    theta = step.pack(flat)
    for shape in shapes:
        if not said:
            pixels = theta.new_zeros(shape)
            step.gradient(theta, pixels, theta.new_full((shape[0], model.classes), 1 / model.classes))
    forward, untested = None, list[str]()
    # A test is a third of an evaluation on a CPU, and nothing on a GPU.
    if shapes and not said and type(network) is ConvNet and flat.device.type == "cpu":
        forward, untested = _forward(model, shapes[0][1:], threads)
    for line in (said or untested)[:1]:
        if notes is not None:
            notes(line)
    return None if said else (step, forward)

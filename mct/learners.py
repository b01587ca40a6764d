"""Networks that learn batch by batch with SGD: on one flat vector of weights, or as modules.

A network without memory is a vector of weights and a step, and its update one pass over the vector; on a
GPU the whole update becomes one CUDA graph. A network with buffers, such as the running statistics of
batch norm, or with dropout, stays a module. Both do what `torch.optim.SGD` does, by calling it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.dropout import _DropoutNd

import trajfmt
from mct import networks
from mct.architectures.convnet import ConvNet
from mct.feed import Batch
from mct.functional import Functional
from mct.seeds import generator
from mct.steps import Notes, Step, make_step
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
        forward: "_Forward | None",
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
                    reason = (str(exc).strip() or type(exc).__name__).splitlines()[0]
                    self._notes(f"updates run without a CUDA graph, which could not be captured: {reason}")
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
        return None if self._forward is None else partial(self._forward, self.weights())


class _Forward:
    """The forward pass of a network without memory, in evaluation mode, compiled for blocks of one size.

    Args:
        network: Only its names and shapes are used.
    """

    def __init__(self, network: nn.Module) -> None:
        self._functional = Functional(network)
        network.eval()
        self._compiled = torch.compile(self._logits, fullgraph=True, dynamic=False)

    def _logits(self, theta: Tensor, pixels: Tensor) -> Tensor:
        return self._functional(theta, pixels)

    def __call__(self, theta: Tensor, pixels: Tensor) -> Tensor:
        """Return the logits `(B, K)` of at most `BLOCK` images at `theta` `(P,)`, in the module's order."""
        count = len(pixels)
        if count < BLOCK:
            pixels = torch.cat([pixels, pixels.new_zeros(BLOCK - count, *pixels.shape[1:])])
        found: Tensor = self._compiled(theta, pixels.contiguous(memory_format=torch.channels_last))
        return found[:count]


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
        ways: list[tuple[Step, _Forward | None]] = [
            (make_step(network, engine="eager"), None) for network in started
        ]
    else:
        ways = [shared] * len(started)
    return [
        FlatLearner(network, step, momentum=momentum, weight_decay=weight_decay, notes=notes, forward=forward)
        for network, (step, forward) in zip(started, ways, strict=True)
    ]


def may_share(
    network: nn.Module,
    engine: Literal["compiled", "eager"],
    shapes: Sequence[tuple[int, ...]],
    device: torch.device,
) -> bool:
    """Return whether several such networks may be trained at once.

    Not with dropout, whose draws come from one global generator. Nor, in threads, compiled for batches of
    two sizes: torch looks compiled code up in a list that it sorts by last use, and two threads that sort
    it make each other miss an entry, which is then compiled once more.
    """
    compiled = engine == "compiled" and is_memoryless(network)
    return not is_random(network) and not (compiled and len(shapes) > 1 and device.type == "cpu")


def is_memoryless(network: nn.Module) -> bool:
    """Return whether an output depends on weights and images alone, and every parameter is trained."""
    return (
        not any(True for _ in network.buffers())
        and not is_random(network)
        and all(value.requires_grad for value in network.parameters())
    )


def is_random(network: nn.Module) -> bool:
    """Return whether the network has dropout, which draws from torch's global generators."""
    return any(isinstance(module, _DropoutNd) and module.p > 0 for module in network.modules())


@dataclass(frozen=True, slots=True)
class _Compiled:
    """What is compiled for one architecture, device and number of threads: all are part of the code."""

    step: Step
    forward: _Forward | None
    said: list[str]
    """What could not be compiled."""


@lru_cache(maxsize=8)
def _compiled(model: trajfmt.Model, device: torch.device, _threads: int) -> _Compiled:
    said: list[str] = []
    network, tested = (networks.build(model, generator=generator(0)) for _ in range(2))
    # A test is a third of an evaluation on a CPU, and nothing on a GPU.
    forward = _Forward(tested) if type(tested) is ConvNet and device.type == "cpu" else None
    return _Compiled(make_step(network, engine="compiled", notes=said.append), forward, said)


def _compiled_for(
    network: nn.Module, model: trajfmt.Model, shapes: Sequence[tuple[int, ...]], notes: Notes | None
) -> tuple[Step, _Forward | None] | None:
    """Return step and forward pass after a first call with every shape, or None if there is no step."""
    flat = bridge.flatten(network)
    found = _compiled(model, flat.device, torch.get_num_threads())
    theta, forward = found.step.pack(flat), found.forward
    for shape in shapes:
        if not found.said:
            pixels = theta.new_zeros(shape)
            found.step.gradient(theta, pixels, theta.new_full((shape[0], model.classes), 1 / model.classes))
    if not found.said and forward is not None and shapes:
        with torch.no_grad(), torch._dynamo.config.patch(recompile_limit=1024):
            forward(flat, flat.new_zeros((BLOCK, *shapes[0][1:])))
    if found.said and notes is not None:
        notes(found.said[0])
    return None if found.said else (found.step, forward if shapes else None)

"""Networks that learn batch by batch: on one flat vector of weights, or as modules (`modules`).

A network without memory is a vector of weights and a program, and its update one pass over the vector; on
a GPU the whole update becomes one CUDA graph. A network with buffers, such as the running statistics of
batch norm, or with dropout, stays a module. Both do what `torch.optim.SGD` or `torch.optim.Adam` does, by
calling it, with the gradient or with the direction of `Sharpness`.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal, Protocol, TypedDict

from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

import trajfmt
from mct.errors import first_line
from mct.inner.steps.step import Notes
from mct.runtime.capture import GraphRecorder, Recorder
from mct.training.compiled import Program, programs
from mct.training.loader import Batch
from mct.training.modules import ModuleLearner, momentum_of, optimizer_of
from mct.training.sharpness import Sharpness
from mct.training.testing import Classifier
from trajfmt import torch as bridge

_PLAIN = 3
"""Updates of a shape before its graph is captured: kernels and workspaces are chosen in the first ones."""


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

    def state(self) -> dict[str, Tensor]:
        """Return what the next update depends on besides the batch and the step size, by name."""
        ...

    def restore(self, state: Mapping[str, Tensor], rate: float, /) -> None:
        """Go on from what `state` has returned, with this step size, before any update."""
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
        program: Of this architecture; one that several learners share must be safe to call at once.
        momentum: As `torch.optim.SGD` takes it.
        weight_decay: As `torch.optim.SGD` takes it.
        sharpness: How updates are made sharpness-aware; None: they are plain.
        betas: Decays of Adam, which then replaces SGD and its momentum; None: SGD.
        notes: Called with one line where a CUDA graph could not be captured.
        recorder: What captures updates; None: CUDA graphs on a GPU, and elsewhere nothing is captured.
    """

    def __init__(
        self,
        network: nn.Module,
        program: Program,
        *,
        momentum: float,
        weight_decay: float,
        sharpness: Sharpness | None = None,
        betas: tuple[float, float] | None = None,
        notes: Notes | None,
        recorder: Recorder | None = None,
    ) -> None:
        self._network, self._program, self._step = network, program, program.step
        self._momentum, self._weight_decay, self._notes = momentum, weight_decay, notes
        self._sharpness, self._betas = sharpness, betas
        self._theta = self._step.pack(bridge.flatten(network))
        self._graphs: dict[int, _Graph] = {}
        self._seen: dict[int, int] = {}
        self._recorder = recorder or (GraphRecorder() if self._theta.is_cuda else None)

    def begin(self, rate: float) -> None:
        """Go on with this step size and without momentum."""
        self._optimizer = optimizer_of(
            [self._theta],
            rate,
            momentum=self._momentum,
            weight_decay=self._weight_decay,
            betas=self._betas,
            on_gpu=self._theta.is_cuda,
        )
        self._graphs.clear()  # the step size is part of them
        self._seen.clear()

    def update(self, batch: Batch) -> Tensor:
        """Do one update, and return the logits `(B, K)` before it, which the next one may overwrite."""
        size = len(batch.targets)
        if size in self._graphs:
            return self._graphs[size].replay(batch)
        self._seen[size] = self._seen.get(size, 0) + 1
        if self._recorder is not None and self._seen[size] > _PLAIN:
            try:
                self._graphs[size] = _Graph(self._update, batch, self._recorder)
            except RuntimeError as exc:
                self._recorder = None
                if self._notes is not None:
                    self._notes(
                        f"updates run without a CUDA graph, which could not be captured: {first_line(exc)}"
                    )
            else:
                return self._graphs[size].replay(batch)
        return self._update(batch.pixels, batch.targets)

    def _update(self, pixels: Tensor, targets: Tensor) -> Tensor:
        step = self._program.step_for(len(targets))
        gradient, logits = step.gradient(self._theta, pixels, targets)
        if self._sharpness is not None:
            there = self._sharpness.ascent(self._theta, gradient)
            gradient = self._sharpness.direction(gradient, step.gradient(there, pixels, targets)[0])
        self._theta.grad = gradient
        self._optimizer.step()
        return logits

    def weights(self) -> Tensor:
        """Return the weights `(P,)` in the order of `Module.parameters()`, in memory of their own."""
        found = self._step.unpack(self._theta)
        return found.clone() if found is self._theta else found

    def state(self) -> dict[str, Tensor]:
        """Return the weights `(P,)`, and the momentum `(P,)` if there is one, in the module's order."""
        found, momentum = {"weights": self.weights()}, momentum_of(self._optimizer, self._theta)
        return found if momentum is None else found | {"momentum": self._step.unpack(momentum)}

    def restore(self, state: Mapping[str, Tensor], rate: float) -> None:
        """Go on from what `state` has returned, with this step size, before any update."""
        device = self._theta.device
        self._theta.copy_(self._step.pack(state["weights"].to(device)))
        self.begin(rate)
        if "momentum" in state:
            packed = self._step.pack(state["momentum"].to(device))
            self._optimizer.state[self._theta]["momentum_buffer"] = packed.clone()

    def network(self) -> nn.Module:
        """Return the network with these weights."""
        nn.utils.vector_to_parameters(self.weights(), self._network.parameters())
        return self._network

    def classifier(self) -> Classifier | None:
        """Return the compiled forward pass at these weights, if there is one."""
        forward = self._program.forward
        return None if forward is None else partial(forward, self.weights())


class _Graph:
    """One update as recorded work; recording it does nothing to the weights."""

    def __init__(self, update: "_Update", batch: Batch, recorder: Recorder) -> None:
        self._pixels, self._targets = batch.pixels.clone(), batch.targets.clone()
        self._logits, self._graph = recorder.record(lambda: update(self._pixels, self._targets))

    def replay(self, batch: Batch) -> Tensor:
        """Do the update with another batch of the same size."""
        self._pixels.copy_(batch.pixels)
        self._targets.copy_(batch.targets)
        self._graph.replay()
        return self._logits


class _Update(Protocol):
    def __call__(self, pixels: Tensor, targets: Tensor, /) -> Tensor: ...


def learners(
    started: Sequence[nn.Module],
    model: trajfmt.Model,
    *,
    momentum: float,
    weight_decay: float,
    engine: Literal["compiled", "eager"],
    sharpness: Sharpness | None = None,
    betas: tuple[float, float] | None = None,
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
        sharpness: How updates are made sharpness-aware; None: they are plain.
        betas: Decays of Adam, which then replaces SGD and its momentum; None: SGD.
        shapes: Of most batches, `(B, C, H, W)`. Code is compiled for them here, because compiling while
            another thread computes is not safe; for as many threads as torch is set to. Batches of other
            shapes are computed uncompiled.
        notes: Called with one line where something could not be compiled or captured.
    """
    rule: _Rule = {
        "momentum": momentum,
        "weight_decay": weight_decay,
        "sharpness": sharpness,
        "betas": betas,
    }
    if not all(is_memoryless(network) for network in started):
        return [ModuleLearner(network, **rule) for network in started]
    ways = programs(started, model, engine=engine, shapes=shapes, notes=notes)
    return [
        FlatLearner(network, program, notes=notes, **rule)
        for network, program in zip(started, ways, strict=True)
    ]


class _Rule(TypedDict):
    """What an update is, for both kinds of learners."""

    momentum: float
    weight_decay: float
    sharpness: Sharpness | None
    betas: tuple[float, float] | None


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

"""What learners compute with: the inner step of their architecture, and a forward pass for tests.

Code is compiled once for each model, device and number of threads, before anything trains, and is shared by
all learners, also in later calls. Uncompiled, every learner has a step of its own. So has it for batches of
rare shapes: with a curriculum, nearly every epoch ends with a batch of another size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Literal, cast

import torch
from torch import Tensor, nn

import trajfmt
from mct.inner.steps.compiled import compile_apart
from mct.inner.steps.step import InnerStep, Notes
from mct.inner.steps.table import compiled_for, make_step, uncompiled
from mct.models import networks
from mct.models.functional import Functional
from mct.runtime.seeds import generator
from mct.training.testing import BLOCK
from trajfmt import torch as bridge

Forward = Callable[[Tensor, Tensor], Tensor]
"""From weights `(P,)` in the module's order and at most `BLOCK` images `(B, C, H, W)` to logits `(B, K)`."""


@dataclass(frozen=True, slots=True)
class Program:
    """Functions that compute the updates and the tests of a network."""

    step: InnerStep
    """Computes the gradients; it may be shared by threads if it is compiled."""

    forward: Forward | None = None
    """Computes logits in evaluation mode faster than the network does; None if nothing does."""

    sizes: frozenset[int] = frozenset()
    """Numbers of images of the batches for which `step` is compiled."""

    rare: InnerStep | None = None
    """Computes the gradients of all other batches, in the same packed order; None: `step` does."""

    def step_for(self, size: int) -> InnerStep:
        """Return what computes the gradients of batches of `size` images."""
        return self.step if self.rare is None or size in self.sizes else self.rare


def programs(
    started: Sequence[nn.Module],
    model: trajfmt.Model,
    *,
    engine: Literal["compiled", "eager"],
    shapes: Sequence[tuple[int, ...]],
    notes: Notes | None,
) -> list[Program]:
    """Return a program for each of these networks, which may run at once.

    Args:
        started: Networks of one architecture without memory, on their device.
        model: The architecture.
        engine: How gradients are computed.
        shapes: Shapes `(B, C, H, W)` of the batches that code is compiled for. This is done here, because no
            other thread computes yet. Without shapes, nothing is compiled.
        notes: Called with one line if something could not be compiled.
    """
    worth = engine == "compiled" and started and shapes
    shared = _compiled(started[0], model, shapes, notes) if worth else None
    if shared is None:  # an eager step swaps weights into its module: no two threads may share one
        return [Program(make_step(network, engine="eager")) for network in started]
    sizes = frozenset(shape[0] for shape in shapes)
    return [replace(shared, sizes=sizes, rare=uncompiled(network)) for network in started]


def _compiled(
    network: nn.Module, model: trajfmt.Model, shapes: Sequence[tuple[int, ...]], notes: Notes | None
) -> Program | None:
    """Return the program, compiled for all shapes; None if the step could not be compiled."""
    flat, threads = bridge.flatten(network), torch.get_num_threads()
    step, said = _step(model, flat.device, threads)
    theta = step.pack(flat)
    for shape in shapes:
        if not said:
            pixels = theta.new_zeros(shape)
            step.gradient(theta, pixels, theta.new_full((shape[0], model.classes), 1 / model.classes))
    forward, untested = None, list[str]()
    # Tests take a third of an evaluation on a CPU, and almost no time on a GPU.
    on_cpu = flat.device.type == "cpu"
    if shapes and not said and on_cpu and compiled_for(type(network)).faster_on_cpu:
        forward, untested = _forward(model, shapes[0][1:], threads)
    for line in (said or untested)[:1]:
        if notes is not None:
            notes(line)
    return None if said else Program(step, forward)


@lru_cache(maxsize=8)
def _step(model: trajfmt.Model, _device: torch.device, _threads: int) -> tuple[InnerStep, list[str]]:
    """Return a step that compiles, and lines about what it could not compile.

    Device and number of threads are part of the compiled code, hence of the arguments.
    """
    said: list[str] = []
    network = networks.build(model, generator=generator(0))
    return make_step(network, engine="compiled", notes=said.append), said


@lru_cache(maxsize=8)
def _forward(model: trajfmt.Model, image: tuple[int, ...], _threads: int) -> tuple[Forward | None, list[str]]:
    """Return a compiled forward pass for images `(C, H, W)` on a CPU, or None and why there is none."""
    said: list[str] = []
    network = networks.build(model, generator=generator(0))
    functional, theta = Functional(network), bridge.flatten(network)
    network.eval()
    layout = compiled_for(type(network)).memory_format
    images = theta.new_zeros(BLOCK, *image).contiguous(memory_format=layout)
    with torch.no_grad():
        block = compile_apart(
            functional.__call__, theta, images, notes=lambda line: said.append(f"in tests {line}")
        )
    return None if block is None else partial(_logits, block, layout), said


def _logits(
    block: Callable[..., object], layout: torch.memory_format, theta: Tensor, pixels: Tensor
) -> Tensor:
    """Return the logits `(B, K)` of at most `BLOCK` images, by a function of exactly `BLOCK` images."""
    count = len(pixels)
    if count < BLOCK:
        pixels = torch.cat([pixels, pixels.new_zeros(BLOCK - count, *pixels.shape[1:])])
    found = block(theta, pixels.contiguous(memory_format=layout))
    return cast(Tensor, found)[:count]

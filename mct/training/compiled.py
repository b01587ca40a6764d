"""What learners compute with: the step of their architecture, and a forward pass for tests.

What is compiled is compiled once for a model, a device and a number of threads, before anything trains, and
shared by all learners, those of later calls included. Uncompiled every learner has a step of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal, cast

import torch
from torch import Tensor, nn

import trajfmt
from mct.inner.steps.compiled import compile_apart
from mct.inner.steps.step import InnerStep, Notes
from mct.inner.steps.table import make_step
from mct.models import networks
from mct.models.architectures.convnet import ConvNet
from mct.models.functional import Functional
from mct.runtime.seeds import generator
from mct.training.testing import BLOCK
from trajfmt import torch as bridge

Forward = Callable[[Tensor, Tensor], Tensor]
"""From weights `(P,)` in the module's order and at most `BLOCK` images `(B, C, H, W)` to logits `(B, K)`."""


@dataclass(frozen=True, slots=True)
class Program:
    """How the updates and the tests of a network are computed."""

    step: InnerStep
    """Gives the gradients; may be shared where it is compiled."""

    forward: Forward | None = None
    """Gives logits in evaluation mode faster than the network does, where there is such a thing."""


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
        shapes: Of the batches, `(B, C, H, W)`: what is compiled here, and not while another thread computes.
        notes: Called with one line where something could not be compiled.
    """
    shared = _compiled(started[0], model, shapes, notes) if engine == "compiled" and started else None
    if shared is None:  # an eager step swaps weights into its module: no two threads may share one
        return [Program(make_step(network, engine="eager")) for network in started]
    return [shared] * len(started)


def _compiled(
    network: nn.Module, model: trajfmt.Model, shapes: Sequence[tuple[int, ...]], notes: Notes | None
) -> Program | None:
    """Return the compiled program after a first call with every shape, or None if there is no step."""
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
    return None if said else Program(step, forward)


@lru_cache(maxsize=8)
def _step(model: trajfmt.Model, _device: torch.device, _threads: int) -> tuple[InnerStep, list[str]]:
    """Return a step that compiles, and what it could not compile; device and threads are part of its code."""
    said: list[str] = []
    network = networks.build(model, generator=generator(0))
    return make_step(network, engine="compiled", notes=said.append), said


@lru_cache(maxsize=8)
def _forward(model: trajfmt.Model, image: tuple[int, ...], _threads: int) -> tuple[Forward | None, list[str]]:
    """Return what tests images `(C, H, W)` on a CPU, or why it could not be compiled."""
    said: list[str] = []
    network = networks.build(model, generator=generator(0))
    functional, theta = Functional(network), bridge.flatten(network)
    network.eval()
    images = theta.new_zeros(BLOCK, *image).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        block = compile_apart(
            functional.__call__, theta, images, notes=lambda line: said.append(f"in tests {line}")
        )
    return None if block is None else partial(_logits, block), said


def _logits(block: Callable[..., object], theta: Tensor, pixels: Tensor) -> Tensor:
    """Return the logits `(B, K)` of at most `BLOCK` images by what takes exactly so many."""
    count = len(pixels)
    if count < BLOCK:
        pixels = torch.cat([pixels, pixels.new_zeros(BLOCK - count, *pixels.shape[1:])])
    found = block(theta, pixels.contiguous(memory_format=torch.channels_last))
    return cast(Tensor, found)[:count]

"""How inner steps are computed: a table from the class of a network to its compiled step.

A network that is not in the table is differentiated by autograd, or compiled as a closed function of
`torch.func`. A family with a compiled step of its own has one module beside this one, and a row in
`COMPILED`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import nn

import trajfmt
from mct.inner.steps.autograd import AutogradStep
from mct.inner.steps.closed import ClosedStep
from mct.inner.steps.compiled import CompiledStep
from mct.inner.steps.convnet import ConvNetStep
from mct.inner.steps.step import InnerStep, Notes
from mct.models import networks
from mct.models.architectures.convnet import ConvNet
from mct.settings.config import Engine

WORTH_COMPILING = 5_000
"""Number of updates from which compiling, which takes 10 to 60 seconds for each shape, saves time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """How the inner steps of one family of networks are compiled."""

    closed: Callable[[Any], InnerStep]
    """Makes the step to compile from a network; no autograd graph goes in or out of its functions."""

    fallback: Callable[[nn.Module], InnerStep] | None = None
    """Makes the step that is used if compiling fails. It must have the packed order of `closed`. None: the
    closed step itself, uncompiled."""

    memory_format: torch.memory_format = torch.contiguous_format
    """In which the compiled functions take images."""

    faster_on_cpu: bool = False
    """Whether compiling makes steps, and forward passes of tests, faster on a CPU, as on every GPU."""


COMPILED: Final[Mapping[type[nn.Module], Compiled]] = {
    ConvNet: Compiled(closed=ConvNetStep, memory_format=torch.channels_last, faster_on_cpu=True),
}
"""Class of a network to its compiled step; subclasses are not included."""

GENERIC: Final = Compiled(closed=ClosedStep, fallback=AutogradStep)
"""For networks of every other class."""


def compiled_for(network: type[nn.Module] | None) -> Compiled:
    """Return how the steps of networks of a class are compiled; None stands for an unknown class."""
    return GENERIC if network is None else COMPILED.get(network, GENERIC)


def make_step(network: nn.Module, *, engine: Engine = "eager", notes: Notes | None = None) -> InnerStep:
    """Return the inner step of a network.

    Args:
        network: Any module; its own parameters are not used, only their names and shapes.
        engine: `eager` or `compiled`.
        notes: Called with one line if something could not be compiled; None: nobody is told.
    """
    if engine != "compiled":
        return AutogradStep(network)
    how = compiled_for(type(network))
    closed = how.closed(network)
    return CompiledStep(
        closed,
        closed if how.fallback is None else uncompiled(network),
        notes=notes or list[str]().append,
        memory_format=how.memory_format,
    )


def uncompiled(network: nn.Module) -> InnerStep:
    """Return the uncompiled step of a network that has the packed order of the compiled one."""
    how = compiled_for(type(network))
    return (how.fallback or how.closed)(network)


def choose(
    engine: Engine, updates: int, model: trajfmt.Model, device: str | torch.device = "cpu"
) -> Literal["compiled", "eager"]:
    """Settle `auto`: compile for `WORTH_COMPILING` updates or more, if compiled steps are faster there.

    On a CPU they are for the ConvNet only (docs/decisions/0010-closed-steps.md).

    Args:
        engine: The setting.
        updates: Number of updates in the whole run.
        model: The network that is trained.
        device: Where it is trained.

    Example:
        >>> convnet = trajfmt.Model(family="ConvNet", depth=3, width=128, channels=3, classes=10)
        >>> choose("auto", 5000 * 60, convnet), choose("auto", 200 * 20, convnet)
        ('compiled', 'eager')
    """
    if engine != "auto":
        return engine
    on_gpu = torch.device(device).type == "cuda"
    faster = on_gpu or compiled_for(networks.class_of(model)).faster_on_cpu
    return "compiled" if faster and updates >= WORTH_COMPILING else "eager"

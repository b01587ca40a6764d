"""The choice of an inner step for a network: by autograd, or compiled."""

from torch import nn

from mct.inner.steps.autograd import AutogradStep
from mct.inner.steps.closed import ClosedStep
from mct.inner.steps.compiled import CompiledStep
from mct.inner.steps.convnet import ConvNetStep
from mct.inner.steps.step import InnerStep, Kept, Notes, choose
from mct.models.architectures.convnet import ConvNet
from mct.settings.config import Engine

__all__ = ["InnerStep", "Kept", "Notes", "choose", "make_step"]


def make_step(network: nn.Module, *, engine: Engine = "eager", notes: Notes | None = None) -> InnerStep:
    """Return the steps of a network.

    Args:
        network: Any module; its own parameters are not used, only their names and shapes.
        engine: `eager` or `compiled`.
        notes: Called with one line where something could not be compiled; None: nobody is told.
    """
    if engine != "compiled":
        return AutogradStep(network)
    notes = notes or list[str]().append
    if type(network) is ConvNet:
        own = ConvNetStep(network)
        return CompiledStep(own, own, notes=notes, channels_last=True)
    return CompiledStep(ClosedStep(network), AutogradStep(network), notes=notes, channels_last=False)

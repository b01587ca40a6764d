"""Inner steps whose closed functions are compiled, once for every shape of a batch."""

import warnings
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import cast

import torch
from torch import Tensor

from mct.inner.steps.step import InnerStep, Kept, Notes, Products
from mct.runtime.memory import is_exhausted
from mct.runtime.phases import phase

_Key = tuple[str, tuple[int, ...], torch.dtype, tuple[int, ...], int]
"""Name of the function, shape and dtype of the images, whatever else its code depends on (number of kept
tensors, whether labels are learned), and threads of a CPU."""


class CompiledStep:
    """Compiles the functions of another step when they are first called with a shape.

    torch keeps compiled code on disk (`TORCHINDUCTOR_CACHE_DIR`), so that the next process with the same
    shapes starts in seconds. If a function cannot be compiled, `fallback` is used from then on.

    Args:
        closed: The step to compile. Its functions are closed: no autograd graph goes in or out.
        fallback: The step to use if compiling fails; its packed order must be that of `closed`.
        notes: Called with one line when the fallback is taken.
        memory_format: In which `closed` takes images.
    """

    def __init__(
        self,
        closed: InnerStep,
        fallback: InnerStep,
        *,
        notes: Notes,
        memory_format: torch.memory_format,
    ) -> None:
        self._closed, self._fallback, self._notes = closed, fallback, notes
        self._memory_format = memory_format
        self._compiled: dict[_Key, Callable[..., object]] = {}
        self._failed = False

    @property
    def separable(self) -> bool:
        """Whether the loss is a sum over images."""
        return self._closed.separable

    def pack(self, theta: Tensor) -> Tensor:
        """Return a vector `(P,)`, given in the order of `Module.parameters()`, in packed order."""
        return self._closed.pack(theta)

    def unpack(self, theta: Tensor) -> Tensor:
        """Return a vector `(P,)`, given in packed order, in the order of `Module.parameters()`."""
        return self._closed.unpack(theta)

    def gradient(self, theta: Tensor, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient `(P,)` of the loss in theta, and the logits `(B, K)`."""
        found = self._call("gradient", pixels, (), theta, self._laid(pixels), targets)
        return cast(tuple[Tensor, Tensor], found)

    def keep(self, theta: Tensor, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Kept]:
        """Return the gradient `(P,)`, and tensors that make `vjp_hvp` cheaper at the same point."""
        return cast(tuple[Tensor, Kept], self._call("keep", pixels, (), theta, self._laid(pixels), targets))

    def vjp_hvp(
        self,
        theta: Tensor,
        v: Tensor,
        pixels: Tensor,
        targets: Tensor,
        kept: Kept = (),
        labels: bool = False,
    ) -> Products:
        """Return <g, v>, H v, and the derivatives of <g, v> in pixels and targets; see `InnerStep`."""
        given = (theta, v, self._laid(pixels), targets, kept, labels)
        return cast(Products, self._call("vjp_hvp", pixels, (len(kept), labels), *given))

    def _laid(self, pixels: Tensor) -> Tensor:
        return pixels.contiguous(memory_format=self._memory_format)

    def _call(self, name: str, pixels: Tensor, form: tuple[int, ...], *given: object) -> object:
        """Call the compiled function, or that of the fallback once a compilation has failed."""
        key = (name, tuple(pixels.shape), pixels.dtype, form, torch.get_num_threads())
        if not self._failed and key not in self._compiled:
            function = compile_apart(getattr(self._closed, name), *given, notes=self._notes)
            if function is None:
                self._failed = True
            else:
                self._compiled[key] = function
        method = getattr(self._fallback, name) if self._failed else self._compiled[key]
        found: object = method(*given)
        return found


def compile_apart(
    method: Callable[..., object], *given: object, notes: Notes
) -> Callable[..., object] | None:
    """Compile a method for the shapes of some arguments, by a first call with them, and return it.

    torch stores compiled code by code object, and searches all of it in every call, where threads with
    different shapes would interfere with one another. The method is therefore compiled from a copy of its
    code object, which stores the code for these shapes alone.

    Args:
        method: A closed function: no autograd graph goes in or out.
        given: Arguments of the shapes to compile for.
        notes: Called with one line if the method could not be compiled; the result is then None.
    """
    assert isinstance(method, MethodType)
    function = method.__func__
    assert isinstance(function, FunctionType)
    code = function.__code__.replace()
    copy = FunctionType(code, function.__globals__, function.__name__, function.__defaults__)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's about itself
            # Not `fullgraph`, whose check torch 2.13 gets wrong where threads call at once (pytorch#185138).
            compiled: Callable[..., object] = torch.compile(MethodType(copy, method.__self__), dynamic=False)
            with torch._dynamo.error_on_graph_break(True), phase("compiling the network"):
                compiled(*given)
    except Exception as exc:  # The compiler may raise anything. If the fault is ours, the fallback shows it.
        if is_exhausted(exc):
            raise
        reason = " ".join(str(exc).split()) or type(exc).__name__
        notes(f"the network could not be compiled and runs uncompiled: {reason:.200}")
        return None
    return compiled

"""The bridge to torch: trajectories as tensors or as other code's buffers, recording a module in training."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from trajfmt.bundle.create import append, create
from trajfmt.errors import UsageError
from trajfmt.schema.layout import Grouping, ParamLayout
from trajfmt.schema.provenance import Provenance
from trajfmt.serve.buffer import LazyTrajectory, load, load_buffer, tensor_of
from trajfmt.storage.address import local
from trajfmt.trajectory.recorder import PathRecorder

__all__ = ["LazyTrajectory", "Recorder", "flatten", "from_readonly", "layout_of", "load", "load_buffer"]


def from_readonly(array: NDArray[np.generic]) -> torch.Tensor:
    """Return a tensor that shares the memory of a read-only array, such as a mapped knot.

    The tensor must not be written to: its memory is a file's, mapped read-only, and a write would end
    the process. Its storage has exactly the array's size, so saving it saves nothing else.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return tensor_of(array)


def flatten(module: torch.nn.Module) -> torch.Tensor:
    """Return a fresh `(P,)` copy of a module's parameters, in the order of `Module.parameters()`."""
    return torch.cat([value.detach().reshape(-1) for value in module.parameters()])


def layout_of(module: torch.nn.Module, *, layers: Grouping = "tensor") -> ParamLayout:
    """Return the layout of a module's parameters.

    Raises:
        UsageError: a parameter is not float32; the format has one dtype per bundle.
    """
    named = [(name, tuple(value.shape)) for name, value in module.named_parameters()]
    odd = [name for name, value in module.named_parameters() if value.dtype != torch.float32]
    if odd:
        raise UsageError(f"parameters must be float32 to be recorded, `{odd[0]}` is not")
    return ParamLayout.of(named, layers=layers)


class Recorder:
    """Records a module's way through training as one convexified trajectory of a `.mct`.

    The module's weights are timestep 0; each `step` is the next. Memory: the knots and one copy of the
    weights, on the CPU; no waypoint is kept (the paper's remark under eq. 9). The trajectory equals what
    `traj convert` makes of the same training saved timestep by timestep.

    As a context manager it saves on a clean exit, and nothing otherwise.

    Args:
        module: what is trained; it may live on any device.
        path: a `.mct`: created, or extended by one trajectory.
        knots: waypoints to keep between the endpoints, as timesteps.
        smooth: average them and the last timestep with their neighbours (the MCT authors' code).
        every: make a timestep of every so many calls of `step`.
        provenance: what is known about the training; used where the bundle is created.

    Example:
        >>> import torch, trajfmt
        >>> from trajfmt.torch import Recorder
        >>> net, x = torch.nn.Linear(2, 1), torch.ones(4, 2)
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> with Recorder(net, "expert.mct") as recorder:
        ...     for _ in range(5):
        ...         optimizer.zero_grad()
        ...         net(x).square().mean().backward()
        ...         optimizer.step()
        ...         recorder.step()
        >>> trajfmt.open("expert.mct")[0].last
        5
    """

    def __init__(
        self,
        module: torch.nn.Module,
        path: str | os.PathLike[str],
        *,
        knots: Sequence[int] = (),
        smooth: bool = False,
        every: int = 1,
        provenance: Provenance | None = None,
    ) -> None:
        if every < 1:
            raise UsageError(f"`every` must be >= 1, got {every}")
        self.path = local(path)
        if self.path.suffix != ".mct":
            raise UsageError(f"{self.path}: a recorder writes convexified trajectories; end it in .mct")
        self._module = module
        self._every = every
        self._calls = 0
        self._knots, self._smooth = tuple(knots), smooth
        self._provenance = provenance
        self._layout = layout_of(module)
        self._recorder = PathRecorder(self._layout, knots=knots, smooth=smooth)
        self._take()

    def step(self) -> None:
        """Take the module's weights as the next timestep, or as the `every`-th call.

        Raises:
            SourceError: a weight is not finite; the message names timestep and parameter.
        """
        self._calls += 1
        if self._calls % self._every == 0:
            self._take()

    def _take(self) -> None:
        self._recorder.add(flatten(self._module).cpu().numpy())

    def save(self) -> int:
        """Write the trajectory, and return its number in the bundle.

        Raises:
            SourceError: fewer than two timesteps, the weights never moved, or the same trajectory is there.
            UsageError: the existing bundle is one of another network, or with other knots.
        """
        recorded = self._recorder.finish()
        if not os.path.lexists(self.path):
            with create(
                self.path,
                self._layout,
                encoding="convex",
                provenance=self._provenance,
                knots=self._knots,
                smooth=self._smooth,
            ) as bundle:
                return bundle.add(recorded)
        with append(self.path) as bundle:
            if bundle.layout.parameters != self._layout.parameters:
                raise UsageError(f"{self.path}: holds another network; choose another file")
            return bundle.add(recorded)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.save()

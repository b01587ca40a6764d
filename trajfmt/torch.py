"""PyTorch integration: record a module during training, and read bundles as tensors or MTT replay buffers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from trajfmt.bundle.recording import Destination
from trajfmt.errors import SourceError, UsageError, counted
from trajfmt.schema.arguments import whole
from trajfmt.schema.layout import Grouping, Parameter, ParamLayout
from trajfmt.schema.provenance import Provenance
from trajfmt.serve.buffer import LazyTrajectory, load, load_buffer, tensor_of
from trajfmt.storage.safetensors import NAMES, NUMPY
from trajfmt.trajectory.recorder import PathRecorder

__all__ = ["LazyTrajectory", "Recorder", "flatten", "from_readonly", "layout_of", "load", "load_buffer"]

_TYPES: Final = {"float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64"}
"""Names of types in parameter layouts, by their names in torch."""


def from_readonly(array: NDArray[np.generic]) -> torch.Tensor:
    """Return a tensor that shares the memory of a read-only array, such as a memory-mapped knot.

    Never write to the tensor. Its memory is a read-only mapping of a file, and a write would crash the
    process. The storage has exactly the size of the array, so `torch.save` writes nothing else.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return tensor_of(array)


def flatten(module: torch.nn.Module, layout: ParamLayout | None = None) -> torch.Tensor:
    """Return a new weight vector `(P,)` with a module's parameters.

    Args:
        module: the network.
        layout: the parameters that the module must have, which are returned in this order. By default they
            are those that it has, in the order of `Module.parameters()`. The order of a module changes when a
            parameter is registered again, as when pruning is made permanent.

    Raises:
        SourceError: the module has other parameters than `layout`. The message names the first one.
    """
    named: dict[str, torch.Tensor] = dict(module.named_parameters())
    if layout is None:
        chosen = list(named.values())
    else:
        chosen = [_fitting(named.pop(known.name, None), known) for known in layout.parameters]
        if named:
            name, value = next(iter(named.items()))
            raise _other_network(name, "absent", _described(value))
    return torch.cat([value.detach().reshape(-1) for value in chosen])


def _fitting(value: torch.Tensor | None, known: Parameter) -> torch.Tensor:
    """Return the value of a parameter.

    Raises:
        SourceError: it is absent, or has another shape or type.
    """
    expected = f"{known.shape} {known.dtype}"
    if value is None or (found := _described(value)) != expected:
        raise _other_network(known.name, expected, "none" if value is None else found)
    return value


def _described(value: torch.Tensor) -> str:
    kind = str(value.dtype).removeprefix("torch.")
    return f"{tuple(value.shape)} {_TYPES.get(kind, kind)}"


def _other_network(name: str, expected: str, found: str, what: str = "parameter") -> SourceError:
    return SourceError(
        "mixed_architectures",
        f"the network has changed: its {what} `{name}` must be {expected}, got {found}; all timesteps of a"
        f" trajectory have the same {what}s, so record the changed network with a new recorder",
    )


def layout_of(module: torch.nn.Module, *, layers: Grouping = "tensor") -> ParamLayout:
    """Return the parameter layout of a module.

    Args:
        module: the network.
        layers: which parameters share one beta.

    Raises:
        UsageError: a parameter is not float32, or FSDP has split the parameters over processes.
    """
    split = any(hasattr(value, "device_mesh") for value in module.parameters())
    if split or any(type(part).__name__ == "FullyShardedDataParallel" for part in module.modules()):
        raise UsageError(
            "FSDP has split the parameters over processes, each of which has a part; at every timestep,"
            " gather the full state dict, load it into a network of one process, and record that network"
        )
    named = [(name, tuple(value.shape)) for name, value in module.named_parameters()]
    odd = [name for name, value in module.named_parameters() if value.dtype != torch.float32]
    if odd:
        raise UsageError(f"parameters must be float32 to be recorded, but `{odd[0]}` is not")
    return ParamLayout.of(named, layers=layers)


class Recorder:
    """Convexify the trajectory of a module while it is trained, and write it to a `.mct` bundle.

    The weights at construction are timestep 0, and each call of `step` records the next timestep. Memory on
    the CPU holds the knots and one copy of the weights; waypoints are not kept (the paper's remark under
    eq. 9). The result is bit for bit the same as that of saving every timestep and running `traj convert`.
    The module buffers of the state dict, such as the statistics of a batch norm, are kept at the knots.

    Used as a context manager, the recorder saves the trajectory when the block ends without an exception;
    after an exception it writes nothing, but `save` still does.

    What can be refused is refused at construction, and a finished training is not lost. If it ended before
    some knots, the trajectory is saved without these, and a warning names them. If the bundle cannot be
    written in the end, the trajectory is kept in another place, which the error names.

    Args:
        module: the network that is trained, on any device. Of `DistributedDataParallel`, `DataParallel` and
            `torch.compile`, the network inside is recorded; with several processes, record in one of them.
        path: a `.mct` bundle. It is created, or one trajectory is appended to it.
        knots: timesteps of the waypoints to insert between the endpoints.
        smooth: average inserted waypoints and the last timestep with their neighbours, as the MCT authors'
            code does.
        average: make every knot but the first the mean of so many timesteps: of those around it, or of the
            last ones. Memory on the CPU holds as many copies of the weights, and one more.
        every: record a timestep at every n-th call of `step`. If no fact says what a timestep is, timesteps
            are numbered by calls.
        provenance: facts about the training. If the bundle exists already, it must state all of them; without
            any, its facts hold for the new trajectory, too.

    Raises:
        UsageError: a parameter is not float32, a module buffer has a type that cannot be stored, an argument
            is invalid, or the existing bundle has another network, other settings, or does not state the
            facts in `provenance`, or its timesteps are steps of a number that is no multiple of `every`.
        FormatError: what exists at `path` is no bundle, or damaged.
        WriteError: the bundle cannot be written.
        TypeError: `every` or a knot is no whole number.

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
        average: int = 1,
        every: int = 1,
        provenance: Provenance | None = None,
    ) -> None:
        self._every = whole("every", every)
        if self._every < 1:
            raise UsageError(f"`every` must be >= 1, got {every}")
        self._module = _network_of(module)
        self._calls, self._full = 0, False
        self._layout = layout_of(self._module)
        self._destination = Destination(
            path,
            self._layout,
            knots=knots,
            smooth=smooth,
            average=average,
            every=self._every,
            provenance=provenance,
        )
        self.path = self._destination.path
        _require_storable(_buffers_of(self._module))
        self._held = self._buffers()
        self._destination.require_buffers(self._held)
        self._recorder = PathRecorder(
            self._layout, knots=self._destination.knots, smooth=smooth, average=average
        )
        self._take()

    def __repr__(self) -> str:
        size = f"{counted(len(self._recorder), 'timestep')}, {counted(self._layout.size, 'weight')}"
        return f"<trajfmt.torch.Recorder {str(self.path)!r}: {size} {self._layout.dtype}>"

    def step(self) -> None:
        """Record the module's current weights as the next timestep.

        With `every=n`, only each n-th call records a timestep. After 2**20 timesteps, or 2**24 divided by the
        number of layers, a bundle can hold no more: a warning says so, and later ones are not recorded.

        Parameters are found by name. If pruning or a replaced layer has changed their order, they are still
        recorded in the order that they had at construction.

        Raises:
            SourceError: a weight is not finite, or the module has other parameters or module buffers than at
                construction: the message names one. `save` still writes what was recorded before.
        """
        self._calls += 1
        if self._calls % self._every or self._full:
            return
        self._full = len(self._recorder) == self._destination.most
        if not self._full:
            self._take()
            return
        warnings.warn(
            f"a bundle holds at most {len(self._recorder)} timesteps of this network; later ones are not"
            " recorded, so the trajectory ends here. Give a larger `every` next time",
            UserWarning,
            stacklevel=2,
        )

    def _take(self) -> None:
        held = self._buffers()
        for name in sorted({*held, *self._held}):
            before, now = (_kind(each.get(name)) for each in (self._held, held))
            if before != now:
                raise _other_network(name, before, now, "module buffer")
        self._recorder.add(flatten(self._module, self._layout).cpu().numpy(), held)

    def _buffers(self) -> dict[str, NDArray[np.generic]]:
        return {name: _array_of(values) for name, values in _buffers_of(self._module).items()}

    def save(self, path: str | os.PathLike[str] | None = None) -> int:
        """Write the trajectory and return its number in the bundle. The recorder keeps it.

        A warning says if the training ended before some of the knots, or if either the network or the
        trajectories of an existing bundle have module buffers, but not both.

        Args:
            path: another `.mct` bundle than that of the recorder, for example after an error.

        Raises:
            SourceError: fewer than two timesteps were recorded, the weights never changed, or the bundle
                holds a trajectory with the same first and last weights and number of timesteps.
            UnsavedError: the bundle cannot be written, or it is new since the construction and belongs to
                another network, or has other knots or facts. The message says where the trajectory is kept.
            UsageError: `path` is refused, as at construction.
        """
        return self._save(self._destination if path is None else self._destination.moved(path))

    def _save(self, destination: Destination) -> int:
        if left := self._calls % self._every:
            what = "the last call" if left == 1 else f"the last {left} calls"
            warnings.warn(
                f"{what} of `step` made no timestep (`every` is {self._every}), so the trajectory ends"
                " before the training does",
                UserWarning,
                stacklevel=3,
            )
        saved = destination.save(self._recorder.finish(cut=True))
        for remark in saved.remarks:
            warnings.warn(remark, UserWarning, stacklevel=3)
        return saved.number

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._save(self._destination)


def _network_of(module: torch.nn.Module) -> torch.nn.Module:
    """Return the network in its wrappers, whose prefixes a conversion of checkpoints removes, too."""
    while isinstance(module, torch.nn.parallel.DistributedDataParallel | torch.nn.DataParallel):
        module = module.module
    inner = getattr(module, "_orig_mod", None)  # torch.compile
    return _network_of(inner) if isinstance(inner, torch.nn.Module) else module


def _buffers_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the module buffers that are in the state dict, by name."""
    saved = module.state_dict()
    named = module.named_buffers(remove_duplicate=False)
    return {name: values.detach() for name, values in named if name in saved}


def _require_storable(buffers: Mapping[str, torch.Tensor]) -> None:
    """Refuse module buffers that a bundle cannot hold, before any training.

    Raises:
        UsageError: there is one.
    """
    for name, values in buffers.items():
        try:
            fits = _array_of(values).dtype in NAMES
        except (TypeError, RuntimeError):
            fits = False
        if not fits:
            raise UsageError(
                f"the module buffer `{name}` is {values.dtype} ({values.layout}), which cannot be stored;"
                " register it with persistent=False"
            )


def _kind(array: NDArray[np.generic] | None) -> str:
    return "absent" if array is None else f"{array.shape} {array.dtype}"


def _array_of(values: torch.Tensor) -> NDArray[np.generic]:
    """Return the values of a tensor as an array of the same type."""
    plain = values.cpu().contiguous()
    if plain.dtype == torch.bfloat16:  # numpy has no such type of its own
        return plain.view(torch.int16).numpy().view(NUMPY["BF16"])
    return plain.numpy()


def __dir__() -> list[str]:
    return __all__

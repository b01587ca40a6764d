"""Bundles as the lists that `torch.load` returns for replay buffers. Timesteps are read when they are used.

`load` replaces `torch.load` in the code of MTT and its relatives. Each access to a timestep reads it into new
memory. Edits of its tensors therefore change neither the file nor later accesses.
"""

from __future__ import annotations

import itertools
import mmap
import os
import weakref
from collections.abc import Callable, Iterable, MutableSequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray

from trajfmt.bundle.reader import Bundle, Trajectory
from trajfmt.bundle.reader import open as open_bundle
from trajfmt.errors import NotABundleError, UsageError, display
from trajfmt.schema.layout import DTYPES, ParamLayout
from trajfmt.schema.manifest import FILE_NAME, FullEntry, entry_at
from trajfmt.serve.stub import Stub, read_stub
from trajfmt.storage.address import Address, located
from trajfmt.storage.files import BundleFiles

__all__ = ["LazyTrajectory", "Step", "Steps", "load", "load_buffer", "tensor_of"]

Step = list[torch.Tensor]
"""One timestep: a tensor for each parameter, in the order of `Module.parameters()`."""

Steps = list[list[Any]]
"""Betas of one trajectory, nested as in the MCT authors' files, see `betas`."""

_MAX_LIVE: Final = 128
"""Timesteps that a process maps at a time. Each holds a file descriptor. Further ones are copied."""

_mapped: Final[weakref.WeakSet[mmap.mmap]] = weakref.WeakSet()


def tensor_of(array: NDArray[np.generic]) -> torch.Tensor:
    """Return a tensor that shares the memory of an array. Its storage has the size of the array."""
    if array.dtype.name == "bfloat16":  # torch does not accept this type from numpy
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def load_buffer(
    path: str | os.PathLike[str] | Address,
    *,
    part: str | None = None,
    dtype: torch.dtype | None = None,
    verify: bool = False,
) -> list[Any]:
    """Return the trajectories of a bundle in the form that MTT's code expects of `torch.load`.

    Weights are read when they are used. A `.mtt` gives the stored weights, a `.mct` the convexified path at
    whole timesteps.

    Args:
        path: a bundle, its address, or a stub that `traj export --in-place` wrote. A stub of the MCT authors'
            files gives the contents of such files: waypoints, or nested lists of 0-d betas.
        part: return only the parameters of this part, of trajectories with named parts such as `image` and
            `text`.
        dtype: the dtype of the tensors. By default that of the bundle.
        verify: compare every file with its hash first.

    Returns:
        A list of `LazyTrajectory`, whose items are new lists of tensors, one for each parameter.

    Raises:
        NotABundleError: the path is neither a bundle nor a stub.
        MissingError: the bundle does not exist.
        UsageError: no parameter belongs to `part`, or the trajectories have changed since the stub was
            written.
        FormatError: the bundle is damaged or unsafe.
    """
    stub = _stub(path)
    if stub is None:
        bundle = open_bundle(path, verify=verify)
        numbers = range(len(bundle))
    else:
        part = stub.part if part is None else part
        dtype = getattr(torch, stub.dtype) if stub.dtype and dtype is None else dtype
        bundle = stub.open(Path(cast(str, path)), verify=verify)
        numbers = range(stub.first, stub.first + stub.count)
    if stub is not None and stub.kind == "steps":
        return [betas(bundle, number) for number in numbers]
    knots = stub is not None and stub.kind == "waypoints"
    chosen = _chosen(bundle.layout, part, path)
    return [
        LazyTrajectory.of(_Reader(bundle, bundle[number], chosen, knots=knots, dtype=dtype))
        for number in numbers
    ]


def _stub(path: str | os.PathLike[str] | Address) -> Stub | None:
    """Return the stub in a file, or None for a folder or an address.

    Raises:
        NotABundleError: the file is no stub.
    """
    place = located(path)
    if isinstance(place, Address) or not place.is_file():
        return None
    stub = read_stub(place)
    if stub is None:
        raise NotABundleError(
            "not_a_bundle",
            "must be a bundle (.mtt, .mct) or a stub that `traj export --in-place` wrote, but this is"
            " another file; torch.load reads replay_buffer files of tensors",
            path=place,
        )
    return stub


def load(f: Any, map_location: Any = None, *arguments: Any, **options: Any) -> Any:
    """Load bundles and stubs with `load_buffer`, and any other file with `torch.load`.

    `torch.load = trajfmt.torch.load` lets a distillation script read bundles. All arguments are those of
    `torch.load`. Only `f` and `map_location` matter for bundles and stubs.

    Raises:
        UsageError: `map_location` of a bundle is another device than the CPU.
    """
    if isinstance(f, (str, os.PathLike)):
        path = Path(f)
        if (path / FILE_NAME).is_file() or (path.is_file() and read_stub(path) is not None):
            if map_location is not None and str(map_location) != "cpu":
                raise UsageError(
                    f"{display(path)}: bundles can only be loaded on the CPU, got"
                    f" map_location={map_location!r}"
                )
            return load_buffer(path)
    return torch.serialization.load(f, map_location, *arguments, **options)


def betas(bundle: Bundle, number: int) -> Steps:
    """Return the betas of one convexified trajectory as 0-d tensors, nested as in the MCT authors' files.

    With two knots they are `[t][parameter]`. With more they are `[segment][t][parameter]`, for the segments
    from knot to knot, both knots included. They are float64 in a float64 bundle, otherwise float32.
    """
    trajectory: Any = bundle[number]
    kind = np.float64 if bundle.layout.dtype == "F64" else np.float32
    tensors = list(bundle.layout.layer_of_parameter)
    segments: list[Any] = []
    knots = trajectory.knots
    for s, (a, b) in enumerate(itertools.pairwise(knots)):
        table = (trajectory.u[a : b + 1, tensors] - s).astype(kind)
        segments.append([[torch.tensor(value) for value in row] for row in table])
    return segments[0] if len(segments) == 1 else segments


def _chosen(layout: ParamLayout, part: str | None, path: object) -> tuple[int, ...]:
    """Return the numbers of the parameters that belong to a part."""
    if part is None:
        return tuple(range(len(layout.parameters)))
    names = [parameter.name for parameter in layout.parameters]
    chosen = tuple(index for index, name in enumerate(names) if name.startswith(f"{part}."))
    if not chosen:
        parts = ", ".join(dict.fromkeys(display(name.partition(".")[0]) for name in names))
        raise UsageError(f"{display(path)}: has no part {part!r}; its parameters belong to {parts}")
    return chosen


@dataclass(frozen=True, slots=True)
class _Reader:
    """A callable that reads one timestep, or one knot, of a trajectory."""

    bundle: Bundle
    trajectory: Trajectory
    parameters: tuple[int, ...]
    knots: bool = False
    """Whether to read the stored knots rather than all timesteps."""
    dtype: torch.dtype | None = None

    def __len__(self) -> int:
        return len(self.trajectory.knots) if self.knots else self.trajectory.timesteps

    def __call__(self, t: int) -> Step:
        layout = self.bundle.layout
        first, last = self.parameters[0], self.parameters[-1]
        start, stop = layout.offsets[first], layout.offsets[last + 1]
        flat = self._flat(t, start, stop)
        tensors = []
        for index in self.parameters:
            low, high = layout.offsets[index] - start, layout.offsets[index + 1] - start
            tensors.append(tensor_of(flat[low:high].reshape(layout.parameters[index].shape)))
        return tensors if self.dtype is None else [tensor.to(self.dtype) for tensor in tensors]

    def _flat(self, t: int, start: int, stop: int) -> NDArray[np.generic]:
        """Return elements `start:stop` at t in writable memory that nothing else uses."""
        bundle, trajectory = self.bundle, self.trajectory
        entry, layout = entry_at(bundle.manifest, trajectory.index), bundle.layout
        if self.knots:
            return np.array(trajectory.knot(t)[start:stop])
        if not isinstance(entry, FullEntry):
            return trajectory.pieces(t, start, stop)
        if entry.data is None or bundle.files.backend != "mmap" or len(_mapped) >= _MAX_LIVE:
            return np.array(trajectory.knot(t)[start:stop])
        offset = entry.data + t * layout.nbytes + start * DTYPES[layout.dtype].itemsize
        return _private(bundle.files, entry.file, offset, stop - start, layout.numpy_dtype)


def _private(
    files: BundleFiles, name: str, offset: int, count: int, dtype: np.dtype[np.generic]
) -> NDArray[np.generic]:
    """Return elements of a file in a new map, whose changes stay in this process (copy on write)."""
    base = offset - offset % mmap.ALLOCATIONGRANULARITY
    values = files.array(name, offset, count, dtype)  # checks the byte range
    mapped = files.private_map(name, base, offset - base + count * dtype.itemsize)
    if mapped is None:
        return np.array(values)
    _mapped.add(mapped)
    return np.frombuffer(mapped, dtype, count, offset - base)


class LazyTrajectory(MutableSequence[Any]):
    """A trajectory as a list of timesteps. Each access to a timestep reads it.

    It behaves like a list: length, negative indices, slices (lazy, too), iteration, `+`, and assignment.
    Assigned timesteps are kept. Others are read anew at each access, so that an edit of a tensor stays in
    that tensor.
    """

    __slots__ = ("_items", "_read")

    def __init__(self, read: Callable[[int], Step], items: list[Any]) -> None:
        self._read = read
        self._items = items

    @classmethod
    def of(cls, reader: _Reader) -> LazyTrajectory:
        """Return the lazy trajectory of all timesteps of a reader."""
        return cls(reader, [_At(t) for t in range(len(reader))])

    @overload
    def __getitem__(self, index: int) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> LazyTrajectory: ...
    def __getitem__(self, index: int | slice) -> Step | LazyTrajectory:
        found = self._items[index]
        if isinstance(index, slice):
            return LazyTrajectory(self._read, found)
        return self._read(found.number) if isinstance(found, _At) else cast(Step, found)

    def __setitem__(self, index: int | slice, value: Any) -> None:
        self._items[index] = self._taken(value) if isinstance(index, slice) else value

    def __delitem__(self, index: int | slice) -> None:
        del self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def insert(self, index: int, value: Any) -> None:
        """Insert a timestep before `index`."""
        self._items.insert(index, value)

    def copy(self) -> LazyTrajectory:
        """Return a new lazy trajectory of the same timesteps."""
        return self[:]

    __copy__ = copy

    def __add__(self, other: Iterable[Any]) -> LazyTrajectory:
        return LazyTrajectory(self._read, [*self._items, *self._taken(other)])

    def __radd__(self, other: Iterable[Any]) -> LazyTrajectory:
        return LazyTrajectory(self._read, [*self._taken(other), *self._items])

    def _taken(self, other: Iterable[Any]) -> list[Any]:
        """Return the timesteps of another list. Those of the same trajectory stay unread."""
        if isinstance(other, LazyTrajectory) and other._read is self._read:
            return list(other._items)
        return list(other)

    def __getstate__(self) -> tuple[object, ...]:
        return self._read, self._items

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._read, self._items = state

    def __repr__(self) -> str:
        return f"<{len(self)} timesteps, read when they are used>"


@dataclass(frozen=True, slots=True)
class _At:
    """The number of a timestep that is read when it is accessed."""

    number: int

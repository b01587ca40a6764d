"""Buffers served in place: what `torch.load` gave MTT's family, read from a bundle where it is used.

Owns the lazy trajectory, `load_buffer`, and `load`, which stands in for `torch.load` in other people's code.
Every item is read afresh into memory of its own, so that edits neither reach the file nor the next item.
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
from trajfmt.schema.manifest import FILE_NAME, FullEntry
from trajfmt.serve.stub import Stub, read_stub
from trajfmt.storage.address import Address, located
from trajfmt.storage.files import BundleFiles, open_regular

__all__ = ["LazyTrajectory", "Step", "Steps", "load", "load_buffer", "tensor_of"]

Step = list[torch.Tensor]
"""One timestep: a tensor per parameter, in the order of `Module.parameters()`."""

Steps = list[list[Any]]
"""Betas of one trajectory as the MCT authors nest them: `[t][l]`, or `[segment][t][l]` with waypoints."""

_MAX_LIVE: Final = 128
"""Timesteps mapped at a time in a process, each with a descriptor; further ones are copied."""

_mapped: Final[weakref.WeakSet[mmap.mmap]] = weakref.WeakSet()


def tensor_of(array: NDArray[np.generic]) -> torch.Tensor:
    """Return a tensor that shares an array's memory; its storage has the array's size, no more."""
    if array.dtype.name == "bfloat16":  # a type that torch does not take from numpy
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def load_buffer(
    path: str | os.PathLike[str] | Address,
    *,
    part: str | None = None,
    dtype: torch.dtype | None = None,
    verify: bool = False,
) -> list[Any]:
    """Return the trajectories of a bundle as MTT's code expects them of `torch.load`, without reading them.

    A real list of `LazyTrajectory`; each item of those is a new real list of real tensors. From a `.mtt`
    these are the stored weights, from a `.mct` the convexified path at whole timesteps.

    Args:
        path: a bundle, its address, or a stub that `traj export --in-place` wrote. Stubs of the MCT authors'
            files give what their files hold: waypoints, or nested lists of 0-d betas.
        part: of trajectories with named parts, such as `image` and `text`: only the parameters of this one.
        dtype: of the tensors; as stored by default.
        verify: compare every file with its hash first.

    Raises:
        NotABundleError: neither a bundle nor a stub of one.
        UsageError: no parameter belongs to `part`, or the bundle is another one than the stub was made for.
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
    """Return the stub that a file is, or None for a folder or an address.

    Raises:
        NotABundleError: it is another kind of file.
    """
    place = located(path)
    if isinstance(place, Address) or not place.is_file():
        return None
    stub = read_stub(place)
    if stub is None:
        raise NotABundleError(
            "not_a_bundle",
            "must be a bundle (.mtt, .mct) or a stub that `traj export --in-place` wrote, this is another"
            " file; torch.load reads replay_buffer files of tensors",
            path=place,
        )
    return stub


def load(f: Any, map_location: Any = None, *arguments: Any, **options: Any) -> Any:
    """Do what `torch.load` does, and open bundles and stubs of them as `load_buffer` does.

    Made to be put in its place by one line of a distillation script:

        import torch, trajfmt.torch; torch.load = trajfmt.torch.load

    Raises:
        UsageError: a bundle is to be loaded to another place than the CPU.
    """
    if isinstance(f, (str, os.PathLike)):
        path = Path(f)
        if (path / FILE_NAME).is_file() or (path.is_file() and read_stub(path) is not None):
            if map_location is not None and str(map_location) != "cpu":
                raise UsageError(
                    f"{display(path)}: a bundle is read where it lies, on the CPU; got"
                    f" map_location={map_location!r}"
                )
            return load_buffer(path)
    return torch.serialization.load(f, map_location, *arguments, **options)


def betas(bundle: Bundle, number: int) -> Steps:
    """Return the betas of one convexified trajectory as 0-d tensors, nested as the MCT authors' files.

    With two knots `[t][parameter]` for every timestep, with more `[segment][t][parameter]` for every
    timestep of a segment from knot to knot. They are float64 in a float64 bundle, otherwise float32.
    """
    trajectory: Any = bundle[number]
    kind = np.float64 if bundle.layout.dtype == "F64" else np.float32
    tensors = list(bundle.layout.layer_of_parameter)
    stretches: list[Any] = []
    knots = trajectory.knots
    for s, (a, b) in enumerate(itertools.pairwise(knots)):
        table = (trajectory.u[a : b + 1, tensors] - s).astype(kind)
        stretches.append([[torch.tensor(value) for value in row] for row in table])
    return stretches[0] if len(stretches) == 1 else stretches


def _chosen(layout: ParamLayout, part: str | None, path: object) -> tuple[int, ...]:
    """Return the parameters that belong to a part."""
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
    """Reads single timesteps, or knots, of one trajectory."""

    bundle: Bundle
    trajectory: Trajectory
    parameters: tuple[int, ...]
    knots: bool = False
    """Whether to read what is stored, rather than every whole timestep."""
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
        """Return elements `start` to `stop` at t, writable and nobody else's."""
        bundle, trajectory = self.bundle, self.trajectory
        entry, layout = bundle.manifest.trajectories[trajectory.index], bundle.layout
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
    """Return elements of a file as a map of their own, whose changes stay in this process (copy on write)."""
    files.array(name, offset, count, dtype)  # checks the file's size and the place
    base = offset - offset % mmap.ALLOCATIONGRANULARITY
    fd = open_regular(files.path(name))
    try:
        mapped = mmap.mmap(fd, offset - base + count * dtype.itemsize, access=mmap.ACCESS_COPY, offset=base)
    finally:
        os.close(fd)
    _mapped.add(mapped)
    return np.frombuffer(mapped, dtype, count, offset - base)


class LazyTrajectory(MutableSequence[Any]):
    """A trajectory as a list of timesteps, each read when it is asked for.

    Behaves as a list: length, indices from both ends, slices (lazy too), iteration, `+`, and assignment,
    which keeps what is assigned. What is read is new each time, so an edit of a tensor stays in that tensor.
    """

    __slots__ = ("_items", "_read")

    def __init__(self, read: Callable[[int], Step], items: list[Any]) -> None:
        self._read = read
        self._items = items

    @classmethod
    def of(cls, reader: _Reader) -> LazyTrajectory:
        """Return all timesteps of a reader."""
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
        """Return a list of its own of the same timesteps."""
        return self[:]

    __copy__ = copy

    def __add__(self, other: Iterable[Any]) -> LazyTrajectory:
        return LazyTrajectory(self._read, [*self._items, *self._taken(other)])

    def __radd__(self, other: Iterable[Any]) -> LazyTrajectory:
        return LazyTrajectory(self._read, [*self._taken(other), *self._items])

    def _taken(self, other: Iterable[Any]) -> list[Any]:
        """Return another's timesteps; those of the same trajectory stay unread."""
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
    """Stands for a timestep that is read when it is asked for."""

    number: int

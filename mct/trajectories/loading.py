"""Loads one knot from a bundle to the device, as one tensor in the packed order of the inner step.

On the CPU a knot that needs no rearranging stays a view of the mapped file. On CUDA it is copied through two
small pinned buffers on a separate stream, so that neither the host nor the other streams wait for it. The
module `knot_cache` decides which knots are loaded, and when.

Knots stored in 16 bits are converted to float32 when they are loaded, which is exact, because students
compute in float32. Each takes 4 bytes a parameter while it is held, also on the CPU, where a mapped knot of
float32 takes no memory of its own.
"""

import mmap
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trajfmt.schema import ParamLayout
from trajfmt.torch import from_readonly

Key = tuple[int, int]
"""Number of a trajectory, and of a knot of it."""

_PIECE = 8 << 20
"""Bytes of each pinned buffer."""


@dataclass(frozen=True, slots=True)
class Knot:
    """One knot on the device."""

    weights: Tensor
    """`(P,)`; must not be written to, its memory may be a file's."""

    mapped: bool
    """Whether it is a view of a mapped file, which takes no memory of its own."""

    ready: torch.cuda.Event | None = None
    """On CUDA: when the weights are there."""

    arrange: Callable[[Tensor], Tensor] | None = None
    """What `finished` has still to do."""

    @torch.no_grad()
    def finished(self) -> "Knot":
        """Return the knot in the order of the step."""
        if self.arrange is None:
            return self
        weights = self.arrange(self.weights)
        return Knot(weights, self.mapped and weights.data_ptr() == self.weights.data_ptr())

    def on_stream(self) -> Tensor:
        """Return the weights for use on the current stream, which waits for them where it must."""
        if self.ready is not None:
            stream = torch.cuda.current_stream(self.weights.device)
            stream.wait_event(self.ready)
            self.weights.record_stream(stream)
        return self.weights


def loaded_bytes(layout: ParamLayout) -> int:
    """Return the bytes of one knot as it is held: 16-bit weights become float32."""
    return layout.size * max(4, layout.numpy_dtype.itemsize)


class KnotLoader:
    """Loads knots of one bundle to one device; any thread may call it.

    Args:
        read: Returns the weights of a knot `(P,)`, read-only.
        arrange: From the order of `Module.parameters()` to that of the step; None leaves it.
        device: Where the knots go.
    """

    def __init__(
        self,
        read: Callable[[Key], NDArray[np.generic]],
        *,
        arrange: Callable[[Tensor], Tensor] | None,
        device: torch.device,
    ) -> None:
        self._read = read
        self._arrange = _widened(arrange or _same)
        self._device = device
        self._stages: list[tuple[Tensor, torch.cuda.Event]] = []
        self._lock = threading.Lock()
        if device.type == "cuda":
            if device.index is None:  # the current device of this thread, not of the one that loads
                self._device = torch.device("cuda", torch.cuda.current_device())
            self._side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def load(self, key: Key, *, ahead: bool = False) -> Knot:
        """Return a knot.

        Args:
            key: Which one.
            ahead: Another thread computes meanwhile: on the CPU read the pages, which its use would do, and
                leave the arranging to `finished`. A second team of torch's threads beside the first would
                slow every operation of both down.

        Raises:
            FormatError: The bundle is damaged.
        """
        array = self._read(key)
        raw = from_readonly(array)
        if self._device.type == "cuda":
            return self._to_cuda(raw)
        knot = Knot(raw.to(self._device), _is_mapped(array), arrange=self._arrange)
        if not ahead:
            return knot.finished()
        if knot.mapped:
            array.view(np.uint8)[:: mmap.PAGESIZE].max(initial=0)
        return knot

    def _to_cuda(self, weights: Tensor) -> Knot:
        raw = _bits(weights)
        with self._lock, torch.cuda.device(self._device), torch.cuda.stream(self._side):
            if not self._stages:
                some = min(raw.numel(), _PIECE // raw.element_size())
                self._stages = [
                    (torch.empty(some, dtype=raw.dtype, pin_memory=True), _event()) for _ in range(2)
                ]
            knot = torch.empty_like(raw, device=self._device)
            size = len(self._stages[0][0])
            for turn, begin in enumerate(range(0, raw.numel(), size)):
                pinned, free = self._stages[turn % 2]
                piece = raw[begin : begin + size]
                free.synchronize()
                # numpy copies in this thread alone; torch would start threads beside those that compute
                np.copyto(pinned[: len(piece)].numpy(), piece.numpy())
                knot[begin : begin + size].copy_(pinned[: len(piece)], non_blocking=True)
                free.record()
            knot = self._arrange(knot.view(weights.dtype))
            ready = _event()
            ready.record()
        return Knot(knot, mapped=False, ready=ready)


def _event() -> torch.cuda.Event:
    return torch.cuda.Event()  # type: ignore[no-untyped-call]


def _bits(weights: Tensor) -> Tensor:
    """Return the same memory in a type that numpy has, which bfloat16 is not."""
    return weights.view(torch.int16) if weights.dtype == torch.bfloat16 else weights


def _same(weights: Tensor) -> Tensor:
    return weights


def _widened(arrange: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return an `arrange` that first makes 16-bit weights float32."""
    return lambda weights: arrange(weights.float() if weights.element_size() == 2 else weights)


def _is_mapped(array: NDArray[np.generic]) -> bool:
    """Return whether the memory of an array is a mapped file."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(getattr(base, "obj", base), mmap.mmap)

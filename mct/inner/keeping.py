"""How many bytes of activations the inner loop keeps for its adjoint pass, and fewer when memory runs out.

Activations that are kept are not computed again; the gradient is the same up to rounding. An automatic budget
follows from the free memory when the inner loop runs for the first time. If memory runs out nevertheless, the
budget becomes half of what had been kept, and the loop is repeated. A run records how much was kept, because
some compiled code rounds differently with kept activations. A resumed run keeps the same amount, and so gives
the same bits.
"""

from typing import Final

import torch

from mct.inner.problem import Problem
from mct.inner.steps.step import Notes
from mct.inner.unroll import ExactUnroll, Gradients, Unroll
from mct.objectives.objective import Terminal
from mct.runtime.launch import local_size
from mct.runtime.memory import free_bytes, is_exhausted

_PARTS: Final = {"cpu": 8, "cuda": 2}
"""The budget is the free memory divided by this: other programs, or evaluations, need the rest."""

_RESUMED_PARTS: Final = {"cpu": 2, "cuda": 1}
"""The divisor for a resumed run, which may take more, because what it kept before did fit."""

_CPU_MOST: Final = 1 << 30
"""More than this is never kept on a CPU unasked (docs/decisions/0013-activations-that-are-kept.md)."""

_UNKNOWN: Final = 256 << 20
"""The budget where free memory is unknown."""

_LEAST: Final = 1 << 20
"""A budget that would be lowered below this becomes 0."""


class KeepBudget:
    """The number of bytes of activations that one inner loop may keep.

    Args:
        mb: MiB; None: a share of the free memory of the device, determined when `bytes` is first read.
        device: The device of the activations.
        varies: Whether inner loops have different numbers of updates. What one of them kept then says little
            about the next, and a run records the budget in its place.
        notes: If `mb` is None, called with one line when the first inner loop has kept something, when a
            resumed run can keep less than before, and whenever the budget is lowered.
    """

    def __init__(self, mb: int | None, device: torch.device, *, varies: bool = False, notes: Notes) -> None:
        self.automatic = mb is None
        self.kept: int | None = None
        """Bytes that the last inner loop kept, or the budget if loops vary; None before the first, and where
        `mb` was given."""
        self._device, self._notes, self._varies = device, notes, varies
        self._bytes = None if mb is None else mb << 20
        self._said = False

    @property
    def bytes(self) -> int:
        """Bytes that may be kept."""
        if self._bytes is None:
            self._bytes = _affordable(self._device)
        return self._bytes

    def resume(self, kept: int | None) -> None:
        """Keep as much as an earlier process of the run did, if it fits here; later calls do nothing.

        Args:
            kept: Bytes that the run's state records; None where it records none (`--keep-mb` was given, or
                no step was done).
        """
        if kept is None or self._bytes is not None:
            return
        self._bytes = min(kept, _affordable(self._device, resumed=True))
        if self._bytes < kept:
            self._notes(
                f"{_mib(kept)} of activations were kept before, {_mib(self._bytes)} fit here: from now on "
                "results may differ by rounding from those of a run that was never interrupted"
            )

    def limit(self, most: int) -> None:
        """Keep at most this many bytes from now on, because another process of the run can keep no more."""
        if self.automatic:
            self._bytes = min(self.bytes, most)

    def used(self, kept: int, updates: int, of: int) -> None:
        """Record what an inner loop kept, and note it the first time.

        Args:
            kept: Bytes.
            updates: How many updates' activations that is.
            of: How many updates the loop has.
        """
        if not self.automatic:
            return
        self.kept = self.bytes if self._varies else kept
        if kept and not self._said:
            self._said = True
            self._notes(
                f"activations of {updates} of {of} inner steps are kept, {_mib(kept)} (--keep-mb auto)"
            )

    def lower(self, kept: int) -> bool:
        """Set the budget to half of what was kept when memory ran out, and return whether that can help.

        Args:
            kept: Bytes that were kept when memory ran out.
        """
        if not self.automatic or not self.bytes:
            return False
        self._bytes = kept // 2 if kept // 2 >= _LEAST else 0
        if not kept:
            return True
        self._said = True
        self._notes(
            f"not enough memory on {self._device} to keep {_mib(kept)} of activations: --keep-mb auto is "
            f"now {_mib(self._bytes)}, and the step is repeated"
        )
        return True


class KeepingUnroll:
    """Runs an inner loop within a `KeepBudget`, and again within a smaller one if memory runs out.

    Args:
        unroll: What runs the loop.
        plain: The `ExactUnroll` inside `unroll`, or `unroll` itself; its `keep_bytes` is set.
        budget: What may be kept.
    """

    def __init__(self, unroll: Unroll, plain: ExactUnroll, budget: KeepBudget) -> None:
        self._unroll, self._plain, self._budget = unroll, plain, budget

    def gradients(self, problem: Problem, terminal: Terminal) -> Gradients:
        """Run the inner loop, call `terminal` on theta_N, and return exact derivatives.

        Raises:
            MemoryError, RuntimeError: Memory is not enough even without keeping anything.
        """
        plain = self._plain
        while True:
            plain.keep_bytes = self._budget.bytes
            try:
                found = self._unroll.gradients(problem, terminal)
            except (MemoryError, RuntimeError) as exc:
                if not is_exhausted(exc) or not self._budget.lower(plain.kept_bytes):
                    raise
                exc.__traceback__ = None  # it holds the tensors of the loop
            else:
                if plain.whole:
                    self._budget.used(plain.kept_bytes, plain.kept_updates, len(problem.batches))
                return found
            if problem.images.device.type == "cuda":
                torch.cuda.empty_cache()


def _affordable(device: torch.device, *, resumed: bool = False) -> int:
    """Return the bytes of activations that may be kept on a device unasked."""
    free = free_bytes(device)
    if free is None:
        return _UNKNOWN
    if device.type == "cpu":
        free //= local_size()  # torchrun's processes share this machine
    part = free // (_RESUMED_PARTS if resumed else _PARTS)[device.type]
    return part if resumed or device.type != "cpu" else min(part, _CPU_MOST)


def _mib(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"

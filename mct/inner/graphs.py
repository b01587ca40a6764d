"""The inner loop as two captured CUDA graphs: one forward to theta_N, one backward from lambda_N.

A graph replays all its kernels at once, without Python. Its inputs and outputs have fixed addresses:
weights, targets and learning rate are copied in, pixels are augmented before the forward graph, and
gradients are taken through the augmentation after the backward graph. The sequence of batch sizes,
including smaller last batches, is the same in every outer step, so that one pair of graphs serves a run.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mct.data.batches import Batches
from mct.errors import first_line
from mct.inner.loop import Loop
from mct.inner.problem import Problem
from mct.inner.steps.step import Notes
from mct.inner.unroll import ExactUnroll, Gradients, nothing
from mct.objectives.objective import LossAndAdjoint, Path, Terminal
from mct.runtime.capture import GraphRecorder, Recorder, Replayable
from mct.runtime.memory import is_exhausted
from mct.runtime.phases import phase

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """The pixels of all updates, and the gradients in them, at fixed addresses."""

    values: Tensor
    """`(B, C, H, W)`: the batches, one after another."""

    gradients: Tensor
    """`(B, C, H, W)`: the gradients in `values`."""

    starts: tuple[int, ...]
    """First row of each update, and the end."""

    def pixels(self, step: int) -> Tensor:
        """Return the batch `(B, C, H, W)` of an update."""
        return self.values[self.starts[step] : self.starts[step + 1]]

    def add(self, step: int, first: int, gradient: Tensor, weight: Tensor) -> None:
        """Set the gradient in some images of an update; it is called once for each image."""
        begin = self.starts[step] + first
        torch.mul(gradient, weight, out=self.gradients[begin : begin + len(gradient)])


@dataclass(frozen=True, slots=True)
class Captured:
    """Both graphs for problems of one shape, with their inputs and outputs."""

    loop: Loop
    frame: Frame
    path: Path
    end: LossAndAdjoint
    inner: Tensor
    forward: Replayable
    backward: Replayable

    def put(self, end: LossAndAdjoint) -> None:
        """Copy adjoints to the addresses from which the backward graph reads them."""
        count = len(self.path) - 1
        for number in range(1, count + 1):
            place, value = self.end.at(number, count), end.at(number, count)
            if place is not None:
                place.zero_() if value is None else place.copy_(value)


class GraphUnroll:
    """Runs an `ExactUnroll` as captured graphs on CUDA.

    The first problem of a shape runs uncaptured, which compiles and warms up everything; the second is
    captured. This starts over when the bytes that `plain` may keep have changed, and when an objective has an
    adjoint before the last one for the first time. If capturing fails, all problems run uncaptured.

    Args:
        plain: What to capture.
        notes: Called with one line if capturing fails.
        recorder: Captures and replays work; None: CUDA graphs.
    """

    def __init__(self, plain: ExactUnroll, *, notes: Notes, recorder: Recorder | None = None) -> None:
        self._plain, self._notes, self._recorder = plain, notes, recorder or GraphRecorder()
        self._captured: dict[Shape, Captured | None] = {}
        self._keep_bytes = plain.keep_bytes
        self._failed = self._early = False

    def gradients(self, problem: Problem, terminal: Terminal) -> Gradients:
        """Run the inner loop, call `terminal` once on its path, and return exact derivatives."""
        if self._plain.keep_bytes != self._keep_bytes:
            self._captured.clear()
            self._keep_bytes = self._plain.keep_bytes
        sizes = (*problem.images.shape, *problem.weights.shape, *map(len, problem.batches))
        key = (*sizes, problem.labels, problem.first)
        if self._failed or key not in self._captured:
            self._captured[key] = None
            return self._plain.gradients(problem, terminal)
        clock = self._plain.clock
        source = Batches(
            problem.images, problem.batches, problem.augment, problem.draws, whole=True, clock=clock
        )
        captured = self._captured[key] = self._captured[key] or self._try_capture(problem, source)
        if captured is None:
            return self._plain.gradients(problem, terminal)
        self._fill(captured, problem, source)
        with clock.part("forward"):
            captured.forward.replay()
        end = terminal(captured.path)
        if end.left_out:
            return nothing(problem, end)
        if end.earlier and not self._early:  # The captured way back has no place for these adjoints.
            self._early = True
            self._captured.clear()
            self._captured[key] = None
            return self._plain.gradients(problem, terminal)
        with clock.part("adjoint"):
            captured.put(end)
            captured.backward.replay()
        source.put(captured.frame.gradients)
        return self._plain.finish(problem, captured.loop, source, end, captured.inner)

    def _try_capture(self, problem: Problem, source: Batches) -> Captured | None:
        """Return the graphs for problems of this shape; None if capturing failed, which is noted."""
        try:
            with phase("capturing the inner loop"):
                return self._capture(problem, source)
        except RuntimeError as exc:
            if is_exhausted(exc):
                raise
            self._failed = True
            self._notes(f"the inner loop could not be captured and runs step by step: {first_line(exc)}")
            return None

    def _fill(self, captured: Captured, problem: Problem, source: Batches) -> None:
        """Copy a problem to the addresses from which the graphs read it."""
        captured.path[0].copy_(problem.weights)
        captured.loop.alpha.fill_(problem.learning_rate)
        captured.frame.values.copy_(source.all())
        for target, batch in zip(captured.loop.targets, problem.batches, strict=True):
            torch.index_select(problem.targets, 0, batch, out=target)

    def _capture(self, problem: Problem, source: Batches) -> Captured:
        values = source.all().clone()
        frame = Frame(values, torch.zeros_like(values), source.starts)
        loop = Loop.of(problem, frame)
        start = problem.weights.clone()
        early = range(1, len(problem.batches)) if self._early else ()
        zeros = {number: torch.zeros_like(start) for number in early}
        end = LossAndAdjoint(0.0, torch.zeros_like(start), zeros)
        (path, kept), forward = self._recorder.record(lambda: self._plain.forward(loop, start))
        inner, backward = self._recorder.record(
            lambda: self._plain.adjoint(loop, path, kept, end), after=forward
        )
        # The graphs hold addresses, not tensors. The tensors between them must live as long as the graphs.
        return Captured(loop, frame, path, end, inner, forward, backward)

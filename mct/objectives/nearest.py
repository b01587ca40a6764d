"""Matching where the student comes nearest to its target: the objective of ATT.

    i* = the last i in 1 … N with the smallest ||theta_i - theta*||_1
    loss = ||theta_{i*} - theta*||^2 / D,  D = ||theta_0 - theta*||^2

The derivative is that of eq. 2 at theta_{i*}, with i* held fixed. It is exact wherever i* does not jump,
which is everywhere except on a set of measure zero. Updates after i* have no gradient, and their way back is
not computed.

References:
    Liu et al., "Dataset Distillation by Automatic Training Trajectories", ECCV 2024, and its code,
    distill_ATT.py. The code keeps i* of an earlier iteration where all distances are above 10,000, which is
    not repeated here.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mct.objectives.matching import Matcher, TrajectoryMatching
from mct.objectives.objective import LossAndAdjoint, Path, Place
from mct.trajectories.stream import KnotStream, Sample


class NearestMatching(TrajectoryMatching):
    """Match the target with the weights of the update that come nearest to it.

    Args:
        stream: Draws trajectories and start times, and gives the weights.
    """

    def begin(self, place: Place, /, *, out: Tensor | None = None) -> "NearestSample":
        """Return a sample, after checking that its start and target differ.

        Raises:
            FormatError: The bundle is damaged.
            MismatchError: Start and target are the same point.
            CorruptError: Weights of the trajectory are not finite.
        """
        sample = self.sample(place, out=out)
        return NearestSample(sample.weights, sample, self._matcher, self._stream)


@dataclass(frozen=True, slots=True)
class NearestSample:
    """One sample of nearest matching."""

    weights: Tensor
    """theta_0 `(P,)`."""

    _sample: Sample
    _matcher: Matcher
    _stream: KnotStream

    def loss_and_adjoint(self, path: Path, /, *, out: Tensor | None = None) -> LossAndAdjoint:
        """Return the loss at the nearest weights, and its derivative there."""
        last = len(path) - 1
        nearest = self.nearest(path)
        found = self._matcher.compare(path[nearest], self._sample, out=out)
        if nearest == last or found.adjoint is None:
            return found
        return LossAndAdjoint(found.loss, None, {nearest: found.adjoint})

    @torch.no_grad()
    def nearest(self, path: Path) -> int:
        """Return i*: the number of the last weights with the smallest L1 distance to the target."""
        target = self._stream.materialise(self._sample.target)
        distances = torch.stack([(weights - target).abs().sum(dtype=torch.float64) for weights in path[1:]])
        return len(distances) - int(distances.flip(0).argmin())

"""Matching on a part of the parameters: the filters of PAD and of parameter pruning.

    r = (theta_N - theta*)^2,  d = (theta_0 - theta*)^2  (elementwise)
    loss = sum_K r / sum_K d

where K are the parameters that are kept. `smallest` drops the int(share P) parameters with the smallest r, as
the last version of PAD's code does, and `first` the first int(share P) in the order of the network, as its
version by depth. `dissimilar` drops those with min(|s|, |t|) < share max(|s|, |t|), where s and t are the
weights of student and target. K is held fixed in the derivative, which is exact wherever K does not change.

References:
    Li et al., "Prioritize Alignment in Dataset Distillation", 2024, and its code: PAD.py, and PAD_depth.py
    in an earlier version.
    Li et al., "Dataset Distillation Using Parameter Pruning", IEICE Transactions, 2024. Its abstract says
    that parameters which are difficult to match are pruned. The rule above is from memory: neither the text
    of the paper nor its code could be read.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mct.errors import MismatchError
from mct.objectives.matching import TrajectoryMatching
from mct.objectives.objective import LossAndAdjoint, Path, Place
from mct.settings.config import DropBy
from mct.trajectories.stream import KnotStream, Sample


class DroppedMatching(TrajectoryMatching):
    """Match the target on the parameters that are kept.

    Args:
        stream: Draws trajectories and start times, and gives the weights.
        share: Share of the parameters that are dropped, in [0, 1); the least similarity for `dissimilar`.
        by: Which ones.
        start_noise: As for `TrajectoryMatching`.
    """

    def __init__(
        self, stream: KnotStream, share: float, by: DropBy = "smallest", *, start_noise: float = 0.0
    ) -> None:
        super().__init__(stream, start_noise=start_noise)
        self._dropped = int(share * stream.layout.size)
        self._similarity = share if by == "dissimilar" else None
        self._kept: Tensor | None = None
        if by == "first":
            order = torch.ones(stream.layout.size)
            order[: self._dropped] = 0
            self._kept = stream.arranged(order) > 0

    def begin(self, place: Place, /, *, out: Tensor | None = None) -> "DroppedSample":
        """Return a sample, after checking that its start and target differ.

        Raises:
            FormatError: The bundle is damaged.
            MismatchError: Start and target are the same point.
            CorruptError: Weights of the trajectory are not finite.
        """
        sample = self.sample(place, out=out)
        kept = self._kept
        return DroppedSample(sample.weights, sample, self._stream, self._dropped, kept, self._similarity)


@dataclass(frozen=True, slots=True)
class DroppedSample:
    """One sample of matching on a part of the parameters."""

    weights: Tensor
    """theta_0 `(P,)`."""

    _sample: Sample
    _stream: KnotStream
    _dropped: int
    _kept: Tensor | None
    _similarity: float | None

    @torch.no_grad()
    def loss_and_adjoint(self, path: Path, /, *, out: Tensor | None = None) -> LossAndAdjoint:
        """Return the loss on the parameters that are kept, and lambda_N, which is zero on the others.

        Raises:
            MismatchError: The trajectory does not move on the parameters that are kept.
        """
        gap = self._stream.materialise(self._sample.target, out=out)
        moved = (self.weights - gap).square()
        kept = self._kept if self._similarity is None else _similar(path[-1], gap, self._similarity)
        torch.sub(path[-1], gap, out=gap)
        kept = self._largest(gap) if kept is None else kept
        gap.mul_(kept)
        distance = float(moved.mul_(kept).sum(dtype=torch.float64))
        if not distance > 0:
            raise MismatchError(
                f"trajectory {self._sample.start.trajectory} does not move on the parameters that `drop` "
                "leaves; use a smaller `drop`"
            )
        loss = gap.double().square().sum() / distance
        return LossAndAdjoint(loss, gap.mul_(2 / distance))

    def _largest(self, gap: Tensor) -> Tensor:
        """Return which elements are not among the dropped smallest ones, `(P,)`."""
        kept = torch.ones_like(gap, dtype=torch.bool)
        if self._dropped:
            kept[gap.square().topk(self._dropped, largest=False, sorted=False).indices] = False
        return kept


def _similar(student: Tensor, target: Tensor, least: float) -> Tensor:
    """Return which elements have min(|s|, |t|) >= least max(|s|, |t|), `(P,)`; two zeros are alike."""
    one, two = student.abs(), target.abs()
    return torch.minimum(one, two) >= least * torch.maximum(one, two)

"""The loss on real images: the objective of RaT-BPTT, which needs no expert trajectory.

    loss = mean over a batch of real images of the cross-entropy at theta_N
    lambda_N = d loss / d theta_N: a plain gradient

A student starts as a freshly initialised network, or on a trajectory at a time c, like those of trajectory
matching. The batch is drawn without replacement, anew for every sample, and augmented with one of DSA's
families, which is drawn for it. Loss and gradient are computed in parts of the batch, so that their memory
does not grow with it.

References:
    Feng et al., "Embarrassingly Simple Dataset Distillation", ICLR 2024, and its code, framework/base.py and
    distill_higher.py. The code goes through the real images in shuffled passes, with a smaller last batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from mct.data.augment import DSA, Draws, augmentation
from mct.errors import ConfigError, MismatchError
from mct.objectives.objective import LossAndAdjoint, Path, Place
from mct.objectives.scene import Scene
from mct.runtime.seeds import generator
from mct.settings.config import DistillConfig

_PART: Final = 256
"""Real images whose activations exist at once. A batch is divided into equal parts of at most so many."""

_LARGEST: Final = 1e4
"""A cross-entropy that no network has that is still useful: it gives the right classes e^-10000."""


class RealLoss:
    """The cross-entropy of real images at the student's last weights.

    Args:
        scene: The real images, the network, and, unless all starts are fresh, the trajectories.
        batch: Real images in a batch; all of them if there are fewer.
        fresh: Share of the samples that start as a freshly initialised network.
        augment: The augmentation of the batch; None for none.

    Raises:
        ConfigError: Some samples start on a trajectory, and there is none.
    """

    largest_loss = _LARGEST

    def __init__(
        self, scene: Scene, *, batch: int = 5000, fresh: float = 1.0, augment: DSA | None = None
    ) -> None:
        self._scene, self._fresh, self._augment = scene, fresh, augment
        self._count = min(batch, len(scene.labels))
        if fresh < 1 and scene.stream is None:
            raise ConfigError(
                "students start on trajectories, and there are none; give at least one bundle: --traj, or "
                "start all students as fresh networks: --fresh-starts 1"
            )

    @classmethod
    def of(cls, config: DistillConfig, scene: Scene) -> "RealLoss":
        """Return the objective of some settings."""
        return cls(
            scene, batch=config.real_batch, fresh=config.fresh_starts, augment=augmentation(config.augment)
        )

    def draw(self, generator: torch.Generator, step: int, /) -> Place:
        """Draw whether the student starts fresh, unless that is certain, else where; then a seed."""
        share = self._fresh
        fresh = share == 1 or (share > 0 and float(torch.rand((), generator=generator)) < share)
        trajectory, start = (None, None) if fresh else self._scene.trajectories.pick(generator, step)
        seed = int(torch.randint(2**62, (), generator=generator))
        return Place(trajectory=trajectory, start=start, step=step, seed=seed)

    def expect(self, place: Place, /) -> None:
        """Begin to load the knots of a sample that starts on a trajectory."""
        if place.trajectory is not None and place.start is not None:
            self._scene.trajectories.expect(place.trajectory, place.start)

    def begin(self, place: Place, /, *, out: Tensor | None = None) -> "RealSample":
        """Return the sample at a place that `draw` returned, with its seed.

        Raises:
            FormatError: The bundle is damaged.
        """
        assert place.seed is not None
        scene = self._scene
        if place.trajectory is None or place.start is None:
            weights = scene.fresh(generator(place.seed, "network"))
            weights = weights if out is None else out.copy_(weights)
        else:
            stream = scene.trajectories
            weights = stream.materialise(stream.locate(place.trajectory, place.start), out=out)
        return RealSample(weights, self, place)

    def teacher(self, _place: Place, /) -> Tensor:
        """Refuse, since there is no target."""
        raise MismatchError("the loss on real images has no target that could give labels")

    def batch(self, place: Place) -> tuple[Tensor, Draws | None]:
        """Return the numbers of the real images of a sample `(B,)`, and of their augmentation, on the CPU."""
        random = generator(place.seed or 0, "real")
        images = self._scene.images
        chosen = torch.randperm(len(images), generator=random)[: self._count]
        if self._augment is None:
            return chosen, None
        return chosen, self._augment.draw(self._count, images.shape[-1], random)

    def parts(self, place: Place) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield augmented pixels `(B, C, H, W)` and one-hot labels `(B, K)` of the parts of a batch."""
        scene, here = self._scene, self._scene.images.device
        chosen, draws = self.batch(place)
        chosen = chosen.to(here)
        draws = None if draws is None else draws.to(here)
        count = -(-self._count // _PART) if scene.separable else 1
        for rows in torch.arange(self._count, device=here).tensor_split(count):
            pixels = scene.images[chosen[rows]]
            if self._augment is not None and draws is not None:
                own = Draws(family=draws.family, values=tuple(value[rows] for value in draws.values))
                pixels = self._augment.apply(pixels, own)
            yield pixels, one_hot(scene.labels[chosen[rows]], scene.classes).to(pixels.dtype)

    @torch.no_grad()
    def compare(self, final: Tensor, place: Place, *, out: Tensor | None = None) -> LossAndAdjoint:
        """Return the loss at weights `final` `(P,)` on a sample's batch, and its gradient."""
        total = torch.zeros_like(final) if out is None else out.zero_()
        loss = torch.zeros((), dtype=torch.float64, device=final.device)
        for pixels, targets in self.parts(place):
            share = len(targets) / self._count
            with torch.enable_grad():
                slope, logits = self._scene.gradient(final, pixels, targets)
            total.add_(slope, alpha=share)
            loss += share * cross_entropy(logits.double(), targets.double())
        return LossAndAdjoint(loss, total)


@dataclass(frozen=True, slots=True)
class RealSample:
    """One sample of the loss on real images."""

    weights: Tensor
    """theta_0 `(P,)`."""

    _objective: RealLoss
    _place: Place

    def loss_and_adjoint(self, path: Path, /, *, out: Tensor | None = None) -> LossAndAdjoint:
        """Return the loss at theta_N, and its gradient there."""
        return self._objective.compare(path[-1], self._place, out=out)

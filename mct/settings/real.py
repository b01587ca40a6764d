"""The settings of distillations that minimise the loss on real images, as RaT-BPTT does, and of its parts."""

from dataclasses import dataclass
from typing import Literal, get_args

from mct.errors import ConfigError
from mct.settings.checks import at_least, one_of

Minimised = Literal["matching", "real"]
"""What an outer step minimises: the distance to an expert's weights, or the loss on real images."""

LabelForm = Literal["logits", "rows"]
"""What learned labels are: logits, whose softmax is the label (DATM); or rows of non-negative numbers, which
the inner loss takes as they are, whatever their sum (RaT-BPTT)."""

Sampler = Literal["passes", "classes"]
"""How the images of an inner step are drawn: in shuffled passes (MTT), or evenly from the classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealSettings:
    """The part of `DistillConfig` that came with RaT-BPTT. The defaults leave all of it out."""

    objective: Minimised = "matching"
    """What an outer step minimises: trajectory `matching`, or the cross-entropy of `real` images at the last
    weights of the student (RaT-BPTT)."""

    real_batch: int = 5000
    """Real images of a sample with `objective` real. They are augmented like the synthetic ones."""

    fresh_starts: float = 0.0
    """Share of the samples with `objective` real whose student starts as a freshly initialised network; the
    others start on a trajectory. With 1 no bundle is needed."""

    label_form: LabelForm = "logits"
    """What learned labels are: `logits`; or `rows`, which begin as one-hot rows, stay non-negative, and are
    trained on as they are, whatever their sum (RaT-BPTT)."""

    clip_average: float | None = None
    """Decay d of a running average of the norm of the image gradient. A gradient longer than twice the
    average is shortened to that (RaT-BPTT). None: gradients are not clipped."""

    sampler: Sampler = "passes"
    """How the images of an inner step are drawn: in shuffled `passes` over all; or from the `classes`, the
    same number of every class, or, if `batch_syn` is smaller than the number of classes, one image of each of
    so many random classes (RaT-BPTT)."""

    def check_real(self) -> None:
        """Require that the values are in range.

        Raises:
            ConfigError: One is not, or students start as fresh networks and are to match a trajectory.
        """
        at_least("real_batch", self.real_batch, 1)
        one_of("objective", self.objective, get_args(Minimised))
        one_of("label_form", self.label_form, get_args(LabelForm))
        one_of("sampler", self.sampler, get_args(Sampler))
        if self.clip_average is not None and not 0 <= self.clip_average < 1:
            raise ConfigError(f"`clip_average` must be at least 0 and less than 1, got {self.clip_average!r}")
        if not 0 <= self.fresh_starts <= 1:
            raise ConfigError(f"`fresh_starts` must be from 0 to 1, got {self.fresh_starts!r}")
        if self.fresh_starts and self.objective != "real":
            raise ConfigError("`fresh_starts` needs `objective` real: a fresh network lies on no trajectory")

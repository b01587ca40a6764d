"""Settings of distillation and evaluation.

The settings of each job are a frozen dataclass whose values are checked when it is created. All fields have
plain types, so that results store settings as JSON and read them back unchanged. `mct.settings.defaults`
chooses values for a dataset.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, get_args

from mct.errors import ConfigError
from mct.settings import inner
from mct.settings.checks import at_least, finite, one_of
from mct.settings.condensation import Condensation
from mct.settings.real import RealSettings

Labels = Literal["hard", "teacher", "learned"]
"""Labels of the student: class numbers; the probabilities that the network at the target predicts; or rows of
logits that are learned with the images (DATM)."""

LabelTime = Literal["target", "max-start", "last"]
"""The timestep of the expert that gives teacher labels: the target of the outer step (TESLA), `max_start`
(the MCT authors' code), or the last one of the trajectory."""

Initial = Literal["random", "correct", "scored", "noise", "unit-noise"]
"""Initial images: random real images of each class; those that an expert classifies correctly (DATM); those
of a difficulty (SelMatch); or noise (DC), also with unit norm."""

Optimizer = Literal["sgd", "adam"]
"""How images and learned labels are updated."""

End = Literal["last", "nearest"]
"""Where the student is compared with the target: after the last update, or where it comes nearest (ATT)."""

DropBy = Literal["smallest", "first", "dissimilar"]
"""Which parameters are left out of the comparison: those that match best, or the first ones (PAD); or those
that are unlike the target (parameter pruning)."""

EarlierImages = Literal["joint", "apart"]
"""Images of earlier stages: a student learns from them and from the new ones (SeqMatch), or from the new ones
alone (PTM)."""

Sampling = Literal["auto", "continuous", "discrete"]
"""Starts: real numbers (`continuous`), whole timesteps (`discrete`), or as the bundle allows (`auto`)."""

Gradient = Literal["exact", "tesla"]
"""The meta-gradient: exact, or TESLA's biased one, see docs/method.md."""

Held = Literal["heldout", "test"]
"""Images on which networks are tested: a held-out tenth of the training images, or the test set."""

Protocol = Literal["mtt", "sequence", "rat", "selmatch"]
"""Protocols of evaluations: that of MTT; MTT's on one stage of a distillation after the other; that of
RaT-BPTT; or that of SelMatch. Each is an entry of `mct.evaluation.protocols.table`."""

Engine = Literal["auto", "compiled", "eager"]
"""How inner steps are computed. `auto` decides by their number, see `mct.inner.steps.table.choose`."""

Precision = Literal["float32", "bf16"]
"""Number format in which inner steps are computed.

Weights, images and sums over inner steps are always float32. On GPUs that have TF32, float32 convolutions use
it, which is PyTorch's default and therefore that of the published code.
"""

UPDATED: Final[Mapping[str, tuple[str, ...]]] = {
    "images": ("lr_img", "lr_img_halving", "image_average", "clip_average"),
    "learning_rate": ("lr_lr",),
    "labels": ("lr_label", "label_momentum"),
}
"""For each learned value the settings of its update, which have no effect if a method has another update."""

_ROUNDING = 1e-9
"""Added to a share of `ipc` before it is rounded down, so that 0.29 of 100 is 29."""

_REAL = (
    "expert_steps", "max_start", "min_start", "ramp_from", "lr_img", "lr_lr", "lr_init", "momentum",
    "lr_label", "label_momentum", "loss_threshold", "image_average", "drop", "start_noise", "fresh_starts",
    "clip_average", "inner_momentum", "inner_decay", "skip_hardest", "learned_share",
)  # fmt: skip
"""Settings of a distillation that are floats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillConfig(inner.InnerSettings, RealSettings):
    """Settings of a distillation. The defaults are the MCT paper's for CIFAR-10 with one image per class.

    Raises:
        ConfigError: If a value is out of range.
    """

    method: str | None = None
    """Method whose settings were used where none were given, such as `datm`, or a method of your own as
    `module:function`; None for MCT with a `convex` bundle, and MTT with a `full` one."""

    ipc: int = 1
    """Number of synthetic images per class; of a stage, the new ones."""

    inner_steps: int = 60
    """N: the number of student updates (eq. 3) in an outer step; with `min_steps`, the largest number."""

    expert_steps: float = 6
    """M: the number of timesteps from start to target. It must be a whole number for a `full` bundle."""

    max_start: float | None = 4
    """Bound of the start c: it is drawn from [min_start, max_start), or from the whole timesteps in this
    interval. None uses the largest bound that every trajectory allows."""

    min_start: float = 0.0
    """Smallest start c."""

    ramp_from: float | None = None
    """Bound of the start in the first outer step, from which it rises linearly to `max_start`; None: the
    bound is always `max_start`."""

    ramp_steps: int | None = None
    """Number of outer steps after which the bound has risen to `max_start`; needed with `ramp_from`."""

    start_noise: float = 0.0
    """e: to every weight w of the student at the start, e abs(w) times a standard normal number is
    added (`--noise_start` of the MCT authors' code). 0: no noise."""

    gradient: Gradient = "exact"
    """The meta-gradient: `exact`, or `tesla` for the biased one of TESLA and of the MCT authors' code."""

    samples: int = 1
    """Number of samples (a trajectory and a start) in an outer step. Loss and gradients are averaged."""

    trajectories: int | None = None
    """Use only so many trajectories: the first ones of the bundle, or of all bundles in their order. None
    uses all."""

    sampling: Sampling = "auto"
    """How the start c is drawn: `continuous` draws a real number, `discrete` takes its whole part, as MTT
    does, and `auto` is `continuous` for a `convex` bundle and `discrete` for a `full` one."""

    labels: Labels = "hard"
    """Labels of the synthetic images: `hard` for class numbers; `teacher` for the probabilities that the
    network at the target of the outer step predicts (TESLA's soft labels); `learned` for the softmax of
    logits that are learned with the images, and that begin as the mean logits of the experts that classify
    an image correctly (DATM)."""

    label_time: LabelTime = "target"
    """The timestep of the expert that gives `teacher` labels: the `target` of the outer step, `max-start` for
    `max_start` on the same trajectory, or the `last` one of the trajectory."""

    lr_label: float = 2.0
    """Step size of the updates of learned labels."""

    label_momentum: float = 0.9
    """Momentum of the updates of learned labels."""

    initial: Initial = "random"
    """Initial images: `random` real images of each class; of these, the first that the last weights of an
    expert classify correctly: `correct`; the hardest ones by `scores` after `skip_hardest`: `scored`;
    standard normal `noise`, as preprocessed images; or `unit-noise`, the same with norm 1 (RaT-BPTT)."""

    scores: str | None = None
    """Difficulty of the training images for `initial` scored: a file that `mct.data.difficulty.read` reads,
    or `el2n` for scores that are computed with the experts of the run."""

    skip_hardest: float = 0.0
    """Number of the hardest images of each class that `initial` scored leaves out, as a share of `ipc`
    (beta of SelMatch)."""

    learned_share: float = 1.0
    """Share of the images of each class that are learned, in (0, 1]; the others stay real images, which take
    part in inner steps. They are the first ones of each class (alpha of SelMatch)."""

    loss_threshold: float | None = None
    """Loss above which a sample is left out of an outer step (DATM). None uses every sample."""

    image_average: float | None = None
    """Decay d of the exponential moving average E <- d E + (1 - d) X of the images X, which begins with the
    initial images. With it, the averages are evaluated and are the result (FTD). None: no average."""

    earlier_images: EarlierImages = "joint"
    """With images of earlier stages, which are left as they are: whether a student learns from them and from
    the new ones, `joint` (SeqMatch), or from the new ones alone, `apart` (PTM)."""

    end: End = "last"
    """Where the student is compared with the target: after its `last` update, or after the update at which
    its L1 distance to the target is smallest, `nearest` (ATT)."""

    drop: float = 0.0
    """Share of the parameters that are left out of the comparison, in [0, 1) (PAD). With `drop_by`
    dissimilar, it is the similarity below which a parameter is left out."""

    drop_by: DropBy = "smallest"
    """Which parameters `drop` leaves out: those with the `smallest` difference from the target, or the
    `first` ones in the order of the network (the code of PAD has had both); or those s that are `dissimilar`
    to the target t: `min(abs(s), abs(t)) < drop * max(abs(s), abs(t))`."""

    augment: str = "dsa"
    """Augmentation of every inner step: `dsa`, families of DSA such as `flip_crop`, or `none`."""

    outer_steps: int = 5000
    """Number of updates of the synthetic dataset."""

    lr_img: float = 1000.0
    """Step size of the updates of the images."""

    lr_img_halving: int | None = None
    """Number of outer steps after which `lr_img` is halved, again and again; None: it stays as it is."""

    outer_optimizer: Optimizer = "sgd"
    """How images and learned labels are updated: by `sgd` with momentum, or by `adam` with the betas 0.9 and
    0.999. The synthetic learning rate is always updated by SGD, as in the MCT authors' code."""

    lr_lr: float = 1e-7
    """Step size of the updates of the synthetic learning rate."""

    lr_init: float = 0.01
    """Initial value of the synthetic learning rate (`lr_teacher` in MTT's commands)."""

    momentum: float = 0.5
    """Momentum of the updates of the images and of the synthetic learning rate."""

    batch_syn: int | None = None
    """Synthetic images per inner step; None for all."""

    eval_every: int | None = None
    """Number of outer steps between evaluations, with further ones before the first and after the last step;
    None for no evaluations."""

    select: Held = "heldout"
    """Images on which evaluations during the run test, and thus select the best synthetic images. `heldout`
    is a tenth of the training images, which are then not used as initial images. `test` is the test set, as
    in published results, whose maximum over evaluations is optimistic."""

    engine: Engine = "auto"
    """How inner steps are computed: `compiled`; `eager`, which is plain autograd and needs no compiler; or
    `auto`. Compiled and eager steps differ by rounding."""

    precision: Precision = "float32"
    """Number format of inner steps. `bf16` is faster on a GPU and less accurate; a run measures and reports
    the difference when it starts."""

    snapshot_every: int | None = None
    """Number of outer steps after which a picture of the images is kept, besides those of the first and the
    last step; None: none is kept."""

    save_every: int = 100
    """Number of outer steps after which the state, the result and its picture are saved; they are also saved
    at the end."""

    seed: int = 0
    """Seed of the initial images, the trajectories, the starts, the batches and the augmentation."""

    condensation: Condensation | None = None
    """Settings of a method that needs no trajectories (DC, DSA, DM, CAFE); None for the others."""

    def __post_init__(self) -> None:
        for name in ("ipc", "inner_steps", "outer_steps", "samples", "batch_syn", "eval_every", "save_every",
                     "snapshot_every"):  # fmt: skip
            at_least(name, getattr(self, name), 1)
        at_least("seed", self.seed, 0)
        at_least("ramp_steps", self.ramp_steps, 1)
        at_least("trajectories", self.trajectories, 1)
        at_least("lr_img_halving", self.lr_img_halving, 1)
        for name in _REAL:
            if getattr(self, name) is not None:  # files must not depend on whether 6 or 6.0 was given
                object.__setattr__(self, name, float(getattr(self, name)))
        object.__setattr__(self, "inner_betas", tuple(map(float, self.inner_betas)))
        finite("expert_steps", self.expert_steps, positive=True)
        for name in ("max_start", "min_start", "ramp_from", "lr_img", "lr_lr", "momentum", "lr_label",
                     "start_noise"):  # fmt: skip
            if getattr(self, name) is not None:
                finite(name, getattr(self, name))
        finite("lr_init", self.lr_init, positive=True)
        if self.loss_threshold is not None:
            finite("loss_threshold", self.loss_threshold, positive=True)
        for name in ("label_momentum", "image_average", "drop"):
            if getattr(self, name) is not None and not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 0 and less than 1, got {getattr(self, name)!r}")
        self._check_window()
        self._check_initial()
        self.check_real()
        inner.check(self)
        one_of("gradient", self.gradient, get_args(Gradient))
        one_of("sampling", self.sampling, get_args(Sampling))
        one_of("labels", self.labels, get_args(Labels))
        one_of("label_time", self.label_time, get_args(LabelTime))
        one_of("initial", self.initial, get_args(Initial))
        one_of("outer_optimizer", self.outer_optimizer, get_args(Optimizer))
        one_of("end", self.end, get_args(End))
        one_of("earlier_images", self.earlier_images, get_args(EarlierImages))
        one_of("drop_by", self.drop_by, get_args(DropBy))
        if self.drop and self.end == "nearest":
            raise ConfigError("`drop` compares the last weights, and cannot be combined with `end` nearest")
        if self.objective == "real" and (self.end == "nearest" or self.drop or self.labels == "teacher"):
            raise ConfigError(
                "`objective` real has no target, and cannot be combined with `end` nearest, `drop`, or "
                "`labels` teacher"
            )
        noisy = self.initial in ("noise", "unit-noise")
        if noisy and self.learns_logits:
            raise ConfigError(
                "`labels` learned begin as what experts say of real images, and cannot be combined with "
                f"`initial` {self.initial}"
            )
        if self.gradient == "tesla" and (self.end == "nearest" or self.labels == "learned"):
            raise ConfigError(
                "`gradient` tesla has no meaning with `end` nearest or `labels` learned; use the exact one"
            )
        one_of("engine", self.engine, get_args(Engine))
        one_of("precision", self.precision, get_args(Precision))
        one_of("select", self.select, get_args(Held))

    @property
    def learns_logits(self) -> bool:
        """Whether labels are learned as logits, which begin as what experts say of the images."""
        return self.labels == "learned" and self.label_form == "logits"

    @property
    def asks_experts(self) -> bool:
        """Whether experts choose the initial images, or say how learned labels begin."""
        return self.initial == "correct" or self.learns_logits

    @property
    def skipped(self) -> int:
        """Number of the hardest images of each class that `initial` scored leaves out."""
        return math.floor(self.skip_hardest * self.ipc + _ROUNDING)

    @property
    def real_images(self) -> int:
        """Number of images of each class that stay as they are, the first ones of the class."""
        return self.ipc - math.floor(self.learned_share * self.ipc + _ROUNDING)

    def _check_initial(self) -> None:
        """Require that some images are learned, and that initial images are what the settings need.

        Raises:
            ConfigError: They are not.
        """
        finite("skip_hardest", self.skip_hardest)
        if not 0 < self.learned_share <= 1:
            raise ConfigError(
                f"`learned_share` must be more than 0 and at most 1, got {self.learned_share!r}"
            )
        if self.real_images == self.ipc:
            raise ConfigError(
                f"`learned_share` {self.learned_share:g} of `ipc` {self.ipc} is less than one image; use more"
            )
        if self.initial in ("noise", "unit-noise") and self.real_images:
            raise ConfigError(
                "`learned_share` leaves the other images real, and cannot be combined with `initial` "
                f"{self.initial}"
            )

    def _check_window(self) -> None:
        """Require that starts are drawn from an interval, and that its bound does not fall.

        Raises:
            ConfigError: It is empty, or only one of `ramp_from` and `ramp_steps` is given.
        """
        if (self.ramp_from is None) != (self.ramp_steps is None):
            raise ConfigError("`ramp_from` and `ramp_steps` belong together: give both or neither")
        bounds = {"min_start": self.min_start, "ramp_from": self.ramp_from, "max_start": self.max_start}
        known = {name: value for name, value in bounds.items() if value is not None}
        for (name, value), (other, larger) in pairwise(known.items()):
            if value > larger:
                raise ConfigError(f"`{name}` is {value:g}, but `{other}` {larger:g} is smaller")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """Settings of an evaluation, which trains fresh networks on synthetic images. The defaults are MTT's.

    Raises:
        ConfigError: If a value is out of range.
    """

    protocol: Protocol = "mtt"
    """How a network is trained on the images, and when it is tested."""

    networks: int = 5
    """Number of fresh networks, over which the mean and the standard deviation are computed."""

    epochs: int = 1000
    """Number of the last epoch. As in MTT, epochs are numbered from 0, so there are `epochs + 1` passes. The
    learning rate is divided by ten after epoch `epochs // 2 + 1`."""

    batch_size: int = 256
    """Images per step. The last batch of an epoch may be smaller."""

    augment: str = "dsa"
    """Augmentation of every batch: `dsa`, families of DSA such as `flip_crop`, or `none`."""

    momentum: float = 0.9
    """Momentum of SGD."""

    weight_decay: float = 5e-4
    """Weight decay (L2 penalty) of SGD."""

    seed: int = 0
    """Seed of the initialisations, the order of the images, and the random real images of the baseline."""

    def __post_init__(self) -> None:
        for name in ("networks", "epochs", "batch_size"):
            at_least(name, getattr(self, name), 1)
        at_least("seed", self.seed, 0)
        one_of("protocol", self.protocol, get_args(Protocol))
        finite("momentum", self.momentum)
        finite("weight_decay", self.weight_decay)

"""Settings of the three long jobs, each a frozen dataclass that is valid once it exists.

Only plain types, so that a settings object is written into results as JSON and read back equal.
The defaults for a dataset are in `defaults`. Nothing here knows the command line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from mct.errors import ConfigError

LARGEST = 1e30
"""Float settings are used in float32, whose largest number is 3.4e38."""

Labels = Literal["hard", "teacher"]
"""What the student learns from: class numbers, or what the expert at the target says of the images."""

Sampling = Literal["auto", "continuous", "discrete"]
"""Which start times are drawn: real ones, whole ones, or what suits the encoding of the bundle."""

Gradient = Literal["exact", "tesla"]
"""How the images are differentiated through the inner steps: `tesla` is biased, and published."""

Held = Literal["heldout", "test"]
"""What a choice is made on: a tenth of the training images that are kept out, or the test set."""

Engine = Literal["auto", "compiled", "eager"]
"""How updates of a student are computed; `mct.inner.steps.table.choose` settles `auto`."""

Precision = Literal["float32", "bf16"]
"""What updates are computed in. Weights, images and all sums over updates are float32 always; where a GPU
has TF32, float32 convolutions use it as PyTorch's default, and so the published codes, do."""

_MOST = {"inner_steps": 100_000}  # the weights of every step are kept


def _at_least(name: str, value: int | None, least: int) -> None:
    most = _MOST.get(name, 2**31 - 1)
    if value is not None and not least <= value <= most:
        bound = f">= {least}" if value < least else f"<= {most}"
        raise ConfigError(f"`{name}` must be {bound}, got {value!r}")


def _finite(name: str, value: float, *, positive: bool = False) -> None:
    if not 0 <= value <= LARGEST or (positive and value == 0):
        bound = "> 0" if positive else ">= 0"
        raise ConfigError(f"`{name}` must be a finite number {bound}, at most {LARGEST:g}, got {value!r}")


def _one_of(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigError(f"`{name}` must be one of {', '.join(choices)}, got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertConfig:
    """Settings for training experts; the defaults are MTT's."""

    experts: int = 100
    """Number of experts, each with its own initialisation and order of the images."""

    epochs: int = 50
    """Passes over the training images."""

    lr: float = 0.01
    """Step size of SGD."""

    lr_decay: bool = False
    """A tenth of `lr` after epoch `epochs // 2 + 1`, with a fresh optimizer (MTT's `--decay`)."""

    augment: str = "dsa"
    """Augmentation of every batch: `dsa`, families of it such as `flip_crop`, or `none`."""

    momentum: float = 0.0
    """Momentum of SGD."""

    weight_decay: float = 0.0
    """L2 penalty of SGD."""

    batch_size: int = 256
    """Images per step; the last batch of an epoch may be smaller."""

    steps_per_timestep: int | None = None
    """Record weights every so many steps; None records them after every epoch, as MTT does."""

    seed: int = 0
    """Expert `e` depends on `(seed, e)` alone, so a set of experts can be grown."""

    def __post_init__(self) -> None:
        for name in ("experts", "epochs", "batch_size", "steps_per_timestep"):
            _at_least(name, getattr(self, name), 1)
        _at_least("seed", self.seed, 0)
        _finite("lr", self.lr, positive=True)
        _finite("momentum", self.momentum)
        _finite("weight_decay", self.weight_decay)

    def timesteps(self, images: int) -> int:
        """Return how many timesteps, T + 1, training on so many images records.

        Raises:
            ConfigError: Only the first one.
        """
        if self.steps_per_timestep is None:
            return self.epochs + 1
        steps = self.epochs * -(-images // self.batch_size)
        if self.steps_per_timestep > steps:
            raise ConfigError(
                f"`steps_per_timestep` is {self.steps_per_timestep}, but training has only {steps} steps; "
                "use a smaller one, or more `epochs`"
            )
        return steps // self.steps_per_timestep + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillConfig:
    """Settings of one distillation; the defaults are the paper's for CIFAR-10, one image a class."""

    ipc: int = 1
    """Images per class in the synthetic dataset."""

    inner_steps: int = 60
    """N: student updates in one outer step."""

    expert_steps: float = 6
    """M: timesteps from start to target; a whole number for a `full` bundle."""

    max_start: float | None = 4
    """Bound of the starts: c is drawn from [0, max_start), or from the whole timesteps before it.
    None: as far as every trajectory allows."""

    gradient: Gradient = "exact"
    """`tesla`: the biased gradient of TESLA's and the MCT authors' code."""

    samples: int = 1
    """Trajectories and starts in one outer step, over which loss and gradients are averaged."""

    sampling: Sampling = "auto"
    """`continuous` draws real c, `discrete` its whole part, as MTT does; `auto` is the first on a
    `convex` bundle and the second on a `full` one."""

    labels: Labels = "hard"
    """`teacher`: in every outer step the labels are the probabilities that the expert at the target
    gives the images (TESLA's soft labels)."""

    augment: str = "dsa"
    """Augmentation of every inner step: `dsa`, families of it such as `flip_crop`, or `none`."""

    outer_steps: int = 5000
    """Updates of the synthetic dataset."""

    lr_img: float = 1000.0
    """Step size of the images."""

    lr_lr: float = 1e-7
    """Step size of the learning rate that is learned."""

    lr_init: float = 0.01
    """The learning rate that the student starts with (`lr_teacher` in MTT's commands)."""

    momentum: float = 0.5
    """Momentum of both updates."""

    batch_syn: int | None = None
    """Synthetic images per inner step; None: all of them."""

    eval_every: int | None = None
    """Evaluate before the first step, after every so many, and after the last; None: never."""

    select: Held = "heldout"
    """What evaluations during the run test on, and so what the best images are chosen on. `heldout`:
    a tenth of the training images, which are then no initial images either. `test`: the test set, as
    published accuracies are (their maximum over evaluations is better than one would find)."""

    engine: Engine = "auto"
    """`compiled`, or `eager`: plain autograd, which needs no compiler. The two differ by rounding."""

    precision: Precision = "float32"
    """`bf16` is faster on a GPU and less exact; the difference is measured and told at the start."""

    save_every: int = 100
    """Write state, result and picture after every so many outer steps, and at the end."""

    seed: int = 0
    """Decides the initial images, the trajectories, the starts and the batches."""

    def __post_init__(self) -> None:
        for name in ("ipc", "inner_steps", "outer_steps", "samples", "batch_syn", "eval_every", "save_every"):
            _at_least(name, getattr(self, name), 1)
        _at_least("seed", self.seed, 0)
        for name in ("expert_steps", "max_start", "lr_img", "lr_lr", "lr_init", "momentum"):
            if getattr(self, name) is not None:  # 6 and 6.0 must be recorded as the same bytes
                object.__setattr__(self, name, float(getattr(self, name)))
        _finite("expert_steps", self.expert_steps, positive=True)
        if self.max_start is not None:
            _finite("max_start", self.max_start)
        for name in ("lr_img", "lr_lr", "momentum"):
            _finite(name, getattr(self, name))
        _finite("lr_init", self.lr_init, positive=True)
        _one_of("gradient", self.gradient, get_args(Gradient))
        _one_of("sampling", self.sampling, get_args(Sampling))
        _one_of("labels", self.labels, get_args(Labels))
        _one_of("engine", self.engine, get_args(Engine))
        _one_of("precision", self.precision, get_args(Precision))
        _one_of("select", self.select, get_args(Held))


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """Settings for training fresh networks on a few images; the defaults are MTT's."""

    networks: int = 5
    """Fresh networks, over which mean and standard deviation are taken."""

    epochs: int = 1000
    """As MTT counts: epochs 0 to `epochs`, one pass more, a tenth of the rate after `epochs // 2 + 1`."""

    batch_size: int = 256
    """Images per step."""

    augment: str = "dsa"
    """Augmentation of every batch: `dsa`, families of it such as `flip_crop`, or `none`."""

    momentum: float = 0.9
    """Momentum of SGD."""

    weight_decay: float = 5e-4
    """L2 penalty of SGD."""

    seed: int = 0
    """Decides initialisations, order, and the images that the baseline draws."""

    def __post_init__(self) -> None:
        for name in ("networks", "epochs", "batch_size"):
            _at_least(name, getattr(self, name), 1)
        _at_least("seed", self.seed, 0)
        _finite("momentum", self.momentum)
        _finite("weight_decay", self.weight_decay)

"""Settings of expert training."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, get_args

from mct.errors import ConfigError
from mct.settings.checks import at_least, finite, one_of
from trajfmt.errors import counted

Curriculum = Literal["pad"]
"""Which images each epoch passes over: `pad` for PAD's selection, see `mct.experts.curriculum`."""

_LATER: Final = ("sharpness", "surrogate_gap", "curriculum")
"""Fields that earlier versions did not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertConfig:
    """Settings of expert training. The defaults are MTT's.

    Raises:
        ConfigError: If a value is out of range.
    """

    experts: int = 100
    """Number of experts. Each has its own initialisation and order of the images."""

    epochs: int = 50
    """Number of passes over the training images."""

    lr: float = 0.01
    """Learning rate of SGD."""

    lr_decay: bool = False
    """Whether to divide `lr` by ten after epoch `epochs // 2 + 1`, with a new optimizer (MTT's `--decay`)."""

    augment: str = "dsa"
    """Augmentation of every batch: `dsa`, families of DSA such as `flip_crop`, or `none`."""

    momentum: float = 0.0
    """Momentum of SGD."""

    weight_decay: float = 0.0
    """Weight decay (L2 penalty) of SGD."""

    batch_size: int = 256
    """Images per step. The last batch of an epoch may be smaller."""

    steps_per_timestep: int | None = None
    """Number of steps between recorded timesteps. None records one after every epoch, as MTT does."""

    seed: int = 0
    """Seed. Expert e depends only on `(seed, e)`, so a resumed run may train more or fewer experts."""

    sharpness: float = 0.0
    """Radius rho of the neighbourhood of the weights in which the loss is to be flat, as FTD trains experts;
    0 for plain SGD. Every update then computes two gradients, see `mct.training.sharpness`."""

    surrogate_gap: float = 0.0
    """Weight alpha with which an update also decreases the surrogate gap, the difference between the largest
    loss in that neighbourhood and the loss (GSAM); 0 for plain sharpness-aware minimisation. It needs
    `sharpness`."""

    curriculum: Curriculum | None = None
    """Images of each epoch: `pad` for those that PAD selects by their difficulty; None for all images."""

    def __post_init__(self) -> None:
        for name in ("experts", "epochs", "batch_size", "steps_per_timestep"):
            at_least(name, getattr(self, name), 1)
        at_least("seed", self.seed, 0)
        if self.lr_decay and self.epochs < 5:
            raise ConfigError(
                "`lr_decay` divides the rate after epoch E // 2 + 2, as MTT does, so it needs at least 5 "
                f"`epochs`, got {self.epochs}"
            )
        finite("lr", self.lr, positive=True)
        for name in ("momentum", "weight_decay", "sharpness", "surrogate_gap"):
            finite(name, getattr(self, name))
        if self.surrogate_gap and not self.sharpness:
            raise ConfigError(
                f"`surrogate_gap` is {self.surrogate_gap:g}, which needs `sharpness`, the radius of the "
                "neighbourhood; set it too, such as 0.01"
            )
        if self.curriculum is None:
            return
        one_of("curriculum", self.curriculum, get_args(Curriculum))
        if self.steps_per_timestep is not None:
            raise ConfigError(
                "`steps_per_timestep` needs epochs of equal length, which a `curriculum` does not have; "
                "leave one of them out"
            )

    def facts(self) -> dict[str, Any]:
        """Return the settings by name, as bundles record them.

        A setting that earlier versions did not have is left out at its default, so that their runs can be
        continued and their bundles compared.

        Example:
            >>> "sharpness" in ExpertConfig().facts(), "sharpness" in ExpertConfig(sharpness=0.01).facts()
            (False, True)
        """
        usual = {field.name: field.default for field in fields(self)}
        return {
            name: value for name, value in asdict(self).items() if name not in _LATER or value != usual[name]
        }

    def timesteps(self, images: int) -> int:
        """Return the number of recorded timesteps, T + 1.

        Args:
            images: Number of training images.

        Raises:
            ConfigError: If training is so short that only the initialisation would be recorded, or if it ends
                between two timesteps.
        """
        if self.steps_per_timestep is None:
            return self.epochs + 1
        steps = self.epochs * -(-images // self.batch_size)
        if self.steps_per_timestep > steps:
            raise ConfigError(
                f"`steps_per_timestep` is {self.steps_per_timestep}, but training has only "
                f"{counted(steps, 'step')}; "
                "use a smaller value, or more `epochs`"
            )
        if left := steps % self.steps_per_timestep:
            raise ConfigError(
                f"`steps_per_timestep` is {self.steps_per_timestep}, but training has {steps} steps, and no "
                f"timestep would record the last {left}; use a divisor of {steps}"
            )
        return steps // self.steps_per_timestep + 1

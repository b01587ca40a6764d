"""Settings of an evaluation by DD-Ranking's protocol, and of the reference network that it needs.

The defaults are those of DD-Ranking's configurations for CIFAR with DSA, such as that of DATM with 10 images
per class.

References:
    Li et al., "DD-Ranking: Rethinking the Evaluation of Dataset Distillation", 2025, and its package
    ddranking 0.2.0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from mct.errors import ConfigError
from mct.settings.checks import LARGEST

Loss = Literal["sce", "kl", "mse_gt"]
"""Losses on soft labels: soft cross-entropy, Kullback-Leibler divergence, or the mean squared error of the
logits with the cross-entropy of the classes."""

Labels = Literal["auto", "hard", "soft", "teacher"]
"""Labels with which a set is evaluated: class numbers, those of the set, or the reference network's
predictions of every augmented batch. `auto` is `soft` if the set has soft labels, and `hard` otherwise."""

Schedule = Literal["step", "cosineannealing", "cosine"]
"""DD-Ranking's names of learning rate schedules. `cosine` ends at half of the learning rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingConfig:
    """Settings of an evaluation by DD-Ranking's protocol.

    Raises:
        ConfigError: If a value is out of range.
    """

    runs: int = 5
    """Number of repetitions, over which the mean and the standard deviation are computed."""

    epochs: int = 1000
    """Number of passes over the images."""

    batch_size: int = 256
    """Images per step. The last batch of an epoch may be smaller."""

    rates: tuple[float, ...] = (0.001, 0.005, 0.01, 0.05, 0.1)
    """Learning rates of a search: a fresh network is trained with each, and the best one on the test set
    counts."""

    schedule: Schedule = "step"
    """How the learning rate changes from epoch to epoch."""

    step_size: int | None = None
    """Number of epochs after which `step` divides the learning rate by ten; None for half of `epochs`."""

    momentum: float = 0.9
    """Momentum of SGD."""

    weight_decay: float = 5e-4
    """Weight decay (L2 penalty) of SGD."""

    augment: str = "dsa"
    """Augmentation of every batch: `dsa`, families of DSA such as `flip_crop`, or `none`. A set with soft
    labels is not augmented when it is evaluated with hard labels, as by default in DD-Ranking."""

    labels: Labels = "auto"
    """Labels with which the set, and random images, are evaluated."""

    loss: Loss = "sce"
    """Loss on soft labels."""

    temperature: float = 1.0
    """Temperature of `sce` and `kl`, by which all logits are divided."""

    scale_loss: bool = False
    """Whether `sce` and `kl` are multiplied by the square of the temperature."""

    mse_weight: float = 1.0
    """Weight of the squared error in `mse_gt`."""

    ce_weight: float = 0.0
    """Weight of the cross-entropy in `mse_gt`."""

    test_every: int | None = None
    """Number of epochs between tests, of which the best counts; None for 10 with hard labels and 20 with
    others."""

    weight: float = 0.5
    """Weight of the first term in both combined scores: w of LRS, and gamma of ARS."""

    seed: int = 0
    """Seed of the initialisations, the order of the images, the augmentation and the random real images."""

    def __post_init__(self) -> None:
        for name in ("runs", "epochs", "batch_size", "step_size", "test_every"):
            _check(name, getattr(self, name), least=1)
        _check("seed", self.seed, least=0)
        for name in ("momentum", "weight_decay", "mse_weight", "ce_weight"):
            _check(name, getattr(self, name), least=0, most=LARGEST)
        for rate in (*self.rates, self.temperature):
            if not 0 < rate <= LARGEST:
                raise ConfigError(f"`rates` and `temperature` must be finite numbers > 0, got {rate!r}")
        if not self.rates:
            raise ConfigError("`rates` must contain at least one learning rate")
        _check("weight", self.weight, least=0, most=1)
        for name, choices in (("schedule", Schedule), ("labels", Labels), ("loss", Loss)):
            if getattr(self, name) not in get_args(choices):
                raise ConfigError(
                    f"`{name}` must be one of {', '.join(get_args(choices))}, got {getattr(self, name)!r}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceConfig:
    """Settings of the network that is trained on all real images. The defaults are DD-Ranking's for CIFAR.

    Raises:
        ConfigError: If a value is out of range.
    """

    epochs: int = 200
    """Number of passes over the training images."""

    batch_size: int = 512
    """Images per step."""

    lr: float = 0.01
    """Learning rate of SGD."""

    step_size: int = 100
    """Number of epochs after which the learning rate is divided by ten."""

    momentum: float = 0.9
    """Momentum of SGD."""

    weight_decay: float = 5e-4
    """Weight decay (L2 penalty) of SGD."""

    test_every: int = 10
    """Number of epochs between tests. The weights of the best one are kept."""

    seed: int = 0
    """Seed of the initialisation and of the order of the images."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "step_size", "test_every"):
            _check(name, getattr(self, name), least=1)
        _check("seed", self.seed, least=0)
        for name in ("lr", "momentum", "weight_decay"):
            _check(name, getattr(self, name), least=0, most=LARGEST)


RANKING: Final[Mapping[str, Mapping[str, Any]]] = {"digits": {"epochs": 300, "augment": "crop_scale_rotate"}}
"""For each dataset, the settings that differ from `RankingConfig`."""

REFERENCE: Final[Mapping[str, Mapping[str, Any]]] = {
    "digits": {"epochs": 40, "batch_size": 64, "lr": 0.05, "step_size": 20},
    "Tiny": {"epochs": 100, "step_size": 50},
}
"""For each dataset, the settings that differ from `ReferenceConfig`."""


def ranking_config(dataset: str, **given: Any) -> RankingConfig:
    """Return the settings of an evaluation by DD-Ranking's protocol.

    Args:
        dataset: Name of the dataset.
        **given: Fields of `RankingConfig`. A field that is None is treated as not given.

    Raises:
        ConfigError: If a value is out of range.

    Example:
        >>> ranking_config("digits", runs=2).epochs
        300
    """
    return RankingConfig(**(dict(RANKING.get(dataset, {})) | _said(given)))


def reference_config(dataset: str, **given: Any) -> ReferenceConfig:
    """Return the settings of the reference network.

    Args:
        dataset: Name of the dataset.
        **given: Fields of `ReferenceConfig`. A field that is None is treated as not given. If `epochs` is
            given without `step_size`, the learning rate is divided by ten after half of them.

    Raises:
        ConfigError: If a value is out of range.
    """
    said = _said(given)
    if "epochs" in said:
        said.setdefault("step_size", max(1, said["epochs"] // 2))
    return ReferenceConfig(**(dict(REFERENCE.get(dataset, {})) | said))


def _said(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _check(name: str, value: float | None, *, least: float, most: float = 2**31 - 1) -> None:
    if value is not None and not least <= value <= most:
        raise ConfigError(f"`{name}` must be from {least:g} to {most:g}, got {value!r}")

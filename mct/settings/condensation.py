"""Settings of the methods that need no trajectories, because they train networks of their own.

They match what a network makes of real and of synthetic images: gradients (DC, DSA) or features (DM, CAFE).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from mct.errors import ConfigError
from mct.settings.checks import at_least, finite

USED: Final[Mapping[str, tuple[str, ...]]] = {
    "dc": ("class_batch", "lr_net", "net_batch", "matches", "passes"),
    "dsa": ("class_batch", "lr_net", "net_batch", "matches", "passes"),
    "dm": ("class_batch",),
    "cafe": (
        "class_batch", "lr_net", "net_batch", "matches", "passes", "early_weight", "late_weight",
        "discrimination", "stop_matching", "stop_training", "halve_at",
    ),
}  # fmt: skip
"""The settings that each method reads."""

SHARED: Final = (
    "method", "ipc", "outer_steps", "lr_img", "lr_init", "momentum", "initial", "eval_every", "select",
    "save_every", "snapshot_every", "engine", "seed",
)  # fmt: skip
"""The fields of `DistillConfig` that all of these methods read. `engine` is that of evaluations."""

LOOPS: Final[Mapping[int, tuple[int, int]]] = {
    1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10),
}  # fmt: skip
"""`matches` and `passes` of DC and DSA by the number of images per class (`get_loops` in their code)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condensation:
    """Settings of DC, DSA, DM and CAFE. The defaults are those of their code.

    Raises:
        ConfigError: If a value is out of range.
    """

    class_batch: int = 256
    """Real images of each class in an update of the synthetic images; all images of a smaller class."""

    lr_net: float = 0.01
    """Step size of the SGD that trains the network on the synthetic images."""

    net_batch: int = 256
    """Synthetic images per step of this training."""

    matches: int | None = None
    """Updates of the synthetic images with one network; an outer step has one network. For CAFE, the largest
    number. None: as published for the images per class, and for CAFE 100."""

    passes: int | None = None
    """Passes of the network over the synthetic images between two of these updates. For CAFE, the largest
    number. None: as published for the images per class, and for CAFE 200."""

    early_weight: float = 0.1
    """Weight of the features of all blocks of the network but the last (CAFE)."""

    late_weight: float = 1.0
    """Weight of the features of its last block, before and after pooling (CAFE)."""

    discrimination: float = 0.01
    """Weight of the discrimination loss (CAFE)."""

    stop_matching: float = 0.04
    """Range of the accuracies after ten matches below which the next network begins (CAFE's lambda_1)."""

    stop_training: float = 0.03
    """Range of the accuracies after ten passes above which the next match begins (CAFE's lambda_2)."""

    halve_at: tuple[int, ...] = ()
    """Numbers of outer steps after which `lr_img` is halved, each once more (CAFE)."""

    def __post_init__(self) -> None:
        for name in ("class_batch", "net_batch", "matches", "passes"):
            at_least(name, getattr(self, name), 1)
        for name in (
            "lr_net",
            "early_weight",
            "late_weight",
            "discrimination",
            "stop_matching",
            "stop_training",
        ):
            object.__setattr__(self, name, float(getattr(self, name)))
            finite(name, getattr(self, name))
        object.__setattr__(self, "halve_at", tuple(self.halve_at))
        for step in self.halve_at:
            at_least("halve_at", step, 1)


NAMES: Final = tuple(field.name for field in fields(Condensation))
"""The names of these settings."""


def is_condensation(method: str | None) -> bool:
    """Return whether a method is one of these."""
    return method in USED


def loops_of(method: str, ipc: int, config: Condensation) -> tuple[int, int]:
    """Return `matches` and `passes` of a run.

    Args:
        method: A method in `USED`.
        ipc: Images per class.
        config: The settings.

    Raises:
        ConfigError: They are not given, and not published for this number of images.

    Example:
        >>> loops_of("dc", 10, Condensation())
        (10, 50)
        >>> loops_of("dc", 10, Condensation(passes=5))
        (10, 5)
    """
    usual: tuple[int, int] | None = {"dm": (1, 1), "cafe": (100, 200)}.get(method, LOOPS.get(ipc))
    matches, passes = (None, None) if usual is None else usual
    matches, passes = config.matches or matches, config.passes or passes
    if matches == 1:
        passes = passes or 1  # The network is not trained.
    if matches is None or passes is None:
        known = ", ".join(map(str, LOOPS))
        raise ConfigError(
            f"`ipc` is {ipc}, but `matches` and `passes` are published for {known} images per class only; "
            "give both"
        )
    return matches, passes

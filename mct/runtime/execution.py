"""Options that trade memory for time, and change results at most by rounding."""

from dataclasses import dataclass
from pathlib import Path

from mct.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """Memory budgets of one process, and where to write its trace.

    Raises:
        ConfigError: If a budget is out of range.
    """

    knots_mb: int = 1024
    """MiB of knots kept in memory or on the device. Knots beyond this budget are read ahead of their use."""

    keep_mb: int | None = None
    """MiB of activations that inner steps keep for the backward pass instead of recomputing them.

    None uses as much as the free memory allows, see `mct.inner.keeping`.
    """

    step_images: int | None = None
    """Number of images whose activations exist at once. Larger batches are computed in parts. None computes
    every batch as a whole."""

    profile: Path | None = None
    """File for a trace of outer steps 2 to 4 of this process, in Chrome's format, which Perfetto opens."""

    def __post_init__(self) -> None:
        for name, least in (("knots_mb", 0), ("keep_mb", 0), ("step_images", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"`{name}` must be >= {least}, got {value!r}")

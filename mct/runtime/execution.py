"""How a run is computed where that decides time and memory, and results only up to rounding."""

from dataclasses import dataclass
from pathlib import Path

from mct.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """Budgets in MiB, per process."""

    knots_mb: int = 1024
    """Knots that are kept in memory or on the device; those beyond it are read ahead of their use."""

    keep_mb: int | None = None
    """Activations of inner steps that are kept for the way back instead of being computed again. None: as
    many as free memory allows (see `keeping`)."""

    step_images: int | None = None
    """Images whose activations exist at once; a larger batch is computed in parts. None: a whole batch."""

    profile: Path | None = None
    """Where to write a trace of outer steps 2 to 4 of this process (Chrome's format; Perfetto opens it)."""

    def __post_init__(self) -> None:
        for name, least in (("knots_mb", 0), ("keep_mb", 0), ("step_images", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"`{name}` must be >= {least}, got {value!r}")

"""The series of a distillation: their names, and their values from an event."""

from typing import Final

from mct.events import Evaluated, OuterStep

NAMES: Final = ("loss", "learning_rate", "seconds", "memory_mb", "accuracy_mean", "accuracy_std")
"""Names of all series. They are described in docs/logging.md."""

PICTURE: Final = "images"
"""Name of the picture of the synthetic images."""


def values(event: Evaluated | OuterStep) -> dict[str, float]:
    """Return the values of a step by the names of their series. What was not measured is left out.

    Example:
        >>> step = OuterStep(
        ...     step=3, loss=0.5, trajectory=0, start=0.0, target=6.0, learning_rate=0.01, seconds=2.0
        ... )
        >>> values(step)
        {'loss': 0.5, 'learning_rate': 0.01, 'seconds': 2.0}
    """
    found: dict[str, float | None] = {}
    if isinstance(event, OuterStep):
        found = {
            "loss": event.loss,
            "learning_rate": event.learning_rate,
            "seconds": event.seconds,
            "memory_mb": event.memory_mb,
        }
    if event.accuracy is not None:
        found |= {"accuracy_mean": event.accuracy.mean, "accuracy_std": event.accuracy.std}
    return {name: value for name, value in found.items() if value is not None}

"""Learned values by name, what their updates remember, and the protocol `Update`."""

from collections.abc import Mapping
from typing import Final, Literal, Protocol

from torch import Tensor

Value = Tensor | float
"""A learned value, a gradient in it, or a part of an update's memory: a tensor, or a number in float64."""

Name = Literal["images", "learning_rate", "labels"]
"""Names of the learned values, as in the files of a run."""

IMAGES: Final[Name] = "images"
RATE: Final[Name] = "learning_rate"
LABELS: Final[Name] = "labels"

AVERAGE: Final = "average"
"""The part of an update's memory that is the result in place of the value itself, where there is one."""

NORM: Final = "norm"
"""The part of an update's memory that is a number, whatever the shape of the value: an average of the norms
of its gradients."""

Memory = Mapping[str, Value]
"""What an update remembers between outer steps, by the names of its parts."""


class Update(Protocol):
    """How a learned value changes in an outer step. It keeps nothing itself, so that a run can be resumed."""

    def start(self, value: Value, /) -> dict[str, Value]:
        """Return the memory before the first step.

        Args:
            value: The initial value.
        """
        ...

    def __call__(
        self, value: Value, gradient: Value, memory: Memory, step: int, /
    ) -> tuple[Value, dict[str, Value]]:
        """Return the value after an update, and the new memory; the arguments are not changed.

        Args:
            value: The value before.
            gradient: d loss / d value, of its shape.
            memory: What the last update returned, or `start`.
            step: Number of updates done, from 0 on: outer steps without those of which no sample counted.
        """
        ...

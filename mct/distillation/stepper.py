"""The protocol `Stepper`: what the outer loop needs of a method of distillation.

`Distiller` implements it for all methods that train a student in an inner loop, `Condenser` for the others.
"""

from collections.abc import Sequence
from typing import Protocol

from mct.data.datasets import Dataset
from mct.distillation.state import State
from mct.events import Accuracy, OuterStep
from mct.methods.recipe import Recipe
from mct.results.origin import Origin
from mct.runtime.clock import Clock
from mct.runtime.execution import Execution
from mct.runtime.ranks import Ranks
from mct.settings.config import DistillConfig, EvaluateConfig


class Stepper(Protocol):
    """Does the outer steps of one run, each a pure function from state to state."""

    config: DistillConfig
    """The settings, with `auto` replaced by what was chosen."""

    dataset: Dataset
    """The dataset as the run uses it, on its device."""

    origin: Origin
    """The record of the run before the first step."""

    recipe: Recipe
    """The method."""

    clock: Clock
    """The seconds that each part of the steps takes."""

    ranks: Ranks
    """The processes that share the work."""

    execution: Execution
    """Budgets of memory."""

    notes: list[str]
    """One line for each thing that works, but not in the way that was asked for."""

    @property
    def memory_options(self) -> Sequence[str]:
        """The options that lower the memory of an outer step, with their values, in the order in which to
        try them."""
        ...

    def initial(self) -> State:
        """Return the state before the first step."""
        ...

    def step(self, state: State, /) -> tuple[State, OuterStep]:
        """Do one outer step.

        Raises:
            DivergedError: A result cannot be used. `state` remains the last usable one.
        """
        ...

    def evaluate_and_keep_best(self, state: State, config: EvaluateConfig, /) -> tuple[State, Accuracy]:
        """Evaluate the images, and keep them as the best if their mean accuracy is the highest so far."""
        ...

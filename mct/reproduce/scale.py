"""Scales: how large the data sets, experts, distillations and evaluations of a reproduction are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mct.settings.config import Held


@dataclass(frozen=True, kw_only=True)
class DataSize:
    """One data set of the paper, and what is done with it at a scale."""

    paper: str
    """Its name in the paper's tables."""

    dataset: str
    """The data set that is used, by the name in `mct.data.datasets`."""

    shown: str = ""
    """Its name in the tables, where it only stands for that of the paper."""

    first: int | None = None
    """Number of training images, the first ones; None for all."""

    model: str
    """Network of experts, students and evaluations."""

    preprocessing: Literal["normalize", "zca"] = "normalize"
    """Preprocessing of the images."""

    experts: Mapping[str, Any] = field(default_factory=dict)
    """Settings of expert training."""

    knots: tuple[int, ...] = ()
    """Timesteps of the inserted waypoints."""

    settings: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """Images per class → settings of every distillation that matches trajectories; empty: the published ones
    of each method."""

    condensation: Mapping[str, Mapping[int, Mapping[str, Any]]] = field(default_factory=dict)
    """Method without trajectories → images per class → its settings where they differ from the published
    ones."""

    evaluation: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    """Images per class → `networks`, `epochs` and `every`, for evaluations during a run."""

    @property
    def name(self) -> str:
        """The name in names of jobs."""
        return f"{self.dataset.lower()}{f'-{self.first}' if self.first else ''}"

    @property
    def title(self) -> str:
        """The name in tables and figures."""
        return self.shown or self.paper

    @property
    def ipcs(self) -> tuple[int, ...]:
        """The numbers of images per class."""
        return tuple(self.evaluation)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The sizes of all experiments."""

    name: str
    """Its name."""

    data: tuple[DataSize, ...]
    """The data sets; the first one is that of tables 2 and 3 and of most figures."""

    seeds: int
    """Number of seeds if the user does not say."""

    networks: int = 5
    """Networks of the test of a result."""

    select: Held = "heldout"
    """Images on which the best synthetic images are chosen; `test` as in the paper."""

    trajectories: tuple[int, ...]
    """Numbers of expert trajectories in table 2."""

    ipc2: int
    """Images per class in table 2."""

    table2: Mapping[str, Any] = field(default_factory=dict)
    """Settings of table 2 that differ from those of the data set."""

    expert_steps: tuple[int, ...]
    """Values of M in table 3."""

    ipcs3: tuple[int, ...]
    """Images per class in table 3."""

    table3: Mapping[str, Any] = field(default_factory=dict)
    """Settings of table 3 that differ from those of the data set."""

    points: int = 101
    """Timesteps at which the networks along a trajectory are tested (figures 1a and 2)."""

    changes: tuple[str, ...] = ()
    """What the scale changes, as sentences."""

    guesses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Table → settings that the paper does not state, and what is used instead, as sentences; those of `all`
    are of every table."""

    @property
    def main(self) -> DataSize:
        """The data set of tables 2 and 3."""
        return self.data[0]

    def of(self, paper: str) -> DataSize | None:
        """Return the data set that stands for one of the paper; None if the scale has none."""
        return next((size for size in self.data if size.paper == paper), None)

    def remarks(self, table: str = "table1") -> tuple[str, ...]:
        """Return what the scale changes, and what the paper does not state, as sentences."""
        return (*self.changes, *self.guesses.get("all", ()), *self.guesses.get(table, ()))

"""The accuracy of every class, of the best evaluation of each run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from mct.errors import ConfigError, ResultError
from mct.results import files, metrics, synthetic
from mct.results.metrics import Evaluation
from trajfmt.errors import display
from trajfmt.plots import COLOURS, Table, labels, legend
from trajfmt.storage import short_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAMED: Final = 50
"""Most classes whose names are shown."""

_NAME: Final = 22
"""Longest name of a class that is shown, in characters."""

_FEW: Final = 5
"""Most runs in one figure, which has as many markers."""

_MARKERS: Final = "os^Dv"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassAccuracy:
    """The accuracy of every class of one run."""

    name: str
    """Name of the run."""

    shares: tuple[float | None, ...]
    """For each of K classes the share of its images that is right, in [0, 1]; None without images."""

    step: int
    """Number of outer steps that made the images."""

    on: str | None
    """Images on which networks were tested, `heldout` or `test`; None if it is not recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """The accuracy of every class, in the order of the first run: the class with the lowest one is last.

    Raises:
        ConfigError: If there is no run, there are too many for one figure, or their classes differ.
    """

    title: ClassVar[str] = ""

    runs: Sequence[ClassAccuracy]
    """The runs, at least one."""

    class_names: tuple[str, ...]
    """One name for each class."""

    def __post_init__(self) -> None:
        if not self.runs:
            raise ConfigError("expected at least one run, got none")
        if len(self.runs) > _FEW:
            raise ConfigError(f"a figure shows the classes of at most {_FEW} runs, got {len(self.runs)}")
        if any(len(run.shares) != len(self.class_names) for run in self.runs):
            raise ConfigError("the runs have other numbers of classes; draw them one by one")

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches: one column of a paper, and as high as the classes need."""
        return 3.5, min(max(1.6, 0.7 + 0.16 * len(self.class_names)), 8.0)

    def paint(self, figure: Figure) -> None:
        """Draw a mark for every class and run."""
        axes = figure.subplots()
        order = sorted(range(len(self.class_names)), key=lambda label: -(self.runs[0].shares[label] or 0.0))
        drawn = []
        for number, run in enumerate(self.runs):
            shares = [run.shares[label] for label in order]
            rows = [row for row, share in enumerate(shares) if share is not None]
            values = [100 * share for share in shares if share is not None]
            colour = COLOURS[number]
            drawn += axes.plot(values, rows, _MARKERS[number], color=colour, markersize=4, alpha=0.8)
        axes.set(xlim=(0, 100), ylim=(len(order) - 0.5, -0.5))
        axes.set_xlabel("accuracy (%)")
        axes.grid(visible=True, axis="x")
        if len(order) <= _NAMED:
            axes.set_yticks(range(len(order)))
            axes.set_yticklabels([_short(self.class_names[label]) for label in order], fontsize=6)
            for tick in axes.get_yticklabels():
                tick.set_parse_math(False)
        else:
            axes.set_ylabel("class, by accuracy")
        if len(self.runs) > 1:
            legend(axes, drawn, labels([run.name for run in self.runs]), loc="best")

    def table(self) -> Table:
        """Return one row for every run and class."""
        rows = [
            (run.name, run.step, run.on, label, name, run.shares[label])
            for run in self.runs
            for label, name in enumerate(self.class_names)
        ]
        return Table(
            ("run", "outer_step", "tested_on", "class_number", "class_name", "accuracy_fraction"), rows
        )


def classes(paths: Sequence[Path]) -> Classes:
    """Read the accuracy of every class of runs.

    It is that of the best images on the test set if they were tested there once, else that of the evaluation
    with the highest mean.

    Args:
        paths: Folders of runs.

    Raises:
        MissingError: If a folder contains no run, or no result.
        ResultError: If no evaluation of a run has recorded it.
        CorruptError: If a file is damaged.
        ConfigError: If the runs do not fit into one figure.
    """
    names = short_names([str(path.resolve()) for path in paths])
    runs = [_read(path, name) for path, name in zip(paths, names, strict=True)]
    known = synthetic.load(files.result_file(paths[0])).origin.class_names if paths else ()
    return Classes(runs=runs, class_names=known)


def _read(path: Path, name: str) -> ClassAccuracy:
    """Return the accuracy of every class of one run."""
    found: list[tuple[int, Evaluation]] = [
        (step.step, step.accuracy) for step in metrics.read(path) if step.accuracy is not None
    ]
    tested = metrics.read_test(path)
    best = max(found, key=lambda pair: pair[1].mean, default=None)
    chosen = (tested.outer_step, tested.accuracy) if tested is not None else best
    if chosen is None or chosen[1].by_class is None:
        raise ResultError(
            f"{path}: no evaluation has recorded the accuracy of every class; run mct distill with "
            "--eval-every, or evaluate its images: mct evaluate --per-class"
        )
    step, accuracy = chosen
    assert accuracy.by_class is not None
    return ClassAccuracy(name=name, shares=tuple(accuracy.by_class), step=step, on=accuracy.on)


def _short(name: str) -> str:
    shown = display(name)
    return shown if len(shown) <= _NAME else f"{shown[: _NAME - 1]}…"

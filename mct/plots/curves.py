"""Accuracy over the outer steps of distillation runs, and their convergence points.

The data come from `metrics.jsonl` in the folder of a run (`mct.results.metrics`), which may still be in
progress.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mct.errors import ConfigError, ResultError
from mct.results import metrics
from trajfmt.plots import Table, bars, labels, legend, style
from trajfmt.storage import short_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EPSILON: Final = 0.02
"""Epsilon of the MCT paper: two percentage points, for accuracies in [0, 1]."""

_FEW: Final = 5
"""Most runs whose names are written on the figure itself."""

_WORDS: Final = {"test": "test", "heldout": "held-out"}
"""The images on which networks were tested, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The evaluations of one run, in the order of outer steps."""

    name: str
    """Name of the run in the legend."""

    steps: tuple[int, ...]
    """Number of outer steps done at each evaluation."""

    mean: tuple[float, ...]
    """Mean accuracy of each evaluation, in [0, 1]."""

    std: tuple[float | None, ...]
    """Standard deviation of the accuracy of each evaluation; None if one network was tested."""

    on: str | None = None
    """Images on which networks were tested, `heldout` or `test`; None if it is not recorded, or differs
    between evaluations."""

    done: int = 0
    """Number of outer steps done."""

    planned: int | None = None
    """Number of outer steps that the run is to do; None if that is unknown."""

    @property
    def converged(self) -> int | None:
        """The outer step of the convergence point with the epsilon of the MCT paper.

        None if there is one evaluation, which does not show that a run has converged.
        """
        return self.star()

    def star(self, epsilon: float = EPSILON) -> int | None:
        """Return the outer step of the convergence point with another epsilon; None like `converged`."""
        return convergence_point(self.steps, self.mean, epsilon) if len(self.steps) > 1 else None


def convergence_point(steps: Sequence[int], accuracies: Sequence[float], epsilon: float = EPSILON) -> int:
    """Return the first step whose accuracy is less than `epsilon` below the highest accuracy.

    This is the star in figure 3 and the number in figure 1(b) of the MCT paper, which defines it as "the
    condition where the difference between the accuracy at any iteration and the maximum accuracy is less than
    2 %". The difference is absolute, not relative to the maximum, and must be strictly less than `epsilon`.
    The accuracies of later steps do not matter. Only evaluated steps are considered.

    Args:
        steps: Numbers of outer steps, ascending, at least one.
        accuracies: Accuracy in [0, 1] at each step.
        epsilon: A number in (0, 1].

    Raises:
        ConfigError: If there is no accuracy, the lengths differ, or `epsilon` is out of range.

    Example:
        >>> convergence_point([100, 200, 300, 400], [0.30, 0.45, 0.44, 0.46])
        200
    """
    if not 0 < epsilon <= 1:
        raise ConfigError(f"`epsilon` must lie in (0, 1], got {epsilon!r}")
    if not steps or len(steps) != len(accuracies):
        raise ConfigError(f"expected one accuracy per step, got {len(accuracies)} for {len(steps)} steps")
    largest = max(accuracies)
    # 1e-12 allows for rounding: 0.30 - 0.28 is slightly less than 0.02 in floating point, but must not count.
    near = (largest - accuracy < epsilon - 1e-12 for accuracy in accuracies)
    return next(step for step, reached in zip(steps, near, strict=True) if reached)


def curve(path: Path, *, name: str | None = None) -> Curve:
    """Read the evaluations of a run.

    An incomplete last line is ignored, because the run may be writing it.

    Args:
        path: Folder of the run.
        name: Name of the run in the legend; None for the name of the folder.

    Raises:
        MissingError: If the folder contains no run.
        CorruptError: If a line is invalid.
        ResultError: If the run contains no evaluation.
    """
    steps = metrics.read(path)
    evaluations = [(step.step, step.accuracy) for step in steps if step.accuracy is not None]
    if not evaluations:
        raise ResultError(
            f"{path}: none of the {len(steps)} outer steps was evaluated; run mct distill with --eval-every"
        )
    on = {accuracy.on for _, accuracy in evaluations}
    return Curve(
        name=name or path.resolve().name,
        steps=tuple(step for step, _ in evaluations),
        mean=tuple(accuracy.mean for _, accuracy in evaluations),
        std=tuple(accuracy.std for _, accuracy in evaluations),
        on=on.pop() if len(on) == 1 else None,
        done=max(step.step for step in steps),
        planned=metrics.planned(path),
    )


def curves(paths: Sequence[Path]) -> list[Curve]:
    """Read the evaluations of several runs.

    Runs are named after their folders, with as many parent folders as are needed to distinguish them.
    """
    names = short_names([str(path.resolve()) for path in paths])
    return [curve(path, name=name) for path, name in zip(paths, names, strict=True)]


@dataclass(frozen=True, slots=True)
class Curves:
    """Accuracy over the outer steps of runs, as in figures 3(a) and 3(b) of the MCT paper.

    A line shows the mean, a band one standard deviation, and a star the convergence point.

    Raises:
        ConfigError: If there is no run.
    """

    runs: Sequence[Curve]
    """The runs, at least one."""

    epsilon: float = EPSILON
    """Epsilon of the convergence point, see `convergence_point`."""

    title: ClassVar[str] = ""

    def __post_init__(self) -> None:
        if not self.runs:
            raise ConfigError("there is nothing to draw, as no run was given")

    @property
    def size(self) -> tuple[float, float]:
        """The width and the height in inches; many runs are named beside the curves."""
        return (3.5, 2.6) if self._few else (6.0, min(max(2.8, 0.6 + 0.15 * len(self.runs)), 100.0))

    @property
    def _few(self) -> bool:
        """Whether the names of the runs fit on the figure itself."""
        return len(self.runs) <= _FEW

    def paint(self, figure: Figure) -> None:
        """Draw the runs."""
        axes = figure.subplots()
        handles, names = [], []
        mixed = {run.on for run in self.runs} not in ({"test"}, {"heldout"})
        for number, (name, run) in enumerate(
            zip(labels([run.name for run in self.runs]), self.runs, strict=True)
        ):
            look = style(number)
            mean = [100 * value for value in run.mean]
            low = [100 * (a - (b or 0.0)) for a, b in zip(run.mean, run.std, strict=True)]
            high = [100 * (a + (b or 0.0)) for a, b in zip(run.mean, run.std, strict=True)]
            handles += axes.plot(run.steps, mean, marker="." if len(mean) < 30 else "", **look)
            axes.fill_between(run.steps, low, high, color=look["color"], alpha=0.2, linewidth=0)
            star = run.star(self.epsilon)
            if star is not None:
                at = mean[run.steps.index(star)]
                mark: dict[str, Any] = {"markersize": 10, "markeredgecolor": "white", "zorder": 3}
                axes.plot([star], [at], "*", color=look["color"], **mark)
            on = f", {_WORDS.get(run.on, run.on)} images" if run.on and mixed else ""
            names.append(f"{name}: {'one evaluation' if star is None else f'★ at {star}'}{on}")
        axes.set_xlabel("outer steps")
        axes.set_ylabel("accuracy (%)" if mixed else f"accuracy on {_WORDS[str(self.runs[0].on)]} images (%)")
        axes.grid()
        beside = {} if self._few else {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
        legend(
            axes, handles, names, title=f"★ first within {100 * self.epsilon:g} points of the best", **beside
        )

    def table(self) -> Table:
        """Return the accuracy of every evaluation; the row of a star has `converged` true."""
        rows = []
        for run in self.runs:
            star = run.star(self.epsilon)
            for step, mean, std in zip(run.steps, run.mean, run.std, strict=True):
                rows.append((run.name, step, mean, std, run.on, step == star))
        names = ("run", "outer_step", "accuracy_fraction", "accuracy_std_fraction", "tested_on", "converged")
        return Table(names, rows)


@dataclass(frozen=True, slots=True)
class Convergence:
    """The outer steps to the convergence point of runs as bars, as in figure 1(b) of the MCT paper.

    Raises:
        ConfigError: If there is no run.
        ResultError: If a run has one evaluation, which shows no convergence.
    """

    runs: Sequence[Curve]
    """The runs, at least one."""

    epsilon: float = EPSILON
    """Epsilon of the convergence point, see `convergence_point`."""

    title: ClassVar[str] = ""

    def __post_init__(self) -> None:
        if not self.runs:
            raise ConfigError("there is nothing to draw, as no run was given")
        for run in self.runs:
            if run.star(self.epsilon) is None:
                raise ResultError(
                    f"{run.name} has one evaluation, which shows no convergence; run mct distill with a "
                    "smaller --eval-every"
                )

    @property
    def size(self) -> tuple[float, float]:
        """The width and the height in inches, by the number of runs."""
        return 3.5, min(0.7 + 0.25 * len(self.runs), 100.0)

    def paint(self, figure: Figure) -> None:
        """Draw one bar for each run."""
        axes = figure.subplots()
        steps = [convergence_point(run.steps, run.mean, self.epsilon) for run in self.runs]
        places = range(len(steps))
        colours = [style(number)["color"] for number in places]
        bars(axes, steps, labels([run.name for run in self.runs]), [f"{step}" for step in steps], colours)
        axes.set_xlabel("outer steps to convergence")

    def table(self) -> Table:
        """Return the convergence point of each run, and the accuracies there and at its best step."""
        rows = []
        for run in self.runs:
            step = convergence_point(run.steps, run.mean, self.epsilon)
            rows.append((run.name, step, run.mean[run.steps.index(step)], max(run.mean), run.on))
        names = ("run", "outer_steps", "accuracy_fraction", "best_accuracy_fraction", "tested_on")
        return Table(names, rows)

"""Accuracy over outer steps of one or several runs, and where each of them converged.

Reads `metrics.jsonl` of a run's folder (see `folder`), also while the run is going on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from mct.errors import ConfigError, CorruptError, MissingError, ResultError
from mct.plots import figures

METRICS: Final = "metrics.jsonl"
EPSILON: Final = 0.02
"""The paper's, of accuracies in [0, 1]: two points."""


class _Accuracy(msgspec.Struct):
    mean: float
    std: float
    on: str | None = None


class _Line(msgspec.Struct):
    step: int
    accuracy: _Accuracy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The evaluations of one run, in order."""

    name: str
    """What the legend calls it."""

    steps: tuple[int, ...]
    """Outer steps done at each evaluation."""

    mean: tuple[float, ...]
    """Mean accuracy over networks, in [0, 1]."""

    std: tuple[float, ...]
    """Its standard deviation."""

    on: str | None = None
    """What was tested on: `heldout` or `test`; None: not recorded, or not always the same."""

    @property
    def converged(self) -> int:
        """The outer step of the convergence point, for the paper's epsilon."""
        return convergence_point(self.steps, self.mean)


def convergence_point(steps: Sequence[int], accuracies: Sequence[float], epsilon: float = EPSILON) -> int:
    """Return the first step whose accuracy is less than `epsilon` below the largest of the run.

    The star of figure 3 and the number of figure 1(b) of the paper: "the condition where the difference
    between the accuracy at any iteration and the maximum accuracy is less than 2 %". Less, so exactly
    two points below has not converged; two points of accuracy, not a fiftieth of the maximum; the first
    such iteration, whatever comes after it. Only steps that were evaluated count.

    Args:
        steps: `(n,)`, n >= 1, ascending.
        accuracies: `(n,)` in [0, 1].
        epsilon: In (0, 1].

    Raises:
        ConfigError: There is no accuracy, the lengths differ, or `epsilon` is out of its range.

    Example:
        >>> convergence_point([100, 200, 300, 400], [0.30, 0.45, 0.44, 0.46])
        200
    """
    if not 0 < epsilon <= 1:
        raise ConfigError(f"`epsilon` must lie in (0, 1], got {epsilon!r}")
    if not steps or len(steps) != len(accuracies):
        raise ConfigError(f"one accuracy per step is needed, got {len(accuracies)} for {len(steps)} steps")
    largest = max(accuracies)
    # Accuracies are sums of shares: 0.30 - 0.28 is a little below 0.02 in binary, and must not count.
    near = (largest - accuracy < epsilon - 1e-12 for accuracy in accuracies)
    return next(step for step, reached in zip(steps, near, strict=True) if reached)


def curve(path: Path, *, name: str | None = None) -> Curve:
    """Read the evaluations of a run.

    A last line that is not whole is passed over: the run may be writing it.

    Args:
        path: The run's folder.
        name: For the legend; None is the folder's name.

    Raises:
        MissingError: There is no run.
        CorruptError: A line is not what a run writes.
        ResultError: The run was never evaluated.
    """
    metrics = path / METRICS
    if not metrics.is_file():
        found = f"no {METRICS} in it" if path.is_dir() else "no such folder"
        raise MissingError(f"{path}: {found}; the folder of a run is needed, what --out named")
    steps: list[int] = []
    evaluations: list[_Accuracy] = []
    whole, _, torn = metrics.read_bytes().rpartition(b"\n")
    lines = whole.split(b"\n") if whole else []
    for number, line in enumerate([*lines, torn] if torn else lines, start=1):
        try:
            facts = msgspec.json.decode(line, type=_Line)
        except msgspec.DecodeError as exc:
            if number > len(lines):
                break
            raise CorruptError(f"{metrics}: line {number} is not a step of a run: {exc}") from exc
        if facts.accuracy is not None:
            steps.append(facts.step)
            evaluations.append(facts.accuracy)
    if not evaluations:
        raise ResultError(
            f"{path}: none of its {len(lines)} outer steps was evaluated; give --eval-every to mct distill"
        )
    on = {accuracy.on for accuracy in evaluations}
    return Curve(
        name=name or path.resolve().name,
        steps=tuple(steps),
        mean=tuple(accuracy.mean for accuracy in evaluations),
        std=tuple(accuracy.std for accuracy in evaluations),
        on=on.pop() if len(on) == 1 else None,
    )


def curves(paths: Sequence[Path]) -> list[Curve]:
    """Read several runs; folders of the same name are told apart by as much of their paths as it takes."""
    parts = [path.resolve().parts for path in paths]
    depth = 1
    while len({part[-depth:] for part in parts}) < len(set(parts)):
        depth += 1
    return [curve(path, name="/".join(part[-depth:])) for path, part in zip(paths, parts, strict=True)]


def draw(runs: Sequence[Curve], *, epsilon: float = EPSILON) -> bytes:
    """Draw accuracy over outer steps: line the mean, band one deviation, star the convergence point.

    Args:
        runs: At least one.
        epsilon: See `convergence_point`.

    Returns:
        A PNG file of 900 x 560 pixels.
    """
    if not runs:
        raise ConfigError("nothing to draw: no run was given")
    drawn = figures.figure(900, 560)
    axes = drawn.add_subplot()
    handles, names = [], []
    for number, run in enumerate(runs):
        style = figures.style(number)
        mean = [100 * value for value in run.mean]
        low = [100 * (a - b) for a, b in zip(run.mean, run.std, strict=True)]
        high = [100 * (a + b) for a, b in zip(run.mean, run.std, strict=True)]
        handles += axes.plot(run.steps, mean, marker="." if len(mean) < 30 else "", **style)
        axes.fill_between(run.steps, low, high, color=style["color"], alpha=0.2, linewidth=0)
        star = convergence_point(run.steps, run.mean, epsilon)
        at = mean[run.steps.index(star)]
        axes.plot([star], [at], "*", color=style["color"], markersize=16, markeredgecolor="white", zorder=3)
        names.append(f"{run.name}: {star} steps" + ("" if run.on is None else f" ({run.on})"))
    axes.set_xlabel("outer steps")
    axes.set_ylabel("accuracy (%)")
    axes.grid(alpha=0.3)
    figures.legend(axes, handles, names, title=f"star: first within {100 * epsilon:g} points of the best")
    return figures.png(drawn)

"""The section of a page that compares several runs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from mct.reports.run import Described
from mct.reports.sections import best, network, series_of
from trajfmt.errors import counted
from trajfmt.pages import (
    Markup,
    Series,
    brief,
    element,
    fact,
    figure,
    figures,
    group,
    lines,
    note,
    number,
    seconds,
    table,
)

_ROWS: Final = 100
"""Runs in a table at most."""


def content(runs: Sequence[Described], names: Sequence[str]) -> Markup:
    """Return the content of the section.

    Args:
        runs: The runs.
        names: A short name for each.
    """
    more = len(runs) - _ROWS
    left = note(f"{counted(more, 'more run')}: see the JSON report.") if more > 0 else None
    return group(_numbers(runs, names), left, _charts(runs, names), _settings(runs, names))


def _numbers(runs: Sequence[Described], names: Sequence[str]) -> Markup:
    rows = []
    for name, run in list(zip(names, runs, strict=True))[:_ROWS]:
        facts = run.facts
        rows.append(
            (
                name,
                brief(facts.dataset, 40),
                f"{facts.settings['ipc'].value:,}",
                network(facts),
                f"{facts.steps_done:,}",
                number(facts.loss.mean[-1] if facts.loss.mean else None),
                best(facts),
                "-" if facts.converged is None else f"{facts.converged:,}",
                "-" if facts.step_seconds is None else seconds(facts.step_seconds),
                element("code", {}, facts.bundle_sha256[:12]),
            )
        )
    head = (
        "run",
        "data set",
        "ipc",
        "network",
        "steps",
        "loss",
        "best accuracy",
        "converged",
        "step",
        "bundle",
    )
    remark = (
        "ipc: images per class; loss: the last one, or the mean of the last steps; converged: the first step "
        "within 2 points of the best; step: median time of an outer step; bundle: start of its sha256."
    )
    made = table("Results", head, rows, numeric=(2, 4, 5, 6, 7, 8))
    return group(made, element("p", {"class": "remark"}, remark))


def _charts(runs: Sequence[Described], names: Sequence[str]) -> Markup:
    losses, found = [], []
    for name, run in zip(names, runs, strict=True):
        facts = run.facts
        if facts.loss.steps:
            one = series_of(brief(name, 40), facts.loss)
            losses.append(Series(one.name, one.x, one.y))
        if facts.evaluations:
            own = facts.evaluations
            found.append(
                Series(
                    brief(name, 40),
                    [float(e.step) for e in own],
                    [e.mean for e in own],
                    [e.mean - e.std for e in own],
                    [e.mean + e.std for e in own],
                )
            )
    loss = lines("Loss of each run", losses, x="outer step", y="loss", named=True) if losses else None
    accuracy = (
        lines("Accuracy of each run", found, x="outer step", y="accuracy", percent=True, named=True)
        if found
        else None
    )
    return figures(
        figure("Matching loss", loss, "The loss of eq. 2 before each update.") if loss else None,
        figure("Accuracy", accuracy, "Mean and standard deviation of the evaluations.") if accuracy else None,
    )


def _settings(runs: Sequence[Described], names: Sequence[str]) -> Markup:
    stated = [_stated(run) for run in runs]
    titles = list(dict.fromkeys(title for facts in stated for title in facts))
    values = {title: [fact(facts.get(title, "unknown")) for facts in stated] for title in titles}
    differing = [
        title for title in titles if any(facts.get(title) != stated[0].get(title) for facts in stated[1:])
    ]
    if not differing:
        return note("The runs agree in all settings of the distillation and of the evaluations.")
    rows = [(name, *(values[title][n] for title in differing)) for n, name in enumerate(names[:_ROWS])]
    return table("Settings that differ", ("run", *differing), rows)


def _stated(run: Described) -> dict[str, Any]:
    """Return the settings of the distillation and of the evaluations by name."""
    evaluation = {} if run.facts.evaluation is None else asdict(run.facts.evaluation)
    own = {title: setting.value for title, setting in run.facts.settings.items()}
    return own | {f"evaluation: {title}": value for title, value in evaluation.items()}

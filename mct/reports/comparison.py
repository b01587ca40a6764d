"""The section of a page that compares several runs."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

from mct.reports.run import Described, RunReport
from mct.reports.sections import accuracy, accuracy_series, best, held, network, series_of, tested_on
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


_ACCURACIES: Final[Sequence[tuple[str, str, Callable[[RunReport], str]]]] = (
    (
        "held-out accuracy",
        "the highest of the evaluations on held-out training images",
        lambda facts: accuracy(best(facts, "heldout")),
    ),
    (
        "test accuracy",
        "that of the images with the highest held-out accuracy, measured once on the test set",
        lambda facts: accuracy(facts.tested),
    ),
    (
        "best test accuracy",
        "the highest of the evaluations on the test set, which chose the images and is therefore better than "
        "what a user can expect",
        lambda facts: accuracy(best(facts, "test")),
    ),
    (
        "accuracy",
        "the highest of the evaluations on images that are not recorded",
        lambda facts: accuracy(best(facts, None)),
    ),
)
"""Columns of accuracies that must not be compared with each other: title, meaning, and text of a run."""


def _per_class(facts: RunReport) -> str:
    """Return the images per class of a run, and those of earlier stages, with which it is evaluated."""
    earlier = sum(stage.images for stage in facts.stages) // len(facts.class_names)
    return f"{facts.settings['ipc'].value:,}" + (f" + {earlier:,}" if earlier else "")


def _numbers(runs: Sequence[Described], names: Sequence[str]) -> Markup:
    columns = [column for column in _ACCURACIES if any(column[2](run.facts) != "-" for run in runs)]
    rows = []
    for name, run in list(zip(names, runs, strict=True))[:_ROWS]:
        facts = run.facts
        rows.append(
            (
                name,
                brief(facts.dataset, 40),
                _per_class(facts),
                network(facts),
                f"{facts.steps_done:,}",
                number(facts.loss.mean[-1] if facts.loss.mean else None),
                *(text(facts) for _, _, text in columns),
                "-" if facts.converged is None else f"{facts.converged:,}",
                "-" if facts.step_seconds is None else seconds(facts.step_seconds),
                element("code", {}, facts.bundle_sha256[:8]) if facts.bundle_sha256 else "none",
            )
        )
    titles = [title for title, _, _ in columns]
    head = ("run", "data set", "ipc", "network", "steps", "loss", *titles, "converged", "step", "bundle")
    remark = "; ".join(
        (
            "ipc: images per class, after a plus those of earlier stages",
            "loss: the last one, or the mean of the last steps",
            *(f"{title}: {meaning}" for title, meaning, _ in columns),
            "converged: the first step within 2 points of the best",
            "step: median time of an outer step",
            "bundle: start of its sha256.",
        )
    )
    made = table("Results", head, rows, numeric=(2, *range(4, len(head) - 1)))
    return group(made, element("p", {"class": "remark"}, remark))


def _charts(runs: Sequence[Described], names: Sequence[str]) -> Markup:
    losses = []
    for name, run in zip(names, runs, strict=True):
        if run.facts.loss.steps:
            one = series_of(brief(name, 40), run.facts.loss)
            losses.append(Series(one.name, one.x, one.y))
    loss = lines("Loss of each run", losses, x="outer step", y="loss", named=True) if losses else None
    found = [_accuracy(runs, names, on) for on in tested_on(run.facts for run in runs)]
    return figures(
        figure(
            "Matching loss", loss, "The loss before each update: that of eq. 2, unless a method has another."
        )
        if loss
        else None,
        *found,
    )


def _accuracy(runs: Sequence[Described], names: Sequence[str], on: str | None) -> Markup:
    """Return the chart of one set of images. A run keeps its colour also where others were not evaluated."""
    title = f"Accuracy on {held(on)}"
    series = [
        accuracy_series(brief(name, 40) + ("" if best(run.facts, on) else ": none"), run.facts, on)
        for name, run in zip(names, runs, strict=True)
    ]
    chart = lines(f"{title}, of each run", series, x="outer step", y="accuracy", percent=True, named=True)
    return figure(title, chart, "Mean of each evaluation, and its standard deviation over several networks.")


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

"""The sections of one run on a page: summary, images, curves, settings, times and the bundle."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from mct.reports.curves import Curve
from mct.reports.run import Described, Evaluated, RunReport
from trajfmt.errors import counted
from trajfmt.pages import (
    Markup,
    Series,
    bar,
    brief,
    element,
    fact,
    figure,
    figures,
    group,
    lines,
    note,
    number,
    percent,
    picture,
    seconds,
    table,
    tiles,
)

_HELD: Final[dict[str | None, str]] = {"heldout": "held-out training images", "test": "the test set"}

EVALUATION: Final = "evaluate"
"""The part of the time that evaluations take, which the time of an outer step does not contain."""

NOT_EVALUATED: Final = (
    "The run was not evaluated: run mct distill with --eval-every, or mct evaluate on the result."
)


def held(on: str | None) -> str:
    """Return the images on which an evaluation tested, in words."""
    return _HELD.get(on, "images of an unknown set")


def accuracy(one: Evaluated | None) -> str:
    """Return an accuracy with its standard deviation, if there is one; `-` for None."""
    if one is None:
        return "-"
    return percent(one.mean) + ("" if one.std is None else f" ± {percent(one.std)}")


def best(facts: RunReport, on: str | None) -> Evaluated | None:
    """Return the evaluation with the highest accuracy on one set of images; None if there is none."""
    own = (one for one in facts.evaluations if one.on == on)
    return max(own, key=lambda one: one.mean, default=None)


def tested_on(runs: Iterable[RunReport]) -> list[str | None]:
    """Return the sets of images on which the evaluations of runs tested, each once."""
    return list(dict.fromkeys(one.on for facts in runs for one in facts.evaluations))


def _refused(facts: RunReport) -> str:
    """Return how many outer steps changed nothing, after a semicolon; empty if all changed something."""
    return f"; {facts.steps_refused:,} changed nothing (`loss_threshold`)" if facts.steps_refused else ""


def network(facts: RunReport) -> str:
    """Return the network in words."""
    model = facts.model
    size = f"D{model.depth}W{model.width}" if model.family == "ConvNet" else ""
    return f"{model.family}{size}" if model.factory is None else brief(model.factory, 60)


def _network(facts: RunReport) -> tuple[str, str]:
    """Return the family of the network, and a remark with its size and the preprocessing."""
    model, done = facts.model, f"preprocessing: {facts.preprocessing.kind}"
    if model.family == "ConvNet":
        done = f"depth {model.depth}, width {model.width}; {done}"
    return (model.family if model.factory is None else brief(model.factory, 60)), done


def _stages(facts: RunReport) -> str:
    """Return what a run does with the images of earlier stages."""
    count = counted(sum(stage.images for stage in facts.stages), "image")
    if facts.settings["earlier_images"].value == "apart":
        return f"beside {count} of earlier stages, from which the student does not learn"
    return f"beside {count} of earlier stages, from which the student learns, too"


def summary(run: Described) -> Markup:
    """Return the most important facts."""
    facts = run.facts
    ipc, steps = facts.settings["ipc"].value, facts.settings["outer_steps"].value
    where = facts.hardware or facts.device
    rows: list[tuple[str, str, str | None]] = [
        ("Data set", brief(facts.dataset, 60), f"{counted(len(facts.class_names), 'class')}"),
        ("Images per class", f"{ipc:,}", f"{counted(ipc * len(facts.class_names), 'image')} in all"),
        (
            "Outer steps",
            f"{facts.steps_done:,}",
            ("all done" if facts.steps_done >= steps else f"of {steps:,}") + _refused(facts),
        ),
    ]
    if facts.stages:
        rows.insert(2, ("Stage", f"{len(facts.stages) + 1}", _stages(facts)))
    for on in tested_on([facts]):
        rows.append(("Best accuracy", accuracy(best(facts, on)), f"of the evaluations, on {held(on)}"))
    if facts.tested is not None:
        rows.append(("Test accuracy", accuracy(facts.tested), "of the best images, measured once"))
    rows += [
        ("Network", *_network(facts)),
        ("Time", seconds(facts.total_seconds), f"of the outer steps, on {brief(where, 60)}"),
    ]
    return group(tiles(rows), None if facts.evaluations else note(NOT_EVALUATED))


def images(run: Described) -> Markup:
    """Return the images, class by class."""
    facts = run.facts.images
    if facts is None:
        return note("No result has been saved yet; the first is written after --save-every outer steps.")
    total = {picture.label: picture.images for picture in run.pictures}
    classes, ipc = len(run.facts.class_names), facts.count // len(run.facts.class_names)
    shown = []
    for one in run.pictures:
        name = brief(run.facts.class_names[one.label], 40)
        alt = f"{counted(one.images, 'image')} of class {name}"
        shown.append(
            element(
                "figure",
                {},
                picture(one.png, alt, width=one.width, height=one.height),
                element("figcaption", {}, name),
            )
        )
    wide = max((one.images for one in run.pictures), default=1)
    kind = "gallery" if wide == 1 else "gallery rows"
    parts = [f"Made by {counted(facts.outer_step, 'outer step')}, from {facts.file}, without preprocessing."]
    if wide < ipc:
        parts.append(f"Of {ipc:,} images of each class, the first {wide} are shown.")
    if len(total) < classes:
        parts.append(f"Of {classes:,} classes, {len(total)} are shown, evenly spread.")
    if max(facts.shape[1:]) > 96:
        parts.append(f"They are shown at a lower resolution than their {facts.shape[1]} × {facts.shape[2]}.")
    parts.append(f"Networks train on them with the learning rate {number(facts.learning_rate)}.")
    return group(element("p", {}, " ".join(parts)), element("div", {"class": kind}, *shown))


def curves(run: Described) -> Markup:
    """Return loss, learning rate, accuracy and time over the outer steps."""
    facts = run.facts
    if not facts.loss.steps:
        return note("No outer step is recorded yet.")
    return figures(
        _figure(
            "Matching loss",
            "loss",
            facts.loss,
            "The loss before each update: that of eq. 2, unless the method has another.",
        ),
        *[_accuracy(facts, on) for on in tested_on([facts])],
        None if facts.evaluations else figure("Accuracy", note(NOT_EVALUATED)),
        _figure("Synthetic learning rate", "learning rate", facts.learning_rate, "After each update."),
        _figure(
            "Time of an outer step",
            "seconds",
            facts.seconds,
            "Wall time, without the evaluations.",
            zero=True,
        ),
    )


def series_of(name: str, curve: Curve) -> Series:
    """Return a curve as a line, with its range if several steps share a point."""
    ranged = curve.low != curve.high
    return Series(name, curve.steps, curve.mean, *((curve.low, curve.high) if ranged else ()))


def _figure(title: str, unit: str, curve: Curve, caption: str, *, zero: bool = False) -> Markup:
    chart = lines(f"{title} over outer steps", [series_of(title, curve)], x="outer step", y=unit, zero=zero)
    if curve.low != curve.high:
        caption += " Several steps share a point; the band is their range."
    return figure(title, chart, caption)


def accuracy_series(name: str, facts: RunReport, on: str | None) -> Series:
    """Return the accuracies on one set of images as a line, with a band of one standard deviation."""
    found = [one for one in facts.evaluations if one.on == on]
    low, high = ([one.mean + sign * (one.std or 0.0) for one in found] for sign in (-1, 1))
    banded = any(one.std is not None for one in found)
    steps, means = [float(one.step) for one in found], [one.mean for one in found]
    return Series(name, steps, means, *((low, high) if banded else ()))


def _accuracy(facts: RunReport, on: str | None) -> Markup:
    title = f"Accuracy on {held(on)}"
    chart = lines(
        f"{title} over outer steps",
        [accuracy_series("accuracy", facts, on)],
        x="outer step",
        y="accuracy",
        percent=True,
        marks=[] if facts.converged is None else [float(facts.converged)],
    )
    caption = "The accuracy of fresh networks."
    if facts.evaluation is not None:
        count = facts.evaluation.networks
        caption = f"Mean and standard deviation of {counted(count, 'network')}."
        if count == 1:
            caption = "The accuracy of one network."
    if facts.converged is not None:
        caption += (
            f" The dotted line is the point of convergence, step {facts.converged:,}: the first within 2 "
            "points of the best."
        )
    if facts.tested is not None:
        caption += (
            f" The best images, those of step {facts.tested.step:,}, were then tested once on the test set: "
            f"{accuracy(facts.tested)}."
        )
    return figure(title, chart, caption)


def settings(run: Described) -> Markup:
    """Return the settings, and where each is from."""
    facts = run.facts
    rows = [(name, fact(one.value), brief(one.known, 80)) for name, one in facts.settings.items()]
    made = table("Settings of the distillation", ("setting", "value", "from"), rows)
    remark = element(
        "p",
        {"class": "remark"},
        "A run records its settings, but not who chose them. What this version of mct would choose is "
        "attributed to it. Other values were given: by an option, by naming a preset, or by a method.",
    )
    changed = None
    if facts.changes:
        lines_of = [
            (one.setting, f"{one.step:,}", number(one.before), number(one.after)) for one in facts.changes
        ]
        changed = table(
            "Changed when the run was resumed", ("setting", "after step", "before", "since"), lines_of
        )
    evaluation = None
    if facts.evaluation is not None:
        own: dict[str, Any] = msgspec.to_builtins(facts.evaluation)
        pairs = [(name, fact(value)) for name, value in own.items()]
        evaluation = table("Settings of the evaluations", ("setting", "value"), pairs)
    return group(made, remark, changed, evaluation)


def times(run: Described) -> Markup:
    """Return the times by part, and what they were measured on."""
    facts = run.facts
    most = max(facts.parts.values(), default=0.0) or 1.0
    total = facts.total_seconds + facts.parts.get(EVALUATION, 0.0) or 1.0
    rows = [
        (brief(name, 60), bar(spent / most), seconds(spent), percent(spent / total))
        for name, spent in list(facts.parts.items())[:20]
    ]
    head = ("part", "", "time", "of all")
    parts = (
        table("Time of the outer steps and evaluations, by part", head, rows, numeric=(2, 3), wide=(1,))
        if rows
        else None
    )
    step = "unknown" if facts.step_seconds is None else seconds(facts.step_seconds)
    memory = "unknown" if facts.peak_memory_mb is None else f"{facts.peak_memory_mb:,.0f} MiB"
    machine = [
        ("device", brief(facts.device)),
        ("hardware", brief(facts.hardware or "not recorded")),
        ("peak memory", memory),
        ("device busy", percent(facts.utilisation)),
        ("median time of an outer step", step),
        *((f"version of {brief(name, 40)}", brief(version, 60)) for name, version in facts.versions.items()),
    ]
    return group(parts, table("Machine and versions", ("fact", "value"), machine))


def bundle(run: Described) -> Markup:
    """Return the bundle of trajectories, and the preprocessing of the images."""
    facts = run.facts
    several = len(facts.bundle_hashes) > 1
    beside = f"{len(facts.bundle_hashes)} bundles" if several else "none beside the run has this hash"
    if not facts.bundle_hashes:
        beside = "none: the method needs no trajectories"
    if facts.bundle is not None:
        beside = f"{brief(facts.bundle)}, beside the run: its manifest has this hash"
    hashes = [
        (
            f"sha256 of manifest {number}" if several else "sha256 of the manifest",
            element("code", {}, brief(one)),
        )
        for number, one in enumerate(facts.bundle_hashes, start=1)
    ]
    model: dict[str, Any] = msgspec.to_builtins(facts.model)
    done: dict[str, Any] = msgspec.to_builtins(facts.preprocessing)
    rows = [
        *hashes,
        ("bundle", beside),
        ("network", fact(model)),
        ("preprocessing", fact(done)),
    ]
    return table("The trajectories that were matched", ("fact", "value"), rows)

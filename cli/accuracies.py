"""Show the accuracies of distilled images and of the baseline, over a run, and along a trajectory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING

from trajfmt.errors import counted

from . import lines, progress

if TYPE_CHECKING:
    from mct.evaluation.comparison import Comparison
    from mct.events import Accuracy, ArchitectureTested, NetworkTrained
    from mct.plots.along import Along, Point
    from mct.plots.curves import Curve
    from mct.results.origin import Selection

__all__ = ["along", "convergence", "evaluated", "evaluation", "mean_and_std", "tested"]


def evaluation(
    comparison: Comparison,
    *,
    baseline: bool,
    cross: Sequence[str],
    as_json: bool,
    note: str | None,
    soft: Callable[[], Accuracy] | None = None,
    per_class: bool = False,
) -> None:
    """Run an evaluation, show its progress, and print the accuracies.

    Args:
        comparison: the evaluation.
        baseline: also evaluate random real images.
        cross: names of architectures to evaluate with as well.
        as_json: print JSON.
        note: printed when the first network has been trained.
        soft: evaluates random real images with a teacher's labels; None: there is no teacher.
        per_class: also print the accuracy of every class; JSON has it always.
    """
    networks = comparison.config.networks
    if baseline:
        comparison.check_baseline()  # before anything is trained
    architectures = comparison.cross(cross)  # fails now if a network cannot be built
    distilled = tested("distilled", networks, progress.noted(comparison.distilled(), note))
    real = (
        tested("random real", networks * len(comparison.rates), comparison.baseline()) if baseline else None
    )
    taught = None if soft is None else soft()
    others = _cross(architectures, len(cross) * networks) if cross else {}
    if comparison.ranks.rank:
        return
    if as_json:
        facts = {
            **evaluated(comparison),
            "config": dataclasses.asdict(comparison.config),
            "distilled": dataclasses.asdict(distilled),
            "random_real": None if real is None else dataclasses.asdict(real),
            "random_real_soft": None if taught is None else dataclasses.asdict(taught),
            "cross": {name: dataclasses.asdict(accuracy) for name, accuracy in others.items()},
        }
        lines.record(facts)
        return
    ipc, rate = comparison.synthetic.ipc, distilled.learning_rate
    each = "images" if ipc is None else f"{'image' if ipc == 1 else 'images'} per class"
    images = f"{ipc or len(comparison.synthetic.labels)} {each}, {counted(networks, 'fresh network')}"
    protocol = comparison.config.protocol
    images += "" if protocol == "mtt" else f", protocol {protocol}"
    lines.say(f"test accuracy on {comparison.synthetic.origin.dataset}: {images}")
    whose = "learned" if _learned(comparison) else "not learned"
    if comparison.own_rate is not None:
        whose = "that of the protocol"
    elif comparison.given_rate:
        whose = "given"
    lines.say(f"  distilled     {mean_and_std(distilled, 6)}  ({_rates(comparison, rate)}, {whose})")
    labels = "" if comparison.synthetic.soft_labels is None else "hard labels, "
    best = f", best of {len(comparison.rates)}" if len(comparison.rates) > 1 else ""
    for random, kind in ((real, labels), (taught, "a teacher's labels, ")):
        if random is not None:
            lines.say(
                f"  random real   {mean_and_std(random, 6)}  ({kind}learning rate "
                f"{random.learning_rate:.2g}{best})"
            )
            lines.say(f"  gain          {100 * (distilled.mean - random.mean):+5.1f} points")
    for name, accuracy in others.items():
        lines.say(f"  {name:<13} {mean_and_std(accuracy, 6)}")
    if per_class:
        _classes(comparison.synthetic.origin.class_names, distilled, real)


def _classes(names: Sequence[str], distilled: Accuracy, real: Accuracy | None) -> None:
    """Print the accuracy of every class, of the distilled and of random real images."""
    from trajfmt.errors import display

    from . import tables

    table = tables.listing()
    columns = {"distilled": distilled, **({} if real is None else {"random real": real})}
    table.add_column("class")
    for title in columns:
        table.add_column(title, justify="right")
    for label, name in enumerate(names):
        shares = [found.by_class[label] if found.by_class else None for found in columns.values()]
        table.add_row(display(name), *("-" if share is None else f"{share:.1%}" for share in shares))
    tables.show(table)


def _rates(comparison: Comparison, rate: float) -> str:
    """Return the learning rate of the training, or those of its stages."""
    stages = comparison.synthetic.stages
    if comparison.config.protocol != "sequence" or not stages:
        return f"learning rate {rate:.2g}"
    rates = ", ".join(f"{stage.learning_rate:.2g}" for stage in stages)
    return f"{len(stages)} stages with learning rates {rates}"


def _learned(comparison: Comparison) -> bool:
    """Return whether the learning rate of the images was learned, as far as their origin says."""
    from mct.results.origin import Origin

    origin = comparison.synthetic.origin
    if not isinstance(origin, Origin):
        return True
    fixed = origin.config.lr_lr == 0 and "learning_rate" not in origin.updates
    return origin.config.condensation is None and not fixed


def evaluated(comparison: Comparison) -> dict[str, object]:
    """Return what was evaluated, for JSON: the images, their files, and the network trained on them."""
    from mct.results.origin import Origin
    from trajfmt.schema.models import model_name

    synthetic = comparison.synthetic
    ours = synthetic.origin if isinstance(synthetic.origin, Origin) else None
    selected = None if ours is None or ours.selected is None else dataclasses.asdict(ours.selected)
    return {
        "dataset": synthetic.origin.dataset,
        "ipc": synthetic.ipc,
        "images": len(synthetic.labels),
        "model": model_name(comparison.model),
        "files": [dataclasses.asdict(file) for file in comparison.files],
        "outer_step": None if ours is None else ours.outer_step,
        "selected": selected,
        "stages": [
            {"images": len(stage.rows), "learning_rate": stage.learning_rate} for stage in synthetic.stages
        ],
    }


def _cross(events: Iterator[NetworkTrained | ArchitectureTested], total: int) -> dict[str, Accuracy]:
    """Evaluate `total` networks of other architectures, and return the accuracies by name."""
    from mct.events import ArchitectureTested

    found = {}
    with progress.counted("other architectures", total, "network") as meter:
        for event in events:
            if isinstance(event, ArchitectureTested):
                found[event.model] = event.accuracy
            else:
                meter.advance(note=f"accuracy {event.accuracy:.1%}")
    return found


def convergence(runs: list[Curve]) -> None:
    """Print the outer step at which each run converged."""
    for run in runs:
        best = max(run.mean)
        if run.converged is None:
            lines.remark(
                f"{run.name}: one evaluation, at step {run.steps[0]} ({best:.1%}), shows no convergence"
            )
            continue
        at = run.steps.index(run.converged)
        late = ", its last evaluation, after which it may still have improved" * (at == len(run.steps) - 1)
        left = ""
        if run.planned is not None and run.done < run.planned:
            left = f"; the run has done {run.done} of {counted(run.planned, 'outer step')}"
        reached = f"{run.name}: converged at step {run.converged} ({run.mean[at]:.1%}){late}"
        lines.remark(f"{reached}, best {best:.1%}{left}")


def along(events: Generator[Point, None, Along]) -> Along:
    """Test the networks along a trajectory, and show progress."""
    with progress.counted("along the trajectory", 0, "network") as meter:

        def show(point: Point) -> None:
            note = f"t = {point.time:g}, accuracy {point.accuracy:.1%}"
            meter.update(point.number, total=point.total, note=note)

        return progress.result(events, show)


def tested(what: str, total: int, events: Generator[NetworkTrained, None, Accuracy]) -> Accuracy:
    """Test `total` networks, show progress, and return their accuracy."""
    with progress.counted(what, total, "network") as meter:
        return progress.result(events, lambda network: meter.advance(note=f"accuracy {network.accuracy:.1%}"))


def mean_and_std(accuracy: Accuracy | Selection, width: int = 0) -> str:
    """Return an accuracy as `mean ± standard deviation` in percent, the mean padded to `width` columns.

    One network has no deviation.
    """
    mean = f"{accuracy.mean:{width}.1%}"
    return mean if accuracy.std is None else f"{mean} ± {accuracy.std:.1%}"

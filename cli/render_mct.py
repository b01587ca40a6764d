"""What the `mct` commands show: progress on stderr where it is a terminal, results on stdout."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from . import failures, torchrun

if TYPE_CHECKING:
    from mct.comparison import Comparison
    from mct.config import EvaluateConfig
    from mct.distill import Distiller
    from mct.events import Accuracy, ArchitectureTested, NetworkTrained
    from mct.experts import ExpertRun
    from mct.folder import RunFolder
    from mct.plots.along import Along, Point
    from mct.plots.curves import Curve
    from mct.synthetic import Selection

Event = TypeVar("Event")


class Notes:
    """Prints notes on stderr, each once; only the first of several processes."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def __call__(self, line: str) -> None:
        """Print a line that was not printed before."""
        if line not in self._told and not torchrun.rank():
            click.echo(f"note: {failures.line_of(line)}", err=True)
        self._told.add(line)


@contextlib.contextmanager
def _progress(what: str, total: int, done: int = 0) -> Iterator[tuple[Progress, TaskID]]:
    """Show a bar on stderr, if that is a terminal, and this the first of several processes."""
    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=bool(torchrun.rank()) or not console.is_terminal) as bar:
        yield bar, bar.add_task(what, total=total, completed=done, note="")


def experts(run: ExpertRun) -> None:
    """Train, show progress, and print where the trajectories are."""
    from mct.events import ExpertDone, ExpertsFound

    accuracies, found, epochs = [], 0, run.config.epochs
    events = run.events()
    try:
        with (
            _progress("experts", run.config.experts * epochs) as (bar, task),
            contextlib.closing(events),
        ):
            for event in events:
                if isinstance(event, ExpertDone):
                    accuracies.append(event.accuracy)
                    at_least = (found + len(accuracies)) * epochs  # other processes' epochs are not seen
                    bar.update(task, note=f"test accuracy {event.accuracy:.1%}")
                    bar.update(task, completed=max(at_least, int(bar.tasks[task].completed)))
                elif isinstance(event, ExpertsFound):
                    found = event.count
                    bar.update(task, completed=found * epochs)
                    click.echo(f"{found} finished experts of an interrupted run taken over", err=True)
                else:
                    bar.advance(task)
    except KeyboardInterrupt as exc:
        kept = found + len(accuracies)
        left = f"{kept} finished experts are kept, the same command continues"
        why = str(exc) or "interrupted"
        raise KeyboardInterrupt(f"{why}; {left if kept else 'no expert was finished'}") from None
    if run.ranks.rank:
        return
    if accuracies:
        mean = sum(accuracies) / len(accuracies)
        click.echo(f"{len(accuracies)} experts trained, mean test accuracy {mean:.1%}", err=True)
    click.echo(str(run.path))


def distillation(
    distiller: Distiller, folder: RunFolder, *, resume: bool, evaluation: EvaluateConfig | None
) -> None:
    """Distil, show progress, and print where the result is; on Ctrl-C say how to go on."""
    from mct.distill import distill
    from mct.errors import DivergedError, RankError
    from mct.events import Note, OuterStep

    config, notes = distiller.config, Notes()
    events = distill(distiller, folder, resume=resume, evaluation=evaluation)
    if distiller.ranks.rank != 0:
        try:
            for _ in events:
                pass
        except DivergedError as exc:  # all processes meet it, and the first says it
            raise RankError(str(exc)) from None
        return
    try:
        with _progress("distill", config.outer_steps) as (bar, task), contextlib.closing(events):
            for event in events:
                if isinstance(event, Note):
                    notes(event.line)
                    continue
                note = ""
                if isinstance(event, OuterStep):
                    note = f"loss {event.loss:.3f}, learning rate {event.learning_rate:.2g}"
                if event.accuracy is not None:
                    found = _accuracy(event.accuracy).strip()
                    bar.console.print(f"step {event.step}: accuracy {found} on {_on(event.accuracy)}")
                bar.update(task, completed=event.step, note=note)
    except KeyboardInterrupt as exc:
        if not folder.state.is_file():
            raise
        words = (word for word in sys.argv[1:] if word != "--resume")
        again = shlex.join([*torchrun.program(), *words, "--resume"])
        raise KeyboardInterrupt(
            f"{str(exc) or 'interrupted'}; {folder.state} holds the state; continue with: {again}"
        ) from None


def chosen(folder: RunFolder, best: Selection | None, comparison: Comparison | None) -> None:
    """Say what the result is, and how good: on the test set once, where the choice was made elsewhere."""
    if comparison is not None:
        accuracy = _drain("test", comparison.config.networks, comparison.distilled())
        step = comparison.synthetic.run.outer_step
        click.echo(f"best images: step {step}; test accuracy, once: {_accuracy(accuracy).strip()}", err=True)
    elif best is not None:
        click.echo(
            f"best accuracy {_accuracy(best).strip()}: the maximum over evaluations on the test set, as "
            "published numbers are; it is better than what a user can expect",
            err=True,
        )
    click.echo(str(folder.result if best is None else folder.best))


def _on(accuracy: Accuracy) -> str:
    return {"heldout": "held-out training images", "test": "the test set"}[accuracy.on]


def evaluation(comparison: Comparison, *, baseline: bool, cross: bool, as_json: bool) -> None:
    """Evaluate, show progress, and print the accuracies."""
    networks = comparison.config.networks
    architectures = comparison.cross() if cross else iter(())  # refuses what cannot be built before any work
    distilled = _drain("distilled", networks, comparison.distilled())
    real = (
        _drain("random real", networks * len(comparison.rates), comparison.baseline()) if baseline else None
    )
    others = _cross(architectures, networks) if cross else {}
    if comparison.ranks.rank:
        return
    if as_json:
        facts = {
            "dataset": comparison.synthetic.origin.dataset,
            "ipc": comparison.synthetic.ipc,
            "images": len(comparison.synthetic.labels),
            "config": dataclasses.asdict(comparison.config),
            "distilled": dataclasses.asdict(distilled),
            "random_real": None if real is None else dataclasses.asdict(real),
            "cross": {name: dataclasses.asdict(accuracy) for name, accuracy in others.items()},
        }
        click.echo(json.dumps(facts, sort_keys=True))
        return
    ipc, rate = comparison.synthetic.ipc, distilled.learning_rate
    each = "images" if ipc is None else f"{'image' if ipc == 1 else 'images'} per class"
    images = f"{ipc or len(comparison.synthetic.labels)} {each}, {networks} fresh networks"
    click.echo(f"test accuracy on {comparison.synthetic.origin.dataset}: {images}")
    whose = "given" if comparison.given_rate else "learned"
    click.echo(f"  distilled     {_accuracy(distilled)}  (learning rate {rate:.2g}, {whose})")
    if real is not None:
        click.echo(
            f"  random real   {_accuracy(real)}  (learning rate {real.learning_rate:.2g}, "
            f"best of {len(comparison.rates)})"
        )
        click.echo(f"  gain          {100 * (distilled.mean - real.mean):+5.1f} points")
    for name, accuracy in others.items():
        click.echo(f"  {name:<13} {_accuracy(accuracy)}")


def _cross(events: Iterator[NetworkTrained | ArchitectureTested], networks: int) -> dict[str, Accuracy]:
    """Evaluate the other architectures."""
    from mct.comparison import CROSS
    from mct.events import ArchitectureTested

    found = {}
    with _progress("other architectures", len(CROSS) * networks) as (bar, task):
        for event in events:
            if isinstance(event, ArchitectureTested):
                found[event.model] = event.accuracy
            else:
                bar.update(task, advance=1, note=f"accuracy {event.accuracy:.1%}")
    return found


def presets(dataset: str | None, *, as_json: bool) -> None:
    """Print the table of presets."""
    from rich.table import Table

    from mct import presets as published

    chosen = [
        row for row in published.rows() if dataset is None or str(row["dataset"]).lower() == dataset.lower()
    ]
    if not chosen:
        known = sorted({str(row["dataset"]) for row in published.rows()})
        failures.fail(f"no presets for {dataset}; there are some for {', '.join(known)}", 2)
    if as_json:
        for row in chosen:
            click.echo(json.dumps(row, sort_keys=True))
        return
    console = Console(width=None if sys.stdout.isatty() else 200)
    names = {
        "name": "name", "model": "model", "knots": "knots", "inner_steps": "N", "expert_steps": "M",
        "max_start": "max start", "lr_img": "lr img", "lr_lr": "lr lr", "lr_init": "lr init",
        "batch_syn": "batch syn", "accuracy": "published",
    }  # fmt: skip
    table = Table(box=None, pad_edge=False)
    for key, title in names.items():
        table.add_column(title, justify="left" if key in ("name", "model") else "right", no_wrap=True)
    for row in chosen:
        table.add_row(*(_cell(row[key]) for key in names))
    console.print(table)
    console.print()
    for row in chosen:
        console.print(f"{row['name']}: {row['source']}", highlight=False, markup=False)
    console.print()
    for remark in published.REMARKS:
        console.print(remark, highlight=False, markup=False)


def _cell(value: object) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, list):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def picture(path: Path, data: bytes) -> None:
    """Write a PNG and print where it is."""
    from mct.tensorfile import write_atomically

    write_atomically(path, data)
    click.echo(str(path))


def convergence(runs: list[Curve]) -> None:
    """Print where each run converged."""
    for run in runs:
        at = run.steps.index(run.converged)
        best = max(run.mean)
        click.echo(
            f"{run.name}: converged at step {run.converged} ({run.mean[at]:.1%}), best {best:.1%}",
            err=True,
        )


def along(events: Generator[Point, None, Along]) -> Along:
    """Test networks along a trajectory, and show progress."""
    with _progress("networks", 1) as (bar, task):
        while True:
            try:
                event = next(events)
            except StopIteration as stop:
                result: Along = stop.value
                return result
            note = f"t = {event.time:g}, accuracy {event.accuracy:.1%}"
            bar.update(task, total=event.total, completed=event.number, note=note)


def _drain(what: str, total: int, events: Generator[NetworkTrained, None, Accuracy]) -> Accuracy:
    with _progress(what, total) as (bar, task):
        while True:
            try:
                event = next(events)
            except StopIteration as stop:
                result: Accuracy = stop.value
                return result
            bar.update(task, advance=1, note=f"accuracy {event.accuracy:.1%}")


def _accuracy(accuracy: Accuracy | Selection) -> str:
    return f"{accuracy.mean:6.1%} ± {accuracy.std:.1%}"

"""What the `mct` commands show: progress on stderr where it is a terminal, results on stdout."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
import sys
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from mct.distill import Distiller
    from mct.evaluate import Comparison
    from mct.events import Accuracy, NetworkTrained
    from mct.experts import ExpertRun
    from mct.folder import RunFolder

Event = TypeVar("Event")


@contextlib.contextmanager
def _progress(what: str, total: int, done: int = 0) -> Iterator[tuple[Progress, TaskID]]:
    """Show a bar on stderr, if that is a terminal."""
    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield bar, bar.add_task(what, total=total, completed=done, note="")


def experts(run: ExpertRun) -> None:
    """Train, show progress, and print where the trajectories are."""
    from mct.events import ExpertDone

    accuracies = []
    with _progress("experts", run.config.experts * run.config.epochs) as (bar, task):
        for event in run.events():
            if isinstance(event, ExpertDone):
                accuracies.append(event.accuracy)
                bar.update(task, note=f"test accuracy {event.accuracy:.1%}")
            else:
                bar.advance(task)
    mean = sum(accuracies) / len(accuracies)
    click.echo(f"{len(accuracies)} experts, mean test accuracy {mean:.1%}", err=True)
    click.echo(str(run.path))


def distillation(distiller: Distiller, folder: RunFolder, *, resume: bool) -> None:
    """Distil, show progress, and print where the result is; on Ctrl-C say how to go on."""
    from mct.distill import distill

    config = distiller.config
    events = distill(distiller, folder, resume=resume)
    try:
        with _progress("distill", config.outer_steps) as (bar, task), contextlib.closing(events):
            for event in events:
                note = f"loss {event.loss:.3f}, learning rate {event.learning_rate:.2g}"
                if event.accuracy is not None:
                    note += f", accuracy {event.accuracy.mean:.1%}"
                    bar.console.print(f"step {event.step}: accuracy {_accuracy(event.accuracy)}")
                bar.update(task, completed=event.step, note=note)
    except KeyboardInterrupt:
        if not folder.state.is_file():
            raise
        again = shlex.join(["mct", *(word for word in sys.argv[1:] if word != "--resume"), "--resume"])
        raise KeyboardInterrupt(
            f"interrupted; {folder.state} holds the state; continue with: {again}"
        ) from None
    click.echo(str(folder.result))


def evaluation(comparison: Comparison, *, baseline: bool, as_json: bool) -> None:
    """Evaluate, show progress, and print the accuracies."""
    networks = comparison.config.networks
    distilled = _drain("distilled", networks, comparison.distilled())
    real = (
        _drain("random real", networks * len(comparison.rates), comparison.baseline()) if baseline else None
    )
    if as_json:
        facts = {
            "dataset": comparison.synthetic.origin.dataset,
            "ipc": comparison.synthetic.ipc,
            "config": dataclasses.asdict(comparison.config),
            "distilled": dataclasses.asdict(distilled),
            "random_real": None if real is None else dataclasses.asdict(real),
        }
        click.echo(json.dumps(facts, sort_keys=True))
        return
    ipc = comparison.synthetic.ipc
    images = f"{ipc} {'image' if ipc == 1 else 'images'} per class, {networks} fresh networks"
    click.echo(f"test accuracy on {comparison.synthetic.origin.dataset}: {images}")
    click.echo(
        f"  distilled     {_accuracy(distilled)}  (learning rate {distilled.learning_rate:.2g}, learned)"
    )
    if real is not None:
        click.echo(
            f"  random real   {_accuracy(real)}  (learning rate {real.learning_rate:.2g}, "
            f"best of {len(comparison.rates)})"
        )
        click.echo(f"  gain          {100 * (distilled.mean - real.mean):+5.1f} points")


def _drain(what: str, total: int, events: Generator[NetworkTrained, None, Accuracy]) -> Accuracy:
    with _progress(what, total) as (bar, task):
        while True:
            try:
                event = next(events)
            except StopIteration as stop:
                result: Accuracy = stop.value
                return result
            bar.update(task, advance=1, note=f"accuracy {event.accuracy:.1%}")


def _accuracy(accuracy: Accuracy) -> str:
    return f"{accuracy.mean:6.1%} ± {accuracy.std:.1%}"

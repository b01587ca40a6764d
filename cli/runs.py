"""Shows runs that take long and can be interrupted: training of experts, and distillation."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import accuracies, lines, progress, torchrun

if TYPE_CHECKING:
    from mct.distillation.run import DistillRun, Outcome
    from mct.experts.run import ExpertRun

__all__ = ["distillation", "experts", "outcome"]


def experts(run: ExpertRun, *, note: str | None) -> None:
    """Train experts, show progress, and print the path of the trajectories.

    Args:
        run: What to train.
        note: A line to print once work has begun; None: no line.
    """
    from mct.events import ExpertContinued, ExpertDone, ExpertsFound

    trained: list[float] = []
    found, epochs = 0, run.config.epochs
    wanted = run.config.experts if run.only is None else len(run.only)
    events = progress.noted(run.events(), note)
    try:
        with (
            progress.counted("experts", wanted * epochs) as (bar, task),
            contextlib.closing(events),
        ):
            for event in events:
                if isinstance(event, ExpertDone):
                    trained.append(event.accuracy)
                    at_least = (found + len(trained)) * epochs  # other processes' epochs are not seen
                    bar.update(task, note=f"test accuracy {event.accuracy:.1%}")
                    bar.update(task, completed=max(at_least, int(bar.tasks[task].completed)))
                elif isinstance(event, ExpertsFound):
                    found += event.count
                    bar.update(task, completed=found * epochs)
                    lines.remark(f"{found} finished experts of earlier runs taken over")
                elif isinstance(event, ExpertContinued):
                    bar.advance(task, event.epochs)
                    lines.remark(f"expert {event.expert} continues after epoch {event.epochs}")
                else:
                    bar.advance(task)
    except KeyboardInterrupt as exc:
        raise KeyboardInterrupt(
            f"{str(exc) or 'interrupted'}; {_kept(found + len(trained), run.saved)}"
        ) from None
    if run.ranks.rank:
        return
    if trained:
        mean = sum(trained) / len(trained)
        lines.remark(f"{len(trained)} experts trained, mean test accuracy {mean:.1%}")
    lines.done(run.path if run.only is None else run.parts)


def _kept(finished: int, saved: Sequence[int]) -> str:
    """Return what an interrupted training of experts leaves, as text."""
    kept = [f"{finished} finished experts"] if finished else []
    kept += [f"the state of experts in training ({', '.join(map(str, saved))})"] if saved else []
    return f"{' and '.join(kept)} kept; the same command continues" if kept else "no expert was finished"


def distillation(run: DistillRun, *, note: str | None) -> None:
    """Distil and show progress; `note` is printed once work has begun. Ctrl-C prints how to continue."""
    from mct.errors import DivergedError, RankError
    from mct.events import Note, OuterStep

    steps, state, notes = run.distiller.config.outer_steps, run.folder.state, lines.Notes()
    events = progress.noted(run.events(), note)
    if run.ranks.rank != 0:
        try:
            for _ in events:
                pass
        except DivergedError as exc:  # All processes raise it, and the first one reports it.
            raise RankError(str(exc)) from None
        return
    try:
        with progress.counted("distill", steps) as (bar, task), contextlib.closing(events):
            for event in events:
                if isinstance(event, Note):
                    notes(event.line)
                    continue
                shown = ""
                if isinstance(event, OuterStep):
                    shown = f"loss {event.loss:.3f}, learning rate {event.learning_rate:.2g}"
                if event.accuracy is not None:
                    on = {"heldout": "held-out training images", "test": "the test set"}[event.accuracy.on]
                    found = accuracies.mean_and_std(event.accuracy)
                    bar.console.print(f"step {event.step}: accuracy {found} on {on}")
                bar.update(task, completed=event.step, note=shown)
    except KeyboardInterrupt as exc:
        if not state.is_file():
            raise
        words = (word for word in sys.argv[1:] if word != "--resume")
        again = shlex.join([*torchrun.program(), *words, "--resume"])
        raise KeyboardInterrupt(
            f"{str(exc) or 'interrupted'}; {state} holds the state; continue with: {again}"
        ) from None


def outcome(found: Outcome) -> None:
    """Print the path of the result, and its accuracy.

    Images that were chosen on held-out training images are tested here on the test set, once.
    """
    comparison, best = found.comparison, found.selection
    if comparison is not None:
        tested = accuracies.tested("test", comparison.config.networks, comparison.distilled())
        step, accuracy = comparison.synthetic.run.outer_step, accuracies.mean_and_std(tested)
        lines.remark(f"best images: step {step}; test accuracy, once: {accuracy}")
    elif best is not None:
        lines.remark(
            f"best accuracy {accuracies.mean_and_std(best)}: the maximum over evaluations on the test set, "
            "as published numbers are; it is better than what a user can expect"
        )
    lines.done(found.path)

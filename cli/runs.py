"""Shows runs that take long and can be interrupted: training of experts, and distillation."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from trajfmt.errors import counted

from . import accuracies, configs, lines, progress, torchrun

if TYPE_CHECKING:
    from mct.distillation.run import DistillRun, Outcome
    from mct.experts.run import ExpertRun
    from mct.logs.log import Log
    from mct.results.origin import Origin

__all__ = ["distillation", "experts", "outcome"]


def experts(run: ExpertRun, *, note: str | None) -> None:
    """Train experts, show progress, and print the path of the trajectories.

    Args:
        run: What to train.
        note: A line to print once work has begun; None: no line.
    """
    from mct.events import ExpertContinued, ExpertDone, ExpertsFound

    trained: list[float] = []
    found, done, epochs = 0, 0, run.config.epochs
    wanted = run.config.experts if run.only is None else len(run.only)
    events = progress.noted(run.events(), note)
    try:
        with (
            progress.counted("experts", wanted * epochs, "epoch") as meter,
            contextlib.closing(events),
        ):
            for event in events:
                if isinstance(event, ExpertDone):
                    trained.append(event.accuracy)
                    at_least = (found + len(trained)) * epochs  # other processes' epochs are not seen
                    done = max(at_least, done)
                    meter.update(done, note=f"test accuracy {event.accuracy:.1%}")
                elif isinstance(event, ExpertsFound):
                    found += event.count
                    done = found * epochs
                    meter.update(done)
                    meter.say(f"{counted(found, 'finished expert')} of earlier runs taken over")
                elif isinstance(event, ExpertContinued):
                    done += event.epochs
                    meter.update(done)
                    meter.say(f"expert {event.expert} continues after epoch {event.epochs}")
                else:
                    done += 1
                    meter.update(done, note=f"loss {event.loss:.3f}, training accuracy {event.accuracy:.1%}")
    except KeyboardInterrupt as exc:
        raise KeyboardInterrupt(
            f"{str(exc) or 'interrupted'}; {_kept(found + len(trained), run.saved)}"
        ) from None
    if run.ranks.rank:
        return
    if trained:
        mean = sum(trained) / len(trained)
        lines.remark(f"{counted(len(trained), 'expert')} trained, mean test accuracy {mean:.1%}")
    if run.only is not None:  # jobs of an array would replace each other's file
        lines.done(run.parts)
        return
    ctx = click.get_current_context()
    beside = run.path.with_name(f"{run.path.name}.toml")
    if not configs.write(beside, ctx, configs.settled(ctx, dataclasses.asdict(run.config))):
        lines.notice(f"{beside} is not a file of mct, or cannot be written; the options were not saved there")
    lines.done(run.path)


def _kept(finished: int, saved: Sequence[int]) -> str:
    """Return what an interrupted training of experts leaves, as text."""
    kept = [counted(finished, "finished expert")] if finished else []
    kept += [f"the state of experts in training ({', '.join(map(str, saved))})"] if saved else []
    return f"{' and '.join(kept)} kept; the same command continues" if kept else "no expert was finished"


def distillation(run: DistillRun, *, note: str | None, log: Log) -> None:
    """Distil, show progress, and log; `note` is printed once work has begun. Ctrl-C says how to continue."""
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
        accuracy, written = "", False
        with contextlib.ExitStack() as held:
            meter = held.enter_context(progress.counted("distill", steps, "step"))
            held.callback(log.close)  # after the state has been saved
            held.enter_context(contextlib.closing(events))
            for event in events:
                if not written:
                    _write_options(run)
                    written = True
                if isinstance(event, Note):
                    notes(event.line)
                    continue
                log.record(event)
                shown = ""
                if event.accuracy is not None:
                    on = {"heldout": "held-out training images", "test": "the test set"}[event.accuracy.on]
                    found = accuracies.mean_and_std(event.accuracy)
                    meter.say(f"step {event.step}: accuracy {found} on {on}")
                    accuracy = f", accuracy {event.accuracy.mean:.1%}"
                if isinstance(event, OuterStep):
                    shown = f"loss {event.loss:.3f}, learning rate {event.learning_rate:.2g}{accuracy}"
                meter.update(event.step, note=shown)
    except KeyboardInterrupt as exc:
        if not state.is_file():
            raise
        words = (word for word in sys.argv[1:] if word != "--resume")
        again = shlex.join([*torchrun.program(), *words, "--resume"])
        raise KeyboardInterrupt(
            f"{str(exc) or 'interrupted'}; {state} holds the state; continue with: {again}"
        ) from None


def _write_options(run: DistillRun) -> None:
    """Write `config.toml` into the folder of a run: its options, and all settings that follow from them."""
    from mct.settings.groups import flat

    origin = json.loads(run.folder.settings.read_bytes())["settings"]
    idle = run.distiller.recipe.idle(run.distiller.config)
    settings: dict[str, object] = flat(run.distiller.config)
    settings = {name: value for name, value in settings.items() if name not in idle}
    if run.distiller.config.eval_every is not None:
        names = {
            "eval_networks": "networks",
            "eval_epochs": "epochs",
            "eval_batch": "batch_size",
            "eval_protocol": "protocol",
        }
        settings |= {option: origin["evaluation"][name] for option, name in names.items()}
    ctx = click.get_current_context()
    if not ctx.params.get("traj"):
        known = _facts(run.distiller.origin)
        settings |= {name: value for name, value in known.items() if ctx.params.get(name) is None}
    options = configs.settled(ctx, settings)
    for name in ("resume", *(() if run.distiller.origin.stages else ("earlier_images",))):
        options.pop(name.replace("_", "-"), None)
    changes = [
        f"{change['setting']} was {change['before']!r} until step {change['step']}; this is not repeated"
        for change in origin.get("changes", ())
    ]
    configs.write(run.folder.path / "config.toml", ctx, options, *changes)


def _facts(origin: Origin) -> dict[str, object]:
    """Return by option what a run without a bundle knows, and is resumed without."""
    from mct.data.datasets import SOURCES
    from trajfmt.schema.models import model_name

    facts: dict[str, object] = {"preprocessing": origin.preprocessing.kind}
    if origin.model.factory is None:
        facts["model"] = model_name(origin.model)
    return facts | ({"dataset": origin.dataset} if origin.dataset in SOURCES else {})


def outcome(run: DistillRun, found: Outcome) -> None:
    """Print the path of the result, and its accuracy.

    Images that were chosen on held-out training images are tested here on the test set, once.
    """
    comparison, best = found.comparison, found.selection
    if comparison is not None:
        tested = accuracies.tested("test", comparison.config.networks, run.test(comparison))
        step, accuracy = comparison.synthetic.run.outer_step, accuracies.mean_and_std(tested)
        lines.remark(f"best images: step {step}; test accuracy, once: {accuracy}")
    elif best is not None:
        lines.remark(
            f"best accuracy {accuracies.mean_and_std(best)}: the maximum over evaluations on the test set, "
            "as published numbers are; it is better than what a user can expect"
        )
    lines.done(found.path)

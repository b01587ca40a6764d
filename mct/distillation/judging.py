"""The evaluations of a run: the accuracy of its current images, and the choice of the best ones."""

from dataclasses import replace

from mct.distillation.state import State
from mct.distillation.stepper import Stepper
from mct.evaluation.protocol import evaluate
from mct.events import Accuracy
from mct.results.origin import Selection
from mct.runtime.phases import phase
from mct.settings.config import EvaluateConfig


def accuracy_of(run: Stepper, state: State, protocol: EvaluateConfig) -> Accuracy:
    """Return the accuracy of fresh networks trained on the result of `state`.

    Args:
        run: The run, whose dataset and settings are used.
        state: Its state.
        protocol: Settings of the evaluation.
    """
    now = state.result
    jobs = evaluate(
        now.images,
        now.targets,
        now.learning_rate,
        run.dataset,
        now.origin.model,
        protocol,
        stages=now.stages,
        learned=now.learned_images,
        on=run.config.select,
        engine="eager" if run.config.engine == "eager" else "auto",
        notes=run.notes.append,
        ranks=run.ranks,
    )
    while True:
        try:
            next(jobs)
        except StopIteration as stop:
            result: Accuracy = stop.value
            return result


def evaluated(run: Stepper, state: State, protocol: EvaluateConfig) -> tuple[State, Accuracy]:
    """Evaluate, and keep the images as the best if their mean accuracy is the highest so far."""
    with phase("evaluating"):
        found = accuracy_of(run, state, protocol)
    best = None if state.best is None else state.best.run.selected
    if best is None or found.mean > best.mean:
        why = Selection(on=found.on, mean=found.mean, std=found.std)
        now = state.result
        state = replace(state, best=replace(now, origin=replace(now.run, selected=why)))
    return state, found

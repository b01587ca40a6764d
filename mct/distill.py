"""The outer loop: steps, evaluations and files, in an order that survives every kind of ending.

What a step is belongs to `distiller`, which files there are to `folder`.
"""

from collections.abc import Generator
from dataclasses import replace

from mct import recipes
from mct.augment import augmentation
from mct.config import EvaluateConfig
from mct.distiller import Distiller
from mct.errors import DivergedError
from mct.events import Evaluated, OuterStep
from mct.folder import RunFolder
from mct.state import State

__all__ = ["Distiller", "distill"]


def distill(
    distiller: Distiller, folder: RunFolder, *, resume: bool = False, evaluation: EvaluateConfig | None = None
) -> Generator[Evaluated | OuterStep, None, None]:
    """Run a distillation to its end, yielding every outer step; the results are in `folder`.

    With `eval_every` there is one event more, before the first step. However the loop ends (done, an
    error, Ctrl-C, the caller closing it) the last whole state is written, and a later call with
    `resume` continues from it bit for bit; so does one after a kill, from the last state that was
    saved.

    Args:
        distiller: What to run.
        folder: Where state, results, settings, metrics and picture go.
        resume: Continue the run that is in the folder; its settings must be the same, except that
            `outer_steps`, `eval_every` and `save_every` may differ, and `lr_img` and `lr_lr`, whose
            change is recorded. The steps' last evaluation stays where a run is made longer.
        evaluation: The protocol for `eval_every`; None is that of the run that is resumed, or what
            `recipes` knows about the dataset.

    Raises:
        DivergedError: The run cannot go on usefully; the state before is saved.
    """
    origin = replace(distiller.origin, evaluation=evaluation)
    if evaluation is not None:
        augmentation(evaluation.augment)
    usual = recipes.evaluate_config(origin.dataset)
    device = distiller.dataset.train_images.device
    if resume:
        state = folder.resume(origin, device=device)
    else:
        folder.check_free()
        state = distiller.initial()
    with folder.lock():
        if resume:  # once more: another run may have ended meanwhile
            state = folder.resume(origin, device=device)
        else:
            folder.check_free()
        now = state.synthetic
        protocol = now.origin.evaluation or evaluation or usual
        settled = replace(now.origin, evaluation=protocol)
        state = replace(state, synthetic=replace(now, origin=settled))
        if not resume:
            folder.start(state)
        folder.open(state, device)
        yield from _steps(distiller, folder, state, protocol, saved=None if resume else state)


def _steps(
    distiller: Distiller, folder: RunFolder, state: State, protocol: EvaluateConfig, *, saved: State | None
) -> Generator[Evaluated | OuterStep, None, None]:
    """Do the outer steps from `state`, of which `saved` is on disk."""
    config, dataset = distiller.config, distiller.dataset
    try:
        if config.eval_every and state.step == 0:
            state, accuracy = distiller.consider(state, protocol)
            first = Evaluated(step=0, accuracy=accuracy)
            folder.record(first)
            folder.save(state, dataset)
            saved = state
            yield first
        while state.step < config.outer_steps:
            after, event = distiller.step(state)
            best = after.best
            due = config.eval_every and event.step % config.eval_every == 0
            if due or (config.eval_every and event.step == config.outer_steps):
                after, accuracy = distiller.consider(after, protocol)
                event = replace(event, accuracy=accuracy)
            folder.record(event)
            state = after
            if state.step % config.save_every == 0 or state.best is not best:
                folder.save(state, dataset)
                saved = state
            yield event
    except DivergedError as exc:
        raise DivergedError(
            f"{exc}; {folder.state} holds the state of step {state.step}, from which --resume continues "
            "with another --lr-img or --lr-lr"
        ) from None
    finally:
        if saved is not state:
            folder.save(state, dataset)

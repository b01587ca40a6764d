"""The outer loop: steps, evaluations and files, in an order that loses nothing however the loop ends.

One step is in `distiller`, or in another `Stepper`; the files are in `folder`. If several processes share a
run, all of them run this loop from the same state with the same random numbers, and share the evaluations.
Only process 0 writes files.
"""

import contextlib
from collections.abc import Generator
from dataclasses import replace

from mct.data.augment import augmentation
from mct.distillation.folder import NoFiles, RunFiles, RunFolder
from mct.distillation.state import State
from mct.distillation.stepper import Stepper
from mct.errors import DivergedError, ExhaustedError, RankError
from mct.events import Evaluated, Note, OuterStep
from mct.runtime.memory import is_exhausted
from mct.runtime.profiling import Trace
from mct.runtime.ranks import together
from mct.runtime.usage import Usage
from mct.settings import defaults
from mct.settings.config import EvaluateConfig


def distill(
    distiller: Stepper, folder: RunFolder, *, resume: bool = False, evaluation: EvaluateConfig | None = None
) -> Generator[Evaluated | Note | OuterStep, None, None]:
    """Run a distillation to its end, and yield every outer step; the results are in `folder`.

    With `eval_every`, the images before the first step are evaluated, too. However the loop ends
    (regularly, by an error, by Ctrl-C, or because the caller closes the generator), the last whole state is
    written, and a later call with `resume` continues from it bit for bit. After a kill it continues from
    the last state that was saved.

    Args:
        distiller: Does the outer steps. Every process that shares the run makes this call.
        folder: Where state, results, settings, metrics and picture go; the same for all processes.
        resume: Continue the run in the folder. Its settings must be the same, except that `outer_steps`,
            `eval_every`, `save_every` and `snapshot_every` may differ, and `lr_img` and `lr_lr`, whose change
            is recorded. If a run is made longer, the evaluation after its former last step stays in the
            metrics.
        evaluation: The protocol for `eval_every`; None: that of the run that is resumed, or the default for
            the dataset.

    Raises:
        DivergedError: The run cannot go on usefully; the state before is saved.
        ExhaustedError: Memory was not enough; the state before is saved.
        RankError: Another process of the run has died; process 0 has saved the state before.
    """
    origin = replace(distiller.origin, evaluation=evaluation)
    if evaluation is not None:
        augmentation(evaluation.augment)
    usual = defaults.evaluate_config(origin.dataset, protocol="sequence" if origin.stages else None)
    device = distiller.dataset.train_images.device
    writes = distiller.ranks.rank == 0
    with contextlib.ExitStack() as held:
        with together(distiller.ranks):
            trace = Trace(distiller.execution.profile if writes else None)
            if writes:
                if resume:
                    state = folder.resume(origin, device=device)
                else:
                    folder.check_free()
                    state = distiller.initial()
                held.enter_context(folder.lock())
                if resume:  # again, because another run may have ended before the lock
                    state = folder.resume(origin, device=device)
                else:
                    folder.check_free()
                now = state.synthetic
                settled = replace(now.run, evaluation=now.run.evaluation or evaluation or usual)
                state = replace(state, synthetic=replace(now, origin=settled))
                if not resume:
                    folder.start(state)
                folder.open(state, device)
        with together(distiller.ranks):  # The state must not change before all processes have read it.
            if not writes:
                state = folder.resume(origin, device=device)
        protocol = state.synthetic.run.evaluation or usual
        files = folder if writes else NoFiles(folder)
        yield from _steps(distiller, files, state, protocol, trace, saved=None if resume else state)


def _steps(
    distiller: Stepper,
    files: RunFiles,
    state: State,
    protocol: EvaluateConfig,
    trace: Trace,
    *,
    saved: State | None,
) -> Generator[Evaluated | Note | OuterStep, None, None]:
    """Do the outer steps from `state` on; `saved` is the state on disk, if it is this one."""
    config, dataset, clock = distiller.config, distiller.dataset, distiller.clock
    writes = distiller.ranks.rank == 0
    usage, noted = Usage(dataset.train_images.device), set[str]()
    try:
        if config.eval_every and state.step == 0:
            state, accuracy = distiller.evaluate_and_keep_best(state, protocol)
            first = Evaluated(step=0, accuracy=accuracy)
            files.record(first)
            files.save(state, dataset)
            saved = state
            yield first
        if config.snapshot_every and state.step == 0:
            files.snapshot(state, dataset)
        while state.step < config.outer_steps:
            trace.begin()
            usage.start()
            after, event = distiller.step(state)
            memory, utilisation = usage.read()
            best = after.best
            last = event.step == config.outer_steps
            if config.eval_every and (last or event.step % config.eval_every == 0):
                with clock.part("evaluate"):
                    after, accuracy = distiller.evaluate_and_keep_best(after, protocol)
                event = replace(event, accuracy=accuracy)
            event = replace(event, parts=clock.read(), memory_mb=memory, utilisation=utilisation)
            files.record(event)
            state = after
            if config.snapshot_every and (last or state.step % config.snapshot_every == 0):
                files.snapshot(state, dataset)
            if last or state.step % config.save_every == 0 or state.best is not best:
                files.save(state, dataset)
                saved = state
                event = replace(event, picture=files.picture if writes else None)
            if line := trace.end(last=last):
                distiller.notes.append(line)
            for line in dict.fromkeys(distiller.notes):
                if line not in noted:
                    noted.add(line)
                    yield Note(line=line)
            yield event
    except (DivergedError, RankError) as exc:
        if not writes:
            raise
        how = "" if isinstance(exc, RankError) else " with another --lr-img or --lr-lr"
        raise type(exc)(f"{exc}; {_left(files, state)}{how}") from None
    except (MemoryError, RuntimeError) as exc:
        if not is_exhausted(exc):
            raise
        exc.__traceback__ = None  # It holds the tensors of the step, and saving needs memory.
        raise ExhaustedError(
            f"outer step {state.step + 1}: {_exhausted(distiller)}; {_left(files, state)}"
        ) from None
    finally:
        if saved is not state:
            files.save(state, dataset)
        trace.end(last=True)


def _left(files: RunFiles, state: State) -> str:
    """Return the end of an error's message: how the run can be continued."""
    return f"{files.state} holds the state of step {state.step}, from which --resume continues"


def _exhausted(distiller: Stepper) -> str:
    """Return what is missing, and the settings that need less memory, in the order in which to try them."""
    where = distiller.dataset.train_images.device
    return f"not enough memory on {where}; lower {', then '.join(distiller.memory_options)}"

"""The outer loop: draws samples, takes exact gradients, and updates images and learning rate.

One outer step is a pure function from state to state. Files belong to `folder`, evaluation to
`evaluate`, the gradient to `unroll` and `matching`; this module only puts them together.
"""

import math
import time
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

import trajfmt
from mct import networks, provenance, recipes, synthetic
from mct.config import DistillConfig, EvaluateConfig
from mct.data import Dataset
from mct.devices import device_of
from mct.errors import DivergedError, MismatchError
from mct.evaluate import evaluate
from mct.events import Accuracy, OuterStep
from mct.folder import RunFolder
from mct.matching import Matcher
from mct.seeds import generator
from mct.state import State
from mct.stream import Bundle, KnotStream
from mct.unroll import Problem, StepwiseUnroll, Unroll, minibatches


class Distiller:
    """Distils one bundle with one configuration.

    Args:
        bundle: The experts' trajectories.
        dataset: The real images; their preprocessing must be the experts'.
        model: The experts' network, every fact known.
        config: The settings.
        artifact_sha256: Identity of the bundle, for the record.
        device: Where to compute.
        engine: What runs the inner loop; None is the plain recursion.

    Raises:
        MismatchError: The model's parameters are not those of the bundle.
        ConfigError: The trajectories are too short for the settings.
    """

    def __init__(
        self,
        bundle: Bundle,
        dataset: Dataset,
        model: trajfmt.Model,
        config: DistillConfig,
        *,
        artifact_sha256: str,
        device: str | torch.device = "cpu",
        engine: Unroll | None = None,
    ) -> None:
        if bundle.layout.dtype != "F32":
            raise MismatchError(f"weights must be F32 to be distilled, the bundle has {bundle.layout.dtype}")
        network = networks.build(model, generator=generator(config.seed, "shape"), device=device)
        networks.check_layout(network, bundle.layout)
        self.stream = KnotStream(
            bundle, expert_steps=config.expert_steps, max_start=config.max_start, device=device
        )
        self.dataset = dataset.to(device)
        self.config = replace(config, max_start=self.stream.max_start)
        self.origin = synthetic.Origin(
            dataset=dataset.name,
            class_names=dataset.class_names,
            preprocessing=dataset.transform.record,
            model=model,
            config=self.config,
            artifact_sha256=artifact_sha256,
            outer_step=0,
        )
        self._matcher = Matcher(self.stream)
        self._engine = engine or StepwiseUnroll(network)

    @classmethod
    def from_bundle(
        cls,
        bundle: trajfmt.Bundle,
        *,
        dataset: str | None = None,
        model: str | None = None,
        preprocessing: str | None = None,
        device: str = "cpu",
        base: DistillConfig | None = None,
        **settings: Any,
    ) -> "Distiller":
        """Set a distillation up from what a bundle records about its experts.

        Args:
            bundle: An open bundle.
            dataset: Used where the bundle names none.
            model: Used where the bundle does not know it, like ConvNetD3W128.
            preprocessing: Used where the bundle states none.
            device: Where to compute.
            base: Settings to start from; None is what `recipes` knows about the dataset.
            settings: Fields of `DistillConfig`; None leaves one as it is.
        """
        here = device_of(device)
        record = bundle.manifest.provenance
        real = provenance.dataset_of(record, name=dataset, preprocessing=preprocessing)
        known = provenance.model_of(record, real, name=model)
        if base is None:
            config = recipes.distill_config(real.name, **settings)
        else:
            config = replace(base, **{key: value for key, value in settings.items() if value is not None})
        return cls(bundle, real, known, config, artifact_sha256=bundle.sha256, device=here)

    def initial(self) -> State:
        """Return the state before the first step: random real images, no momentum."""
        start = synthetic.from_real(
            self.dataset, self.origin, generator=generator(self.config.seed, "images")
        )
        return State(
            synthetic=start,
            image_velocity=torch.zeros_like(start.images),
            rate_velocity=0.0,
            random=generator(self.config.seed, "outer").get_state(),
        )

    def step(self, state: State) -> tuple[State, OuterStep]:
        """Do one outer step.

        Raises:
            DivergedError: The loss, a gradient or the learning rate became unusable; `state` is
                the last good one.
        """
        began = time.perf_counter()
        config, now = self.config, state.synthetic
        random = torch.Generator()
        random.set_state(state.random)
        sample = self.stream.draw(random)
        batches = minibatches(len(now.labels), config.batch_syn, config.inner_steps, random)
        problem = Problem(
            weights=sample.weights,
            images=now.images,
            labels=now.labels,
            learning_rate=now.learning_rate,
            batches=[batch.to(now.images.device) for batch in batches],
        )
        found = self._engine.gradients(problem, lambda final: self._matcher.compare(final, sample))
        # torch.optim.SGD's momentum: v <- mu v + g, x <- x - lr v; also at the first step.
        velocity = config.momentum * state.image_velocity + found.images
        rate_velocity = config.momentum * state.rate_velocity + found.learning_rate
        rate = now.learning_rate - config.lr_lr * rate_velocity
        images = now.images - config.lr_img * velocity
        step = state.step + 1
        _guard(step, found.loss, found.images, found.learning_rate, images, rate)
        after = replace(now, images=images, learning_rate=rate, origin=replace(now.origin, outer_step=step))
        event = OuterStep(
            step=step,
            loss=found.loss,
            trajectory=sample.start.trajectory,
            start=sample.start.time,
            target=sample.target.time,
            learning_rate=rate,
            seconds=time.perf_counter() - began,
        )
        return State(
            synthetic=after, image_velocity=velocity, rate_velocity=rate_velocity, random=random.get_state()
        ), event

    def evaluate(self, state: State, config: EvaluateConfig) -> Accuracy:
        """Return the accuracy of fresh networks trained on the synthetic dataset of `state`."""
        now = state.synthetic
        jobs = evaluate(now.images, now.labels, now.learning_rate, self.dataset, now.origin.model, config)
        while True:
            try:
                next(jobs)
            except StopIteration as stop:
                result: Accuracy = stop.value
                return result


def distill(
    distiller: Distiller, folder: RunFolder, *, resume: bool = False, evaluation: EvaluateConfig | None = None
) -> Generator[OuterStep, None, None]:
    """Run a distillation to its end, yielding every outer step; the results are in `folder`.

    However the loop ends (done, an error, Ctrl-C, the caller closing it) the last whole state is
    written, and a later call with `resume` continues from it bit for bit.

    Args:
        distiller: What to run.
        folder: Where state, result, metrics and picture go.
        resume: Continue the run that is in the folder; its settings must be the same, except that
            `outer_steps`, `eval_every` and `save_every` may differ.
        evaluation: The protocol for `eval_every`; None is what `recipes` knows about the dataset.
    """
    if resume:
        state = folder.resume(distiller.origin, device=distiller.dataset.train_images.device)
    else:
        folder.check_free()
        state = distiller.initial()
    with folder.lock():
        if resume:  # once more: another run may have ended meanwhile
            state = folder.resume(distiller.origin, device=distiller.dataset.train_images.device)
        else:
            folder.check_free()
            folder.start(state)
        yield from _steps(distiller, folder, state, evaluation)


def _steps(
    distiller: Distiller, folder: RunFolder, state: State, evaluation: EvaluateConfig | None
) -> Generator[OuterStep, None, None]:
    config, dataset = distiller.config, distiller.dataset
    folder.open(state.step)
    saved = 0  # the step whose files are whole; before the first step there is no result to write
    try:
        while state.step < config.outer_steps:
            after, event = distiller.step(state)
            if config.eval_every and event.step % config.eval_every == 0:
                accuracy = distiller.evaluate(after, evaluation or recipes.evaluate_config(dataset.name))
                event = replace(event, accuracy=accuracy)
            folder.record(event)
            state = after
            if state.step % config.save_every == 0:
                folder.save(state, dataset)
                saved = state.step
            yield event
    finally:
        if saved != state.step:
            folder.save(state, dataset)


def _guard(step: int, loss: float, images: Tensor, slope: float, updated: Tensor, rate: float) -> None:
    cause = None
    if not math.isfinite(loss):
        cause = f"the loss is {loss}; try a smaller `lr_init`"
    elif not (math.isfinite(slope) and bool(images.isfinite().all())):
        cause = "a gradient is not finite; try a smaller `lr_init` or fewer `inner_steps`"
    elif not bool(updated.isfinite().all()):
        cause = "the images are no longer finite; try a smaller `lr_img`"
    elif not (math.isfinite(rate) and rate > 0):
        cause = f"the learning rate became {rate:g}; try a smaller `lr_lr`"
    if cause is not None:
        raise DivergedError(f"outer step {step}: {cause}; the state before it is kept")

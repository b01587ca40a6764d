"""One outer step: draws a sample, takes the exact gradient, and updates images and learning rate.

It is a pure function from state to state. The gradient belongs to `unroll` and `matching`, evaluation to
`evaluate`, what stops a run to `guards`; this module only puts them together. The loop is in `distill`.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import trajfmt
from mct import guards, networks, provenance, recipes, synthetic
from mct.augment import Draws, augmentation
from mct.clock import Clock
from mct.config import DistillConfig, EvaluateConfig
from mct.data import Dataset
from mct.devices import device_of
from mct.errors import DivergedError, MismatchError
from mct.evaluate import evaluate
from mct.events import Accuracy, OuterStep
from mct.execution import Execution
from mct.functional import Functional
from mct.graphs import GraphUnroll
from mct.matching import Match, Matcher
from mct.ranks import Alone, Ranks
from mct.seeds import generator
from mct.state import State
from mct.steps import Step, choose, make_step
from mct.steps.narrow import NarrowStep
from mct.stream import Bundle, KnotStream
from mct.unroll import ExactUnroll, Gradients, Problem, TeslaUnroll, Unroll, minibatches, targets_of


@dataclass(frozen=True, slots=True)
class _Draw:
    """What is random about one sample."""

    trajectory: int
    start: float
    batches: Sequence[Tensor]
    numbers: Sequence[Draws] | None


class Distiller:
    """Distils one bundle with one configuration.

    Args:
        bundle: The experts' trajectories.
        dataset: The real images; their preprocessing must be the experts'.
        model: The experts' network, every fact known.
        config: The settings.
        artifact_sha256: Identity of the bundle, for the record.
        device: Where to compute.
        execution: Budgets of memory; None is the usual ones.
        ranks: The processes that share the work; None: this one alone.
        shard: Share every batch of a sample, instead of the samples of an outer step.
        unroll: What runs the inner loop; None: what the settings say.

    Attributes:
        clock: Where the time of the steps goes.
        ranks: The processes that share the work.
        notes: One line each about what works, but not as it was asked.
        dataset: What the run sees: with `select` heldout, `test_images` are the held-out tenth of the
            training images, and `train_images` the others.
        config: The settings, resolved.

    Raises:
        MismatchError: The model's parameters are not those of the bundle.
        ConfigError: The trajectories are too short for the settings, a class has fewer than `ipc`
            images, or a setting does not suit the bundle.
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
        execution: Execution | None = None,
        ranks: Ranks | None = None,
        shard: bool = False,
        unroll: Unroll | None = None,
    ) -> None:
        if bundle.layout.dtype != "F32":
            raise MismatchError(f"weights must be F32 to be distilled, the bundle has {bundle.layout.dtype}")
        network = networks.build(model, generator=generator(config.seed, "shape"), device=device)
        networks.check_layout(network, bundle.layout)
        self.execution, self.ranks, self.notes = execution or Execution(), ranks or Alone(), list[str]()
        self.clock, self._shard = Clock(device), shard
        updates = config.outer_steps * config.inner_steps * config.samples
        engine = choose(config.engine, updates, model, device)
        step = make_step(network, engine=engine, notes=self.notes.append)
        self._step = NarrowStep(step) if config.precision == "bf16" else step
        self._unroll = unroll or self._engine(self._step, config.gradient, torch.device(device), engine)
        narrow = config.precision == "bf16"
        self._exact = self._engine(step, config.gradient, torch.device("cpu"), engine) if narrow else None
        self._student: Tensor | None = None  # where every start is written,
        self._adjoint: Tensor | None = None  # and every first adjoint
        self.stream = KnotStream(
            bundle,
            expert_steps=config.expert_steps,
            max_start=config.max_start,
            sampling=config.sampling,
            device=device,
            arrange=None if engine == "eager" else step.pack,
            budget=self.execution.knots_mb << 20,
            clock=self.clock,
        )
        seen = dataset.heldout() if config.select == "heldout" else dataset
        guards.check_ipc(seen, config)
        self.dataset = seen.to(device)
        self.config = replace(
            config,
            max_start=self.stream.max_start,
            sampling="discrete" if self.stream.discrete else "continuous",
            engine=engine,
        )
        self._augment = augmentation(config.augment)
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
        self._network = Functional(network)
        self._classes = model.classes

    @classmethod
    def from_bundle(
        cls,
        bundle: trajfmt.Bundle,
        *,
        dataset: str | None = None,
        model: str | None = None,
        preprocessing: str | None = None,
        root: Path | None = None,
        device: str = "cpu",
        base: DistillConfig | None = None,
        preset: str | None = None,
        execution: Execution | None = None,
        ranks: Ranks | None = None,
        shard: bool = False,
        **settings: Any,
    ) -> "Distiller":
        """Set a distillation up from what a bundle records about its experts.

        Args:
            bundle: An open bundle.
            dataset: Used where the bundle names none.
            model: Used where the bundle does not know it, like ConvNetD3W128.
            preprocessing: Used where the bundle states none.
            root: Folder of the dataset's files, where it needs one.
            device: Where to compute.
            base: Settings to start from; None is what `recipes` knows about the dataset.
            preset: Name of published settings, which win over `base`.
            execution: Budgets of memory; None is the usual ones.
            ranks: The processes that share the work; None: this one alone.
            shard: Share every batch of a sample, instead of the samples of an outer step.
            settings: Fields of `DistillConfig`; None leaves one as it is.
        """
        here = device_of(device)
        record = bundle.manifest.provenance
        real = provenance.dataset_of(record, name=dataset, preprocessing=preprocessing, root=root)
        known = provenance.model_of(record, real, name=model)
        config = recipes.distill_config(
            real.name,
            base=base,
            preset=preset,
            preprocessing=real.transform.record.kind,
            method="mtt" if bundle.encoding == "full" else "mct",
            **settings,
        )
        return cls(
            bundle,
            real,
            known,
            config,
            artifact_sha256=bundle.sha256,
            device=here,
            execution=execution,
            ranks=ranks,
            shard=shard,
        )

    def _engine(self, step: Step, gradient: str, device: torch.device, engine: str) -> Unroll:
        kind = TeslaUnroll if gradient == "tesla" else ExactUnroll
        unroll = kind(
            step,
            keep_bytes=self.execution.keep_mb << 20,
            step_images=self.execution.step_images,
            shard=self.ranks if self._shard and self.ranks.size > 1 else None,
            clock=self.clock,
        )
        if device.type == "cuda" and engine == "compiled" and not self._shard:
            return GraphUnroll(unroll, notes=self.notes.append)
        return unroll

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

        A start is the one vector of P weights that is made. With teacher labels the target is made
        as well, for the forward pass that gives the labels, and dropped before the inner loop.

        Raises:
            DivergedError: The loss, a gradient or the learning rate became unusable; `state` is
                the last good one.
        """
        began = time.perf_counter()
        config, now = self.config, state.synthetic
        random = torch.Generator()
        random.set_state(state.random)
        # Every process draws the numbers of all samples, and computes its own.
        draws = [self._draw(now, random) for _ in range(config.samples)]
        self._expect(now, draws, random)
        found, taught = self._mean(now, draws)
        if taught is not None:
            now = replace(now, soft_labels=taught)
        with self.clock.part("update"):
            # torch.optim.SGD's momentum: v <- mu v + g, x <- x - lr v; also at the first step.
            velocity = config.momentum * state.image_velocity + found.images
            rate_velocity = config.momentum * state.rate_velocity + found.learning_rate
            rate = now.learning_rate - config.lr_lr * rate_velocity
            images = now.images - config.lr_img * velocity
        step = state.step + 1
        cause = guards.trouble(
            config,
            loss=found.loss,
            pull=found.images,
            slope=found.learning_rate,
            images=images,
            rate=rate,
        )
        if cause is not None:
            raise DivergedError(f"outer step {step}: {cause}")
        after = replace(now, images=images, learning_rate=rate, origin=replace(now.origin, outer_step=step))
        first = draws[0]
        event = OuterStep(
            step=step,
            loss=found.loss,
            trajectory=first.trajectory,
            start=first.start,
            target=first.start + config.expert_steps,
            learning_rate=rate,
            seconds=time.perf_counter() - began,
        )
        return replace(
            state,
            synthetic=after,
            image_velocity=velocity,
            rate_velocity=rate_velocity,
            random=random.get_state(),
        ), event

    def _draw(self, now: synthetic.SyntheticDataset, random: torch.Generator) -> "_Draw":
        """Draw everything that is random about one sample, on the CPU."""
        config, size = self.config, now.images.shape[-1]
        trajectory, start = self.stream.pick(random)
        batches = minibatches(len(now.labels), config.batch_syn, config.inner_steps, random)
        if self._augment is None:
            return _Draw(trajectory, start, batches, None)
        numbers = [self._augment.draw(len(batch), size, random) for batch in batches]
        return _Draw(trajectory, start, batches, numbers)

    def _own(self, number: int) -> bool:
        """Return whether this process computes a sample of an outer step."""
        return self._shard or number % self.ranks.size == self.ranks.rank

    def _expect(
        self, now: synthetic.SyntheticDataset, draws: Sequence["_Draw"], random: torch.Generator
    ) -> None:
        """Have the knots of this process's later samples loaded ahead, to the first of the next step."""
        later = [draw for number, draw in enumerate(draws) if self._own(number)][1:]
        ahead = torch.Generator()
        ahead.set_state(random.get_state())
        for number in range(self.config.samples):
            draw = self._draw(now, ahead)
            if self._own(number):
                later.append(draw)
                break
        for draw in later:
            self.stream.expect(draw.trajectory, draw.start)

    def _mean(
        self, now: synthetic.SyntheticDataset, draws: Sequence["_Draw"]
    ) -> tuple[Gradients, Tensor | None]:
        """Return loss and gradients, averaged over the samples, and the teacher's labels of the first."""
        taught: Tensor | None = None
        images, numbers = torch.zeros_like(now.images), torch.zeros(2, dtype=torch.float64)
        for number, draw in enumerate(draws):
            labels = self._taught(now, draw) if self._own(number) or number == 0 else None
            taught = labels if number == 0 else taught
            if self._own(number):
                found = self._tried(now if labels is None else replace(now, soft_labels=labels), draw)
                images += found.images
                numbers += torch.tensor([found.loss, found.learning_rate], dtype=torch.float64)
        if not self._shard and self.ranks.size > 1:
            with self.clock.part("ranks"):
                self.ranks.sum(numbers)
                self.ranks.sum(images)
        loss, slope = (numbers / len(draws)).tolist()
        return Gradients(loss=loss, images=images / len(draws), learning_rate=slope), taught

    def _tried(self, now: synthetic.SyntheticDataset, draw: "_Draw") -> Gradients:
        """Return what `_gradients` does; where it diverged and others do not know, gradients say so."""
        try:
            return self._gradients(now, draw)
        except DivergedError:
            if self._shard or self.ranks.size == 1:
                raise
            nothing = torch.full_like(now.images, torch.nan)
            return Gradients(loss=0.0, images=nothing, learning_rate=math.nan)

    def _taught(self, now: synthetic.SyntheticDataset, draw: "_Draw") -> Tensor | None:
        """Return what the expert at the target says of the images, where that is asked for."""
        if self.config.labels != "teacher":
            return None
        target = self.stream.locate(draw.trajectory, draw.start + self.config.expert_steps)
        weights = self._step.unpack(self.stream.materialise(target))
        return self._network.probabilities(weights, now.images)

    def _gradients(self, now: synthetic.SyntheticDataset, draw: "_Draw") -> Gradients:
        """Return loss and gradients of one sample."""
        here = now.images.device
        with self.clock.part("interpolate"):
            sample = self.stream.sample(draw.trajectory, draw.start, out=self._student)
            self._student = sample.weights
            self._matcher.distance(sample)  # a trajectory that stands still is told before the inner loop
        with self.clock.part("augment"):
            problem = Problem(
                weights=sample.weights,
                images=now.images,
                targets=targets_of(now.targets, self._classes, now.images.dtype),
                learning_rate=now.learning_rate,
                batches=[batch.to(here) for batch in draw.batches],
                augment=self._augment,
                draws=draw.numbers and [numbers.to(here) for numbers in draw.numbers],
            )

        def terminal(final: Tensor) -> Match:
            with self.clock.part("interpolate"):
                found = self._matcher.compare(final, sample, out=self._adjoint)
                self._adjoint = found.adjoint
                return found

        found = self._unroll.gradients(problem, terminal)
        if self._exact is not None:
            exact, self._exact = self._exact.gradients(problem, terminal), None
            self.notes.append(_compared(found.images, exact.images))
        return found

    def evaluate(self, state: State, config: EvaluateConfig) -> Accuracy:
        """Return the accuracy of fresh networks trained on the synthetic dataset of `state`."""
        now, on = state.synthetic, self.config.select
        jobs = evaluate(
            now.images,
            now.targets,
            now.learning_rate,
            self.dataset,
            now.origin.model,
            config,
            on=on,
            engine="eager" if self.config.engine == "eager" else "auto",
            notes=self.notes.append,
            ranks=self.ranks,
        )
        while True:
            try:
                next(jobs)
            except StopIteration as stop:
                result: Accuracy = stop.value
                return result

    def consider(self, state: State, config: EvaluateConfig) -> tuple[State, Accuracy]:
        """Evaluate, and return the state with these images as the best if no others were as good."""
        found = self.evaluate(state, config)
        best = None if state.best is None else state.best.origin.selected
        if best is None or found.mean > best.mean:
            why = synthetic.Selection(on=found.on, mean=found.mean, std=found.std)
            now = state.synthetic
            state = replace(state, best=replace(now, origin=replace(now.origin, selected=why)))
        return state, found


def _compared(found: Tensor, exact: Tensor) -> str:
    """Return what bfloat16 changed about a gradient of the images."""
    one, two = found.double().flatten(), exact.double().flatten()
    cosine, off = float(torch.cosine_similarity(one, two, 0)), float((one - two).norm() / two.norm())
    return f"bf16: the first image gradient is {off:.1%} off that of float32 (cosine {cosine:.4f})"

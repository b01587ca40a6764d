"""One outer step: draws a sample, takes the exact gradient, and updates images and learning rate.

It is a pure function from state to state. The gradient belongs to `samples`, the update to `optimizer`,
evaluation to `evaluate`, what stops a run to `guards`; this module only puts them together. The loop is in
`distill`.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import trajfmt
from mct.data.datasets import Dataset
from mct.distillation import guards, optimizer
from mct.distillation.samples import Samples
from mct.distillation.state import State
from mct.errors import DivergedError, MismatchError
from mct.evaluation.protocol import evaluate
from mct.events import Accuracy, OuterStep
from mct.inner.graphs import GraphUnroll
from mct.inner.keeping import KeepBudget, KeepingUnroll
from mct.inner.steps.narrow import NarrowStep
from mct.inner.steps.step import InnerStep
from mct.inner.steps.table import choose, make_step
from mct.inner.unroll import ExactUnroll, TeslaUnroll, Unroll
from mct.models import networks
from mct.objectives.table import DEFAULT, make_objective
from mct.results import synthetic
from mct.runtime.clock import Clock
from mct.runtime.devices import device_of
from mct.runtime.execution import Execution
from mct.runtime.ranks import Alone, Ranks
from mct.runtime.seeds import generator
from mct.settings import defaults
from mct.settings.config import DistillConfig, EvaluateConfig
from mct.trajectories import provenance
from mct.trajectories.stream import Bundle, KnotStream


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
        unroll: Runs the inner loop; None: as the settings say.
        objective: Name in `mct.objectives.table.OBJECTIVES`. It is not recorded in results and states.

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
        objective: str = DEFAULT,
    ) -> None:
        if bundle.layout.dtype not in ("F32", "BF16", "F16"):
            raise MismatchError(
                f"weights must be F32, BF16 or F16 to be distilled, the bundle has {bundle.layout.dtype};"
                " convert it with --dtype f32"
            )
        network = networks.build(model, generator=generator(config.seed, "shape"), device=device)
        networks.check_layout(network, bundle.layout)
        self.execution, self.ranks, self.notes = execution or Execution(), ranks or Alone(), list[str]()
        self.clock, self._shard = Clock(device), shard
        updates = config.outer_steps * config.inner_steps * config.samples
        engine = choose(config.engine, updates, model, device)
        step = make_step(network, engine=engine, notes=self.notes.append)
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
        self.origin = synthetic.Origin(
            dataset=dataset.name,
            class_names=dataset.class_names,
            preprocessing=dataset.transform.record,
            model=model,
            config=self.config,
            artifact_sha256=artifact_sha256,
            outer_step=0,
        )
        self._budget = KeepBudget(
            self.execution.keep_mb, self.dataset.train_images.device, notes=self.notes.append
        )
        used = NarrowStep(step) if config.precision == "bf16" else step
        self._objective = make_objective(objective, self.stream)
        self._samples = Samples(
            self._objective,
            used,
            unroll or self._engine(used),
            None if used is step else self._exact(step),
            network=network,
            classes=model.classes,
            config=self.config,
            ranks=self.ranks,
            shard=shard,
            clock=self.clock,
            notes=self.notes.append,
        )

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
        config = defaults.distill_config(
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

    def _exact(self, step: InnerStep) -> ExactUnroll:
        """Return the inner loop step by step, keeping nothing."""
        kind = TeslaUnroll if self.config.gradient == "tesla" else ExactUnroll
        return kind(
            step,
            step_images=self.execution.step_images,
            shard=self.ranks if self._shard and self.ranks.size > 1 else None,
            clock=self.clock,
        )

    def _engine(self, step: InnerStep) -> Unroll:
        """Return what runs the inner loop of every outer step."""
        plain = self._exact(step)
        on_gpu = self.dataset.train_images.device.type == "cuda"
        if on_gpu and self.config.engine == "compiled" and not self._shard:
            return KeepingUnroll(GraphUnroll(plain, notes=self.notes.append), plain, self._budget)
        return KeepingUnroll(plain, plain, self._budget)

    def _agree_on_budget(self) -> None:
        """Keep as many activations as the process that can keep the fewest."""
        if self.ranks.size == 1 or self._shard or not self._budget.automatic:
            return  # with a shared batch nothing is kept
        budgets = torch.zeros(self.ranks.size, dtype=torch.float64)
        budgets[self.ranks.rank] = self._budget.bytes
        self.ranks.sum(budgets)
        self._budget.limit(int(budgets.min()))

    @property
    def kept_bytes(self) -> int:
        """Bytes of activations that the last inner loop kept unasked."""
        return self._budget.kept or 0

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
        self._budget.resume(state.kept_bytes)
        self._agree_on_budget()
        now, step = state.synthetic, state.step + 1
        random = torch.Generator()
        random.set_state(state.random)
        draws = self._samples.draw(now, random)
        try:
            found, taught = self._samples.mean(now, draws)
        except DivergedError as exc:
            raise DivergedError(f"outer step {step}: {exc}") from None
        if taught is not None:
            state = replace(state, synthetic=replace(now, soft_labels=taught))
        with self.clock.part("update"):
            after = optimizer.update(state, found, self.config)
        now = after.synthetic
        cause = guards.trouble(
            self.config,
            largest_loss=self._objective.largest_loss,
            loss=found.loss,
            image_gradient=found.images,
            rate_gradient=found.learning_rate,
            images=now.images,
            rate=now.learning_rate,
        )
        if cause is not None:
            raise DivergedError(f"outer step {step}: {cause}")
        first = draws[0].place
        event = OuterStep(
            step=step,
            loss=found.loss,
            trajectory=first.trajectory,
            start=first.start,
            target=first.target,
            learning_rate=now.learning_rate,
            seconds=time.perf_counter() - began,
        )
        return replace(after, random=random.get_state(), kept_bytes=self._budget.kept), event

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

    def evaluate_and_keep_best(self, state: State, config: EvaluateConfig) -> tuple[State, Accuracy]:
        """Evaluate, and keep these images as the best if their mean accuracy is the highest so far."""
        found = self.evaluate(state, config)
        best = None if state.best is None else state.best.run.selected
        if best is None or found.mean > best.mean:
            why = synthetic.Selection(on=found.on, mean=found.mean, std=found.std)
            now = state.synthetic
            state = replace(state, best=replace(now, origin=replace(now.run, selected=why)))
        return state, found

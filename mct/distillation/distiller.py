"""One outer step: draws samples, computes the exact gradient, and updates images and learning rate.

A step is a pure function from state to state. `samples` computes the gradient, `optimizer` the update, and
`guards` checks the result; this module puts them together. The outer loop is in `loop`.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import trajfmt
from mct.data.datasets import Dataset
from mct.data.difficulty import Order
from mct.distillation import guards, judging, label_times, optimizer
from mct.distillation.engine import Engine
from mct.distillation.samples import Samples
from mct.distillation.settling import Settled, settle
from mct.distillation.state import State
from mct.errors import DivergedError
from mct.events import Accuracy, OuterStep
from mct.initial import scored
from mct.initial.experts import LastExperts
from mct.initial.start import start as start_of
from mct.inner.steps.narrow import NarrowStep
from mct.inner.steps.step import InnerStep
from mct.inner.steps.table import choose, make_step
from mct.inner.unroll import Unroll
from mct.learned.updates import shown
from mct.methods.finding import source_of
from mct.methods.recipe import PUBLISHED, Recipe
from mct.models import el2n, networks
from mct.objectives.scene import Scene
from mct.objectives.table import FromScene, Maker, make_objective
from mct.results import synthetic
from mct.results.stages import Earlier
from mct.runtime.clock import Clock
from mct.runtime.devices import device_of
from mct.runtime.execution import Execution
from mct.runtime.ranks import Alone, Ranks
from mct.runtime.seeds import generator
from mct.settings.config import DistillConfig, EvaluateConfig, Sampling
from mct.trajectories.first import first
from mct.trajectories.joined import JoinedBundles
from mct.trajectories.starts import Window
from mct.trajectories.stream import Bundle, KnotStream
from trajfmt.errors import counted
from trajfmt.schema import models


class Distiller:
    """Distils one bundle with one configuration.

    Args:
        bundle: The experts' trajectories; None where the objective needs none.
        dataset: The real images, preprocessed like those of the experts.
        model: The experts' network, with every fact known.
        config: The settings.
        artifact_sha256: Hash of the bundle, which is recorded in results; None without a bundle.
        artifacts: Hash of each bundle, which is recorded, too, if there are several.
        device: Where to compute.
        execution: Budgets of memory; None: the usual ones.
        ranks: The processes that share the work; None: this one alone.
        shard: Divide every batch of a sample among the processes, instead of the samples of an outer step.
        unroll: Runs the inner loop; None: as the settings say.
        objective: Name in `mct.objectives.table.OBJECTIVES`, or a class of your own that implements
            `mct.objectives.Objective` and is made from a `KnotStream`, or a `FromScene`, which may do without
            a bundle; None: that of the recipe. It is not recorded in results and states.
        recipe: The method: its objective, and the updates of what is learned.
        earlier: The result of earlier stages, whose images are kept as they are; None: there are none.

    Attributes:
        clock: The seconds that each part of the steps takes.
        ranks: The processes that share the work.
        notes: One line for each thing that works, but not in the way that was asked for.
        dataset: The dataset as the run uses it: with `select` heldout, `test_images` are the held-out tenth
            of the training images, and `train_images` the others.
        config: The settings, with `auto` replaced by what was chosen.
        recipe: The method.
        stream: Draws from the trajectories; None without a bundle.

    Raises:
        MismatchError: The model's parameters differ from those of the bundle.
        ConfigError: The trajectories are too short for the settings, a class has fewer than `ipc`
            images, a setting does not suit the bundle, or something needs a bundle and there is none.
    """

    def __init__(
        self,
        bundle: Bundle | None,
        dataset: Dataset,
        model: trajfmt.Model,
        config: DistillConfig,
        *,
        artifact_sha256: str | None,
        artifacts: tuple[str, ...] = (),
        device: str | torch.device = "cpu",
        execution: Execution | None = None,
        ranks: Ranks | None = None,
        shard: bool = False,
        unroll: Unroll | None = None,
        objective: str | Maker | FromScene | None = None,
        recipe: Recipe = PUBLISHED,
        earlier: Earlier | None = None,
    ) -> None:
        network = networks.build(model, generator=generator(config.seed, "shape"), device=device)
        guards.check_weights(bundle, network, config)
        self.execution, self.ranks = execution or Execution(), ranks or Alone()
        self.notes = [*dataset.notes, *guards.unused_bundle(bundle, config)]
        self.clock = Clock(device)
        updates = config.outer_steps * config.inner_steps * config.samples
        engine = choose(config.engine, updates, model, device)
        step = make_step(network, engine=engine, notes=self.notes.append)
        pack = None if engine == "eager" else step.pack
        self.stream = None if bundle is None else self._stream_of(bundle, config, device, pack)
        seen = dataset.heldout() if config.select == "heldout" else dataset
        guards.check_initial(seen, config)
        guards.check_sampler(seen, config)
        self._all_labels = dataset.train_labels
        self._used = ~dataset.held() if config.select == "heldout" else torch.ones_like(self._all_labels) > 0
        self.dataset = seen.to(device)
        self.config = replace(config, engine=engine)
        if self.stream is not None:
            sampling: Sampling = "discrete" if self.stream.discrete else "continuous"
            self.config = replace(self.config, max_start=self.stream.max_start, sampling=sampling)
        self.origin = synthetic.Origin(
            dataset=dataset.name,
            class_names=dataset.class_names,
            preprocessing=dataset.transform.record,
            model=model,
            config=self.config,
            artifact_sha256=artifact_sha256,
            artifacts=artifacts,
            labels_sha256=dataset.labels_sha256,
            test_sha256=dataset.test_sha256,
            model_source_sha256=networks.source_sha256(model),
            method_source_sha256=source_of(config.method),
            updates={name: shown(rule) for name, rule in recipe.updates.items()},
            outer_step=0,
            stages=() if earlier is None else earlier.stages,
        )
        self._earlier = earlier
        if earlier is not None:
            earlier.check(self.origin)
        self._engine = Engine(
            self.config,
            self.execution,
            network,
            self.dataset.train_images,
            ranks=self.ranks,
            shard=shard,
            clock=self.clock,
            notes=self.notes.append,
        )
        self.recipe = recipe
        self._updates = recipe.updates_of(self.config)
        self._network, self._step = network, step
        used = NarrowStep(step) if config.precision == "bf16" else step
        scene = Scene(
            stream=self.stream,
            images=self.dataset.train_images,
            labels=self.dataset.train_labels,
            classes=model.classes,
            fresh=partial(_fresh, model, device, step),
            gradient=used.gradient,
            separable=used.separable,
        )
        self._objective = make_objective(objective or recipe.objective_of(self.config), scene)
        self._samples = Samples(
            self._objective,
            used,
            unroll or self._engine.whole(used),
            None if used is step else self._engine.plain(step),
            network=network,
            classes=model.classes,
            config=self.config,
            ranks=self.ranks,
            shard=shard,
            clock=self.clock,
            notes=self.notes.append,
            label_time=label_times.of(self.config, self.stream),
        )

    def __repr__(self) -> str:
        what = f"{self.origin.dataset}, {models.model_name(self.origin.model)}"
        return f"<mct.Distiller {what}: {counted(self.config.ipc, 'image')} per class>"

    @classmethod
    def from_bundle(
        cls,
        bundle: trajfmt.Bundle | JoinedBundles | None,
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
        objective: str | Maker | FromScene | None = None,
        recipe: Recipe | None = None,
        earlier: Earlier | None = None,
        **settings: Any,
    ) -> "Distiller":
        """Make a distiller with the dataset, model and preprocessing that a bundle records.

        Args:
            bundle: An open bundle, or several as one; None for a method that needs none.
            dataset: Name or path of the dataset, used if the bundle names none.
            model: Like ConvNetD3W128, used if the bundle does not know it.
            preprocessing: `none`, `normalize` or `zca`, used if the bundle states none. Without a bundle,
                `settling.settle` says what is used where dataset, model and preprocessing are not given.
            root: Folder of the dataset's files, if it needs one.
            device: Where to compute.
            base: Settings to start from; None: the defaults for the dataset.
            preset: Name of published settings, which take precedence over `base`.
            execution: Budgets of memory; None: the usual ones.
            ranks: The processes that share the work; None: this one alone.
            shard: Divide every batch of a sample among the processes, instead of the samples.
            objective: What is minimised, as for `Distiller`.
            recipe: A method of your own; None: the one that the setting `method` names.
            earlier: The result of earlier stages, from `mct.results.files.earlier`; None: there are none.
            settings: Fields of `DistillConfig`, which take precedence over the others; None leaves one as it
                is.
        """
        here = device_of(device)
        settled = settle(
            bundle,
            dataset=dataset,
            model=model,
            preprocessing=preprocessing,
            root=root,
            base=base,
            preset=preset,
            recipe=recipe,
            stage=1 if earlier is None else len(earlier.stages) + 1,
            settings=settings,
        )
        return cls.of(
            settled,
            bundle,
            device=here,
            execution=execution,
            ranks=ranks,
            shard=shard,
            objective=objective,
            earlier=earlier,
        )

    @classmethod
    def of(
        cls, settled: Settled, bundle: trajfmt.Bundle | JoinedBundles | None, **options: Any
    ) -> "Distiller":
        """Make a distiller of what has been settled; `options` are further arguments of `Distiller`."""
        distiller = cls(
            bundle,
            settled.dataset,
            settled.model,
            settled.config,
            artifact_sha256=None if bundle is None else bundle.sha256,
            artifacts=bundle.hashes if isinstance(bundle, JoinedBundles) else (),
            recipe=settled.recipe,
            **options,
        )
        if isinstance(bundle, JoinedBundles):
            distiller.notes += bundle.remarks()
        distiller.notes += settled.notes
        return distiller

    def _stream_of(
        self,
        bundle: Bundle,
        config: DistillConfig,
        device: str | torch.device,
        arrange: Callable[[Tensor], Tensor] | None,
    ) -> KnotStream:
        """Return what draws from a bundle."""
        return KnotStream(
            first(bundle, config.trajectories),
            expert_steps=config.expert_steps,
            max_start=config.max_start,
            window=partial(Window.of, config),
            sampling=config.sampling,
            device=device,
            arrange=arrange,
            budget=self.execution.knots_mb << 20,
            clock=self.clock,
        )

    @property
    def kept_bytes(self) -> int:
        """Bytes of activations that the last inner loop kept with an automatic budget."""
        return self._engine.kept or 0

    @property
    def memory_options(self) -> list[str]:
        """The options that lower the memory of an outer step, with their values, in the order to try them."""
        return self._engine.memory_options

    def initial(self) -> State:
        """Return the state before the first step: images and their labels, and zero momentum.

        Images of earlier stages come first. The new ones are chosen with random numbers of this stage.
        """
        stream, stage = self.stream, () if self._earlier is None else ("stage", len(self.origin.stages) + 1)
        start = start_of(
            self.dataset,
            replace(self.origin, stages=(), scores_sha256=scored.hash_of(self.config.scores)),
            generator=generator(self.config.seed, "images", *stage),
            experts=None if stream is None else lambda: LastExperts(stream, self._network, self._step.unpack),
            order=self._hardest_first,
        )
        if self._earlier is not None:
            start = self._earlier.with_new(start)
        return State(
            synthetic=start,
            memory={
                name: optimizer.started(name, rule, start.values[name])
                for name, rule in self._updates.items()
            },
            random=generator(self.config.seed, "outer", *stage).get_state(),
        )

    def _hardest_first(self) -> Order:
        """Return the images of each class, the hardest first, by the scores of the settings."""
        assert self.config.scores is not None
        if self.config.scores == el2n.NAME:
            assert self.stream is not None  # `guards.check_weights` requires it
            return scored.by_experts(self.stream, self._network, self._step.unpack, self.dataset)
        path = Path(self.config.scores)
        return scored.filed(path, self._all_labels, self._used, self.dataset.classes)

    def step(self, state: State) -> tuple[State, OuterStep]:
        """Do one outer step.

        For each sample, one vector of P weights is made, the start. With teacher labels the target is made,
        too, for the forward pass that gives the labels, and dropped before the inner loop.

        Raises:
            DivergedError: The loss, a gradient or the learning rate cannot be used. `state` remains the last
                usable one.
        """
        began = time.perf_counter()
        self._engine.begin(state.kept_bytes)
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
            after = optimizer.update(state, found, self._updates) if found.accepted else state
            after = optimizer.advanced(after, refused=not found.accepted)
        now = after.synthetic
        cause = guards.trouble(
            self.config,
            largest_loss=self._objective.largest_loss,
            loss=found.loss,
            image_gradient=found.images,
            rate_gradient=found.learning_rate,
            images=now.images,
            rate=now.learning_rate,
            labels=now.soft_labels if now.is_rows else now.label_logits,
        )
        if cause is not None:
            raise DivergedError(f"outer step {step}: {cause}")
        self.notes += guards.refusals(self.config, after)
        place = draws[0].place
        event = OuterStep(
            step=step,
            loss=found.loss,
            trajectory=place.trajectory,
            start=place.start,
            target=place.target,
            learning_rate=now.learning_rate,
            inner_steps=None if self.config.min_steps is None else len(draws[0].batches),
            refused=None if found.accepted else True,
            seconds=time.perf_counter() - began,
        )
        return replace(after, random=random.get_state(), kept_bytes=self._engine.kept), event

    def evaluate(self, state: State, config: EvaluateConfig) -> Accuracy:
        """Return the accuracy of fresh networks trained on the result of `state`."""
        return judging.accuracy_of(self, state, config)

    def evaluate_and_keep_best(self, state: State, config: EvaluateConfig) -> tuple[State, Accuracy]:
        """Evaluate, and keep these images as the best if their mean accuracy is the highest so far."""
        return judging.evaluated(self, state, config)


def _fresh(
    model: trajfmt.Model, device: str | torch.device, step: InnerStep, random: torch.Generator
) -> Tensor:
    """Return the weights `(P,)` of a freshly initialised network, in the packed order of a step."""
    network = networks.build(model, generator=random, device=device)
    return step.pack(networks.flatten(network).detach())

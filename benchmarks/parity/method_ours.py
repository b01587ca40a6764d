"""Our side of `methods.py`: outer steps as `mct distill` does them, in float64, on the same draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import method_scene
import torch
from torch import Tensor

import trajfmt
from mct.data.augment import DSA
from mct.distillation import optimizer
from mct.distillation.samples import Draw, Samples
from mct.distillation.state import State
from mct.initial.experts import LastExperts
from mct.inner.problem import minibatches
from mct.inner.steps.autograd import AutogradStep
from mct.inner.steps.convnet import ConvNetStep
from mct.inner.unroll import ExactUnroll, Gradients
from mct.learned.labels import gradient, probabilities
from mct.methods.recipe import PUBLISHED
from mct.models import networks
from mct.objectives.nearest import NearestSample
from mct.objectives.objective import Path as Way
from mct.objectives.objective import Place
from mct.results.origin import Origin
from mct.results.synthetic import SyntheticDataset
from mct.runtime.clock import Clock
from mct.runtime.ranks import Alone
from mct.runtime.seeds import generator
from mct.settings.config import DistillConfig
from mct.trajectories.starts import Window
from mct.trajectories.stream import KnotStream

ENGINES = {"eager": AutogradStep, "compiled": ConvNetStep}
"""How inner steps are computed; the functions of `compiled` are run without being compiled."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """One outer step."""

    gradients: Gradients
    """Loss and gradients."""

    logits: Tensor | None
    """The gradient in the label logits."""

    before: State
    after: State
    """The states before and after it."""

    nearest: int | None
    """i* of ATT, if the objective computed it."""


def experts_of(bundle: trajfmt.Bundle) -> LastExperts:
    """Return the last experts of a bundle."""
    network = networks.build(method_scene.model(), generator=generator(0)).double()
    return LastExperts(KnotStream(bundle, expert_steps=1.0, max_start=1), network, lambda weights: weights)


def start_of(
    config: DistillConfig, images: Tensor, labels: Tensor, rate: float, logits: Tensor | None
) -> State:
    """Return a state before the first step, in float64."""
    origin = Origin(
        dataset="noise",
        class_names=tuple("abcdefghij"[: method_scene.CLASSES]),
        preprocessing=trajfmt.Preprocessing(kind="none"),
        model=method_scene.model(),
        config=config,
        artifact_sha256="0" * 64,
        outer_step=0,
    )
    start = SyntheticDataset(
        images=images,
        labels=labels,
        soft_labels=None if logits is None else probabilities(logits),
        label_logits=logits,
        learning_rate=rate,
        origin=origin,
    )
    updates = PUBLISHED.updates_of(config)
    memory = {name: rule.start(start.values[name]) for name, rule in updates.items()}
    return State(synthetic=start, memory=memory, random=torch.Generator().get_state())


def outer_steps(file: Path, state: State, places: Sequence[tuple[int, int]], engine: str) -> list[Done]:
    """Do one outer step from each trajectory and start of `places`."""
    config = state.synthetic.run.config
    network = networks.build(method_scene.model(), generator=generator(0)).double()
    step = ENGINES[engine](network)
    updates, done, seen = PUBLISHED.updates_of(config), [], []
    original = NearestSample.nearest

    def nearest(sample: NearestSample, path: Way) -> int:
        seen.append(original(sample, path))
        return seen[-1]

    with trajfmt.open(file) as bundle, mock.patch.object(NearestSample, "nearest", nearest):
        stream = KnotStream(
            bundle,
            expert_steps=config.expert_steps,
            max_start=config.max_start,
            window=partial(Window.of, config),
            arrange=step.pack,
        )
        samples = Samples(
            PUBLISHED.objective_of(config)(stream),
            step,
            ExactUnroll(step),
            None,
            network=network,
            classes=method_scene.CLASSES,
            config=config,
            ranks=Alone(),
            shard=False,
            clock=Clock(),
            notes=print,
        )
        for number, (trajectory, start) in enumerate(places):
            now = state.synthetic
            batching, augmenting = method_scene.randoms(number)
            batches = minibatches(len(now.images), config.batch_syn, config.inner_steps, batching)
            numbers = [DSA().draw(len(batch), 32, augmenting) for batch in batches]
            place = Place(trajectory=trajectory, start=start, target=start + config.expert_steps, step=number)
            found, _ = samples.mean(now, [Draw(place, batches, numbers)])
            after = optimizer.update(state, found, updates) if found.accepted else state
            after = optimizer.counted(after, refused=not found.accepted)
            slope = None if found.targets is None else gradient(now.targets, found.targets)
            at = seen[-1] if seen else None
            done.append(Done(gradients=found, logits=slope, before=state, after=after, nearest=at))
            state = after
    return done


def same_values(one: State, two: State) -> bool:
    """Return whether all learned values and all memory of their updates have the same bits."""
    pairs = [(one.synthetic.values, two.synthetic.values)]
    pairs += [(one.memory[name], two.memory[name]) for name in one.memory]
    return all(torch.equal(torch.as_tensor(a[k]), torch.as_tensor(b[k])) for a, b in pairs for k in a)


def bound_of(config: DistillConfig, step: int) -> float:
    """Return the bound of whole starts after some outer steps."""
    return Window.of(config, float(config.max_start or 0)).bound(step, discrete=True)

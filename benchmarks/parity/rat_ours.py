"""Our side of `rat.py`: outer steps as `mct distill` does them, in float64, and what both sides are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import trajfmt
from mct.data.augment import DSA, Draws
from mct.data.moving import moved_batches
from mct.distillation import optimizer
from mct.distillation.samples import Draw, Samples
from mct.distillation.state import State
from mct.inner.engines import unroll_of
from mct.inner.steps.autograd import AutogradStep
from mct.inner.steps.convnet import ConvNetStep
from mct.inner.unroll import Gradients
from mct.methods.recipe import PUBLISHED
from mct.models import networks
from mct.objectives.objective import Place
from mct.objectives.real import RealLoss
from mct.objectives.scene import Scene
from mct.results.origin import Origin
from mct.results.synthetic import SyntheticDataset
from mct.runtime.clock import Clock
from mct.runtime.ranks import Alone
from mct.runtime.seeds import generator
from mct.settings.config import DistillConfig

STEPS, RATE = 6, 1e-3
ENGINES = {"eager": AutogradStep, "compiled": ConvNetStep}
"""How inner steps are computed; the functions of `compiled` are run without being compiled."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """An experiment, in the words of their code."""

    total: int
    window: int
    inner: str
    learned: bool
    images: Tensor
    labels: Tensor
    ipc: int
    batch_pc: int
    nc: int
    classes: int = 4
    side: int = 16
    augment: str = "flip_rotate"
    """Both sides use ours, because theirs is in float32; `rat.py` compares the two."""

    @property
    def what(self) -> str:
        """What is compared."""
        through = "all" if self.window == self.total else f"the last {self.window}"
        labels = "learned rows" if self.learned else "hard labels"
        batch = f"{self.batch_pc} of {self.ipc} images of {self.nc} of {self.classes} classes"
        inner = "Adam" if self.inner == "Adam" else "SGD with momentum and decay"
        return f"{inner}, gradient through {through} of {self.total} steps, {labels}, {batch}"

    @property
    def config(self) -> DistillConfig:
        """The same in our words."""
        adam = self.inner == "Adam"
        inner: dict[str, Any] = (
            {"inner_optimizer": "adam"} if adam else {"inner_momentum": 0.9, "inner_decay": 5e-4}
        )
        return DistillConfig(
            ipc=self.ipc, objective="real", fresh_starts=1.0, real_batch=24, inner_steps=self.total,
            window=self.window, initial="unit-noise", labels="learned" if self.learned else "hard",
            label_form="rows", outer_optimizer="adam", lr_img=RATE, lr_label=RATE, lr_lr=0.0, lr_init=RATE,
            clip_average=0.9, augment=self.augment, **inner,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Given:
    """The random numbers of one outer step."""

    place: Place
    weights: Tensor
    """theta_0 `(P,)`, in the order of `Module.parameters()`."""

    real: Tensor
    real_labels: Tensor
    real_draws: Draws | None
    draws: list[Draws]


@dataclass(frozen=True)
class Done:
    """All outer steps."""

    gradients: list[Gradients]
    state: State


def case(total: int, window: int, inner: str, *, learned: bool) -> Case:
    """Return an experiment with all images in every batch."""
    labels = torch.arange(4).repeat_interleave(3)
    images = torch.randn(12, 3, 16, 16, generator=generator(0), dtype=torch.float64)
    images /= images.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    return Case(
        total=total, window=window, inner=inner, learned=learned, images=images, labels=labels, ipc=3,
        batch_pc=3, nc=4,
    )  # fmt: skip


def model(case: Case) -> trajfmt.Model:
    """Return the student."""
    return networks.parse("ConvNetD2W16", channels=3, image_size=case.side, classes=case.classes)


def objective_of(case: Case, engine: str) -> tuple[RealLoss, Any]:
    """Return the loss on 60 real images, and the inner step."""
    network = networks.build(model(case), generator=generator(0)).double()
    step = ENGINES[engine](network)
    random = generator(5)

    def fresh(random: torch.Generator) -> Tensor:
        made = networks.build(model(case), generator=random).double()
        size = 3.0 if float(torch.rand((), generator=random)) < 0.3 else 1.0  # so that some norms are large
        return step.pack(size * networks.flatten(made).detach())

    scene = Scene(
        stream=None,
        images=torch.randn(60, 3, case.side, case.side, generator=random, dtype=torch.float64),
        labels=torch.arange(60) % case.classes,
        fresh=fresh,
        gradient=step.gradient,
    )
    return RealLoss.of(case.config, scene), step


def given(case: Case) -> list[Given]:
    """Return the random numbers of all outer steps."""
    objective, step = objective_of(case, "eager")
    scene, found = objective._scene, []
    for number in range(STEPS):
        random = generator(number, "outer")
        place = objective.draw(random, number)
        chosen, real_draws = objective.batch(place)
        size = case.nc * min(case.batch_pc, case.ipc)
        draws = [DSA(case.augment).draw(size, case.side, random) for _ in range(case.total)]
        weights = step.unpack(objective.begin(place).weights)
        found.append(
            Given(
                place=place,
                weights=weights,
                real=scene.images[chosen],
                real_labels=scene.labels[chosen],
                real_draws=real_draws,
                draws=draws,
            )
        )
    return found


def outer_steps(case: Case, scenes: Sequence[Given], picked: Sequence[Sequence[Tensor]], engine: str) -> Done:
    """Do the outer steps with the synthetic images that were picked for every inner step."""
    config, (objective, step) = case.config, objective_of(case, engine)
    network = networks.build(model(case), generator=generator(0)).double()
    origin = Origin(
        dataset="noise",
        class_names=tuple("abcdefghij"[: case.classes]),
        preprocessing=trajfmt.Preprocessing(kind="none"),
        model=model(case),
        config=config,
        artifact_sha256=None,
        outer_step=0,
    )
    start = SyntheticDataset(
        images=case.images,
        labels=case.labels,
        soft_labels=torch.eye(case.classes, dtype=torch.float64)[case.labels] if case.learned else None,
        learning_rate=RATE,
        origin=origin,
    )
    updates = PUBLISHED.updates_of(config)
    memory = {name: rule.start(start.values[name]) for name, rule in updates.items()}
    state = State(synthetic=start, memory=memory, random=torch.Generator().get_state())
    samples = Samples(
        objective,
        step,
        unroll_of(config, step, network, (3, case.side, case.side)),
        None,
        network=network,
        classes=case.classes,
        config=config,
        ranks=Alone(),
        shard=False,
        clock=Clock(),
        notes=print,
    )
    done: list[Gradients] = []
    for scene, batches in zip(scenes, picked, strict=True):
        drawn, numbers = moved_batches(list(batches), scene.draws, torch.device("cpu"))
        found, _ = samples.mean(state.synthetic, [Draw(scene.place, drawn, numbers)])
        done.append(found)
        state = optimizer.advanced(optimizer.update(state, found, updates))
    return Done(done, state)

"""One outer step of a method that needs no trajectories: DC, DSA, DM or CAFE.

A step is a pure function from state to state, like that of `Distiller`. The method, of the package
`condensation`, computes gradients in the images; this module updates the images, and checks them. The
learning rate is not learned: it stays `lr_init`, with which evaluations train.

The work is not divided among processes, because one class takes little time, and the training of the network
is sequential.
"""

import time
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

import trajfmt
from mct.condensation.method import Scene
from mct.condensation.real import ClassImages
from mct.condensation.table import TABLE
from mct.data.augment import augmentation
from mct.data.datasets import Dataset
from mct.distillation import guards, judging
from mct.distillation.settling import Settled
from mct.distillation.state import State
from mct.errors import ConfigError, DivergedError
from mct.events import Accuracy, OuterStep
from mct.initial.start import start as start_of
from mct.learned.updates import Sgd
from mct.methods.recipe import PUBLISHED
from mct.models import networks
from mct.models.functional import Functional
from mct.results.origin import Origin
from mct.runtime.clock import Clock
from mct.runtime.execution import Execution
from mct.runtime.ranks import Alone, Ranks
from mct.runtime.seeds import generator
from mct.settings.condensation import Condensation, loops_of
from mct.settings.config import DistillConfig, EvaluateConfig
from trajfmt.schema import models


class Condenser:
    """Condenses one dataset with one configuration.

    Args:
        dataset: The real images, preprocessed.
        model: The network, with every fact known.
        config: The settings; `method` is one of `mct.condensation.table.TABLE`.
        device: Where to compute.
        execution: Budgets of memory, of which none has an effect here; None: the usual ones.
        ranks: The processes that share the run; None: this one alone.

    Attributes:
        config: The settings, in which nothing is open.
        dataset: The dataset as the run uses it, on `device`; see `Distiller`.
        clock: The seconds that each part of the steps takes.

    Raises:
        ConfigError: There are several processes, a class has fewer than `ipc` images, or settings are missing
            that are not published.
    """

    def __init__(
        self,
        dataset: Dataset,
        model: trajfmt.Model,
        config: DistillConfig,
        *,
        device: str | torch.device = "cpu",
        execution: Execution | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        method, settings = config.method or "", config.condensation or Condensation()
        self.execution, self.ranks, self.recipe = execution or Execution(), ranks or Alone(), PUBLISHED
        if self.ranks.size > 1:
            raise ConfigError(
                f"the method {method} runs in one process, and there are {self.ranks.size}; start it without "
                "torchrun"
            )
        if config.initial in ("correct", "scored"):
            raise ConfigError(
                f"`initial` {config.initial} is for methods that match trajectories; omit `initial`"
            )
        matches, passes = loops_of(method, config.ipc, settings)
        settings = replace(settings, matches=matches, passes=passes)
        self.config = replace(config, condensation=settings)
        seen = dataset.heldout() if config.select == "heldout" else dataset
        guards.check_initial(seen, config)
        self.dataset, self.clock, self.notes = seen.to(device), Clock(device), list(dataset.notes)
        self.origin = Origin(
            dataset=dataset.name,
            class_names=dataset.class_names,
            preprocessing=dataset.transform.record,
            model=model,
            config=self.config,
            artifact_sha256=None,
            labels_sha256=dataset.labels_sha256,
            test_sha256=dataset.test_sha256,
            model_source_sha256=networks.source_sha256(model),
            outer_step=0,
        )
        augment = None if method == "dc" else augmentation(config.augment)
        self._method = TABLE[method]
        self._scene = Scene(
            real=ClassImages(self.dataset.train_images, self.dataset.train_labels, dataset.classes),
            ipc=config.ipc,
            fresh=partial(_fresh, model, device),
            augment=None if augment is None else replace(augment, aligned=False),
            settings=settings,
            clock=self.clock,
        )
        network = self._scene.fresh(generator(config.seed, "shape"))
        Functional(network)  # refuses dropout, which would draw from the generator of the process
        self._method.check(network, self.dataset.train_images[:2])

    @classmethod
    def of(
        cls,
        settled: Settled,
        *,
        device: str | torch.device = "cpu",
        execution: Execution | None = None,
        ranks: Ranks | None = None,
    ) -> "Condenser":
        """Make a condenser of what has been settled."""
        return cls(
            settled.dataset,
            settled.model,
            settled.config,
            device=device,
            execution=execution,
            ranks=ranks,
        )

    def __repr__(self) -> str:
        what = f"{self.config.method}, {self.origin.dataset}, {models.model_name(self.origin.model)}"
        return f"<mct.Condenser {what}: ipc {self.config.ipc}>"

    @property
    def memory_options(self) -> list[str]:
        """The options that lower the memory of an outer step, with their values."""
        settings = self._scene.settings
        return [f"--class-batch (now {settings.class_batch})", f"--net-batch (now {settings.net_batch})"]

    def initial(self) -> State:
        """Return the state before the first step: real images or noise, and zero momentum."""
        start = start_of(self.dataset, self.origin, generator=generator(self.config.seed, "images"))
        rule = self._rule(0)
        return State(
            synthetic=start,
            memory={"images": rule.start(start.images)},
            random=generator(self.config.seed, "outer").get_state(),
        )

    def _rule(self, step: int) -> Sgd:
        """Return the update of the images in the outer step after so many."""
        halved = sum(step >= milestone for milestone in self._scene.settings.halve_at)
        return Sgd(self.config.lr_img * 0.5**halved, self.config.momentum)

    def step(self, state: State) -> tuple[State, OuterStep]:
        """Do one outer step: all updates of the images with one network.

        The loss is the mean over the updates and classes, each before its update.

        Raises:
            DivergedError: The loss, a gradient or the images cannot be used. `state` remains the last usable
                one.
        """
        began = time.perf_counter()
        random, number = torch.Generator(), state.step + 1
        random.set_state(state.random)
        now, losses, rule = state, list[float](), self._rule(state.step)

        def update(loss: Tensor, slope: Tensor) -> Tensor:
            nonlocal now
            before = now.synthetic
            images, memory = rule(before.images, slope, now.memory["images"], state.step)
            assert isinstance(images, Tensor)
            losses.append(float(loss))
            for what, value in (("loss", loss), ("gradient", slope), ("update of the images", images)):
                if not bool(value.isfinite().all()):
                    raise DivergedError(
                        f"outer step {number}: the {what} is not finite; try a smaller `lr_img` or `lr_net`"
                    )
            now = replace(now, synthetic=replace(before, images=images), memory={"images": memory})
            return images

        self._method.step(self._scene, state.synthetic.images, update, random)
        synthetic = now.synthetic
        event = OuterStep(
            step=number,
            loss=sum(losses) / len(losses) / self.dataset.classes,
            learning_rate=synthetic.learning_rate,
            seconds=time.perf_counter() - began,
        )
        origin = replace(synthetic.run, outer_step=number)
        return replace(now, synthetic=replace(synthetic, origin=origin), random=random.get_state()), event

    def evaluate(self, state: State, config: EvaluateConfig) -> Accuracy:
        """Return the accuracy of fresh networks trained on the result of `state`."""
        return judging.accuracy_of(self, state, config)

    def evaluate_and_keep_best(self, state: State, config: EvaluateConfig) -> tuple[State, Accuracy]:
        """Evaluate, and keep these images as the best if their mean accuracy is the highest so far."""
        return judging.evaluated(self, state, config)


def _fresh(model: trajfmt.Model, device: str | torch.device, random: torch.Generator) -> nn.Module:
    """Return a freshly initialised network in training mode."""
    return networks.build(model, generator=random, device=device).train()

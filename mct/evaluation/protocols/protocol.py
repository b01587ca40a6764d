"""`Protocol` and `Plan`: how one network is trained on a synthetic dataset, and when it is tested.

To add a protocol:

1. Write a module beside this one with a class that implements `Protocol`. `plan` returns what trains one
   network: an object that implements `Plan`. Passes with SGD are `mct.evaluation.protocols.mtt.Passes`; other
   optimizers, schedules, augmentations or samplers are a plan of the protocol's own.
2. Add its name to `Protocol` in `mct.settings.config`, which says what `EvaluateConfig.protocol` may be, and
   the object to `PROTOCOLS` in `mct.evaluation.protocols.table`. `mct evaluate --protocol` and
   `mct distill --eval-protocol` then accept the name, results record it, and later evaluations of a result
   use it.
3. Settings of `EvaluateConfig` mean the same in every protocol. What a protocol fixes, such as its schedule,
   is a constant of its module, and a setting that it cannot follow is refused in `plan` with a `ConfigError`.
   What it needs to know about images besides their labels is a field of `Material`, with a default.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from typing import Protocol as Interface

import torch
from torch import Tensor, nn

import trajfmt
from mct.inner.steps.step import Notes
from mct.results.stages import Stage
from mct.settings.config import EvaluateConfig
from mct.training.learners import Learner


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a network learns from: N images of K classes."""

    images: Tensor
    """`(N, C, H, W)`, preprocessed, on the device of the training."""

    labels: Tensor
    """`(N,)` int64 class numbers, or `(N, K)` probabilities."""

    learning_rate: float
    """The synthetic learning rate; of several stages, that of the last."""

    stages: tuple[Stage, ...] = ()
    """The parts of a training that has several, in order; empty if all images are learned from together."""

    learned: Tensor | None = None
    """`(N,)` bool on the CPU: which images were learned, if the others are real ones; None: all of them."""


class Plan(Interface):
    """The training of one network. It holds neither the network nor random numbers, and may be run again."""

    @property
    def updates(self) -> int:
        """Return the number of updates, about, by which it is decided whether compiling pays off."""
        ...

    @property
    def shapes(self) -> Sequence[tuple[int, ...]]:
        """Return the shapes `(B, C, H, W)` of most batches, for which updates are compiled."""
        ...

    def learners(
        self,
        networks: Sequence[nn.Module],
        model: trajfmt.Model,
        *,
        engine: Literal["compiled", "eager"],
        notes: Notes | None,
    ) -> list[Learner]:
        """Return what updates each of several fresh networks, which may be trained at once.

        Args:
            networks: Initialised networks of one architecture, in training mode.
            model: The architecture.
            engine: How gradients are computed.
            notes: Called with one line where something could not be compiled.
        """
        ...

    def run(self, learner: Learner, random: torch.Generator) -> Iterator[bool]:
        """Train one network, and yield after every update whether the network is to be tested then.

        Args:
            learner: From `learners`.
            random: On the CPU; the source of all random numbers of the training.
        """
        ...


class Protocol(Interface):
    """A way to evaluate a synthetic dataset. It is immutable and may be used by several threads."""

    @property
    def joint(self) -> int:
        """Number of the tests of every network, if one of them is chosen for all networks: that with the
        highest mean. 0 if `counting` decides for every network."""
        ...

    @property
    def rate(self) -> float | None:
        """The learning rate that every training begins with; None: that of the material."""
        ...

    def plan(self, material: Material, model: trajfmt.Model, config: EvaluateConfig) -> Plan:
        """Return the training of one network.

        Args:
            material: What it learns from.
            model: The network.
            config: The settings.

        Raises:
            ConfigError: The protocol cannot follow a setting.
        """
        ...

    def counting(self, accuracies: Sequence[float]) -> int:
        """Return the number of the test, from 0, whose accuracy is that of the network.

        If the protocol is `joint`, it is only shown while other networks are trained.

        Args:
            accuracies: Those of all tests of one network, in order; at least one.
        """
        ...

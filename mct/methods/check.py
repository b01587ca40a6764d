"""The gradients of a method, compared with backpropagation through its whole inner loop, in float64.

A small ConvNet is trained for N updates on random images from a random start, towards a random target. Two
things are checked:

* **The inner loop.** The gradients in images, learning rate and labels that the recursion computes from the
  adjoints of the objective equal those of autograd through the graph of all N updates, by the optimiser and
  with the window of the settings. Both are exact, and differ by rounding.
* **The adjoints.** Those of the objective equal central differences of its loss along random directions.
  Differences are exact to about 1e-8.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import trajfmt
from mct.data.augment import DSA
from mct.errors import ConfigError
from mct.inner.engines import unroll_of
from mct.inner.optimizers.optimizer import Slots
from mct.inner.optimizers.table import optimizer_of
from mct.inner.problem import Problem, minibatches
from mct.inner.steps.autograd import AutogradStep
from mct.inner.steps.convnet import ConvNetStep
from mct.inner.steps.step import InnerStep
from mct.methods.recipe import Recipe
from mct.models import networks
from mct.models.architectures.convnet import ConvNet
from mct.models.functional import Functional
from mct.models.idle import idle_parameters
from mct.objectives.objective import LossAndAdjoint, ObjectiveSample, Path
from mct.objectives.scene import Scene
from mct.objectives.table import make_objective
from mct.runtime.seeds import generator
from mct.settings.config import DistillConfig
from mct.trajectories.stream import KnotStream

UPDATES = (1, 5, 30)
"""Numbers of inner steps N that are checked."""

_CLASSES, _CHANNELS, _SIZE, _IMAGES, _LAST = 4, 2, 8, 7, 8
_DIFFERENCE = 1e-5
"""Length of a step of a central difference, relative to the way from start to target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The errors of one inner loop."""

    engine: str
    """How inner steps were computed: `eager` or `compiled`. The latter are the functions that are compiled
    elsewhere, run uncompiled."""

    updates: int
    """N."""

    images: float
    """Relative error of the gradient in the images, in norm."""

    learning_rate: float
    """Relative error of the derivative in the learning rate."""

    labels: float
    """Relative error of the gradient in the labels, in norm."""

    adjoints: float
    """Relative error of the adjoints of the objective against central differences of its loss."""

    @property
    def exact(self) -> bool:
        """Whether all errors are as small as rounding explains: 1e-10, and 1e-6 for central differences."""
        return max(self.images, self.learning_rate, self.labels) < 1e-10 and self.adjoints < 1e-6


def check_method(recipe: Recipe, config: DistillConfig) -> Iterator[Checked]:
    """Yield the errors of a method for each engine and number of inner steps.

    Args:
        recipe: The method.
        config: Its settings. The network, the images, the number of inner steps, the learning rate and the
            trajectory are those of the check.

    Raises:
        ConfigError: The objective gives no adjoint, so that there is nothing to compare.
    """
    random = generator(0)
    network = networks.build(_model(), generator=random).double()
    names = networks.parameters_of(network)
    layout = trajfmt.ParamLayout.of(names, dtype="F64")
    start = networks.flatten(network).detach()
    bundle = _Line(layout, start, start + 0.05 * torch.randn(len(start), generator=random).double())
    assert isinstance(network, ConvNet)
    steps: dict[str, InnerStep] = {"eager": AutogradStep(network), "compiled": ConvNetStep(network)}
    for engine, step in steps.items():
        for updates in UPDATES:
            yield _check(recipe, config, bundle, network, step, engine, updates)


def _check(
    recipe: Recipe,
    config: DistillConfig,
    bundle: "_Line",
    network: nn.Module,
    step: InnerStep,
    engine: str,
    updates: int,
) -> Checked:
    """Return the errors of one inner loop."""
    random = generator(updates)
    stream = KnotStream(bundle, expert_steps=3.0, max_start=4.0, arrange=step.pack)
    objective = make_objective(recipe.objective_of(config), _scene(stream, step))
    sample = objective.begin(objective.draw(random, 0))
    problem = replace(_problem(sample, updates, random), window=config.window)
    seen: list[tuple[Path, LossAndAdjoint]] = []

    def terminal(path: Path) -> LossAndAdjoint:
        found = sample.loss_and_adjoint(path)
        seen.append(([weights.clone() for weights in path], found))
        return found

    config = replace(config, gradient="exact")
    found = unroll_of(config, step, network, (_CHANNELS, _SIZE, _SIZE)).gradients(problem, terminal)
    ((path, end),) = seen
    if end.left_out:
        raise ConfigError(
            f"`method` {recipe.name}: the objective leaves the sample out, so nothing can be compared"
        )
    images, rate, labels = _whole_graph(config, step, network, problem, end)
    assert found.targets is not None
    return Checked(
        engine=engine,
        updates=updates,
        images=_off(found.images, images),
        learning_rate=_off(torch.tensor(found.learning_rate, dtype=torch.float64), rate),
        labels=_off(found.targets, labels),
        adjoints=_off_differences(sample, path, end, random),
    )


def _model() -> trajfmt.Model:
    """Return the network of the check."""
    return networks.parse("ConvNetD2W8", channels=_CHANNELS, image_size=_SIZE, classes=_CLASSES)


def _scene(stream: KnotStream, step: InnerStep) -> Scene:
    """Return what an objective is made from: the trajectory, random images, and fresh networks."""
    random, count = generator(1), 8 * _CLASSES

    def fresh(random: torch.Generator) -> Tensor:
        return step.pack(networks.flatten(networks.build(_model(), generator=random)).detach().double())

    return Scene(
        stream=stream,
        images=torch.randn(count, _CHANNELS, _SIZE, _SIZE, generator=random, dtype=torch.float64),
        labels=torch.arange(count) % _CLASSES,
        classes=_CLASSES,
        fresh=fresh,
        gradient=step.gradient,
    )


def _problem(sample: ObjectiveSample, updates: int, random: torch.Generator) -> Problem:
    """Return an inner loop with ragged batches, DSA and soft labels."""
    augment, batches = DSA(), minibatches(_IMAGES, 3, updates, random)
    return Problem(
        weights=sample.weights.clone(),
        images=torch.randn(_IMAGES, _CHANNELS, _SIZE, _SIZE, generator=random, dtype=torch.float64),
        targets=torch.randn(_IMAGES, _CLASSES, generator=random, dtype=torch.float64).softmax(1),
        learning_rate=0.02,
        batches=batches,
        augment=augment,
        draws=[augment.draw(len(batch), _SIZE, random) for batch in batches],
        labels=True,
    )


def _whole_graph(
    config: DistillConfig, step: InnerStep, network: nn.Module, problem: Problem, end: LossAndAdjoint
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients in images, learning rate and targets by autograd through all updates at once.

    The loss enters by its adjoints: the gradient of sum_i <eta_i, theta_i> with constant eta_i is that of the
    loss. Autograd differentiates the update of the optimiser, whose own adjoint is not used.
    """
    images, targets = problem.images.clone().requires_grad_(), problem.targets.clone().requires_grad_()
    alpha = torch.tensor(problem.learning_rate, dtype=torch.float64, requires_grad=True)
    function, count = Functional(network), len(problem.batches)
    theta = step.unpack(problem.weights).clone().requires_grad_()
    optimizer = optimizer_of(config)
    idle = idle_parameters(network, (_CHANNELS, _SIZE, _SIZE)) & optimizer.rescales
    slots: Slots = tuple(torch.zeros_like(theta) for _ in range(optimizer.slots))
    total = torch.zeros((), dtype=torch.float64)
    assert problem.augment is not None
    assert problem.draws is not None
    for number, batch in enumerate(problem.batches):
        pixels = problem.augment.apply(images[batch], problem.draws[number])
        loss = cross_entropy(function(theta, pixels), targets[batch])
        gradient = torch.autograd.grad(loss, theta, create_graph=True)[0].masked_fill(idle, 0)
        gradient = gradient + config.inner_decay * theta
        theta, slots = optimizer.update(number, theta, slots, gradient, alpha)
        if number < problem.first:
            theta, slots = theta.detach().requires_grad_(), tuple(each.detach() for each in slots)
        eta = end.at(number + 1, count)
        if eta is not None:
            total = total + theta @ step.unpack(eta.double())
    found = torch.autograd.grad(total, (images, alpha, targets))
    return found[0], found[1], found[2]


def _off_differences(
    sample: ObjectiveSample, path: Path, end: LossAndAdjoint, random: torch.Generator
) -> float:
    """Return the error of the adjoints along one random direction of the whole way."""
    count = len(path) - 1
    size = _DIFFERENCE * float((path[-1] - path[0]).norm() + 1e-3)
    ways = [torch.randn(len(path[0]), generator=random, dtype=torch.float64) for _ in range(count)]
    ways = [size * way / way.norm() for way in ways]
    losses = [
        float(
            sample.loss_and_adjoint([path[0], *(w + s * v for w, v in zip(path[1:], ways, strict=True))]).loss
        )
        for s in (1, -1)
    ]
    found = (losses[0] - losses[1]) / 2
    etas = [end.at(number, count) for number in range(1, count + 1)]
    pairs = [(eta, way) for eta, way in zip(etas, ways, strict=True) if eta is not None]
    expected = sum(float(eta @ way) for eta, way in pairs)
    scale: float = sum(float(eta.norm() * way.norm()) for eta, way in pairs) / len(path[0]) ** 0.5
    return abs(found - expected) / max(abs(expected), scale)


def _off(found: Tensor, expected: Tensor) -> float:
    """Return the relative error in norm; 0 where both are zero."""
    size = float(expected.norm())
    return float((found - expected).norm()) / size if size else float(found.norm())


class _Line:
    """A bundle of one trajectory in memory: a straight way in float64, of eight timesteps."""

    encoding = "convex"

    def __init__(self, layout: trajfmt.ParamLayout, *knots: Tensor) -> None:
        self.layout, self._knots, self.last = layout, [knot.numpy() for knot in knots], _LAST

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int, /) -> "_Line":
        return self

    def knot(self, k: int, /) -> NDArray[Any]:
        """Return a knot `(P,)`, read-only."""
        view = self._knots[k].view()
        view.flags.writeable = False
        return view

    def locate(self, t: float, /) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the only segment, and the share of the way, for each layer."""
        layers = len(self.layout.layers)
        return np.zeros(layers, np.int64), np.full(layers, t / self.last)

"""The gradients of the inner loop against plain backpropagation through all of it.

Two tables. In float64, for every network, number of inner steps and backend: the largest relative error of
loss, image gradient and learning-rate gradient, below what backpropagation itself gives from weights that are
all one rounding larger: the condition of the problem. In float32, the error of the image gradient by plain
backpropagation and by each backend, median over seeds, and their ratio: float32 that flips a ReLU is off
by 1e-2, whoever computes it.

    python benchmarks/exact_gradient.py [--steps 1 5 30] [--seeds 5] [--engine compiled] [--alpha A]
        [--networks NAME ...]
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from mct.data.augment import DSA
from mct.inner.problem import Problem, minibatches, targets_of
from mct.inner.steps.convnet import ConvNetStep
from mct.inner.steps.step import InnerStep
from mct.inner.steps.table import make_step
from mct.inner.unroll import ExactUnroll, Gradients
from mct.models import networks
from mct.models.architectures.convnet import ConvNet
from mct.objectives.objective import LossAndAdjoint, Path
from mct.runtime.seeds import generator

NETWORKS = [
    "ConvNetD3W16", "ConvNetD3W16BN", "ConvNetD3W16LN", "ConvNetD3W16GN", "ConvNetD3W16NN", "ConvNetD3W16MP",
    "MLP", "ResNet18", "VGG11",
]  # fmt: skip
CLASSES, SIZE, IMAGES, BATCH = 5, 32, 7, 3
ALPHA = {"ResNet18": 0.001}
"""Learning rates at which 30 steps are a problem with a well-defined answer; others 0.01."""


def build(name: str, seed: int) -> nn.Module:
    """Return a network with weights of its own."""
    if name == "MLP":
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            pixels = 3 * SIZE * SIZE
            return nn.Sequential(nn.Flatten(), nn.Linear(pixels, 64), nn.Tanh(), nn.Linear(64, CLASSES))
    model = networks.parse(name, channels=3, image_size=SIZE, classes=CLASSES)
    return networks.build(model, generator=generator(seed))


@dataclass(frozen=True)
class Case:
    """A network, an inner loop with ragged batches and DSA, and where it should arrive."""

    network: nn.Module
    problem: Problem
    target: Tensor

    @classmethod
    def make(cls, name: str, steps: int, seed: int, dtype: torch.dtype, alpha: float) -> Case:
        """Draw everything in float64, so that a seed is the same problem in every dtype."""
        random, network = generator(seed, "case"), build(name, seed).to(dtype)
        weights = torch.cat([p.detach().reshape(-1) for p in network.parameters()])
        batches, dsa = minibatches(IMAGES, BATCH, steps, random), DSA()
        images = torch.randn(IMAGES, 3, SIZE, SIZE, generator=random, dtype=torch.float64)
        noise = torch.randn(len(weights), generator=random, dtype=torch.float64)
        problem = Problem(
            weights=weights,
            images=images.to(dtype),
            targets=targets_of(torch.arange(IMAGES) % CLASSES, CLASSES, dtype),
            learning_rate=alpha,
            batches=batches,
            augment=dsa,
            draws=[dsa.draw(len(batch), SIZE, random) for batch in batches],
        )
        return cls(network, problem, weights + (0.01 * noise).to(dtype))


def plain(case: Case) -> Gradients:
    """Backpropagate through the whole unroll."""
    problem, network = case.problem, case.network
    images = problem.images.clone().requires_grad_()
    alpha = torch.tensor(problem.learning_rate, dtype=images.dtype, requires_grad=True)
    named = list(network.named_parameters())
    theta = problem.weights.clone().requires_grad_()
    assert problem.augment is not None
    assert problem.draws is not None
    for batch, draws in zip(problem.batches, problem.draws, strict=True):
        pieces = torch.split(theta, [value.numel() for _, value in named])
        state = {name: piece.view(value.shape) for (name, value), piece in zip(named, pieces, strict=True)}
        state |= {name: value.clone() for name, value in network.named_buffers()}
        logits = functional_call(network.train(), state, (problem.augment.apply(images[batch], draws),))
        loss = cross_entropy(logits, problem.targets[batch])
        theta = theta - alpha * torch.autograd.grad(loss, theta, create_graph=True)[0]
    distance = (problem.weights - case.target).square().sum()
    objective = (theta - case.target).square().sum() / distance
    pull, slope = torch.autograd.grad(objective, (images, alpha))
    return Gradients(loss=float(objective.detach()), images=pull, learning_rate=float(slope))


def ours(case: Case, step: InnerStep, **options: object) -> Gradients:
    """The same by the exact recursion over `step`."""
    start, target = step.pack(case.problem.weights), step.pack(case.target)
    distance = (start - target).square().sum()

    def terminal(path: Path) -> LossAndAdjoint:
        difference = path[-1] - target
        return LossAndAdjoint(float(difference.square().sum() / distance), 2 * difference / distance)

    unroll = ExactUnroll(step, **options)  # type: ignore[arg-type]
    return unroll.gradients(replace(case.problem, weights=start), terminal)


def errors(found: Gradients, expected: Gradients) -> tuple[float, float, float]:
    """Return the relative errors of loss, images and learning rate."""
    images = (found.images.double() - expected.images.double()).norm() / expected.images.double().norm()
    slope = abs(found.learning_rate - expected.learning_rate) / abs(expected.learning_rate)
    return abs(found.loss - expected.loss) / abs(expected.loss), float(images), slope


def backends(name: str, dtype: torch.dtype, engine: str) -> Iterator[tuple[str, InnerStep]]:
    """Yield the ways to compute a step of a network; weights are given later, one serves all seeds."""
    network = build(name, 0).to(dtype)
    yield "eager", make_step(network, engine="eager")
    if isinstance(network, ConvNet):
        yield "closed", ConvNetStep(network)
    if engine == "compiled" and (isinstance(network, ConvNet) or name == "MLP"):
        yield "compiled", make_step(network, engine="compiled", notes=print)


def main() -> int:
    """Print both tables; return 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 5, 30])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--engine", choices=["compiled", "eager"], default="compiled")
    parser.add_argument("--alpha", type=float, help="learning rate of the inner loop, in place of ALPHA")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, metavar="NAME")
    given = parser.parse_args()
    names, seeds = given.networks, given.seeds
    missed = 0
    print("float64: largest relative error of loss, images, learning rate (bound 1e-10)")
    for name in names:
        alpha = given.alpha or ALPHA.get(name, 0.01)
        ways = dict(backends(name, torch.float64, given.engine))
        for steps in given.steps:
            case = Case.make(name, steps, 0, torch.float64, alpha)
            expected = plain(case)
            beside = case.problem.weights * (1 + torch.finfo(torch.float64).eps)
            moved = errors(plain(replace(case, problem=replace(case.problem, weights=beside))), expected)
            print(f"  {name:16} N = {steps:2}  itself, one rounding beside: {max(moved):.1e}", flush=True)
            for backend, step in ways.items():
                worst = max(errors(ours(case, step), expected))
                missed += worst > 1e-10
                print(f"  {name:16} N = {steps:2}  {backend:9} {worst:.1e}", flush=True)
    print("float32: median error of the image gradient: plain backpropagation, ours, ratio (bound 2)")
    for name in names:
        alpha = given.alpha or ALPHA.get(name, 0.01)
        ways = dict(backends(name, torch.float32, given.engine))
        for steps in given.steps:
            found: dict[str, list[float]] = {}
            for seed in range(seeds):
                expected = plain(Case.make(name, steps, seed, torch.float64, alpha))
                case = Case.make(name, steps, seed, torch.float32, alpha)
                found.setdefault("plain", []).append(errors(plain(case), expected)[1])
                for backend, step in ways.items():
                    error = errors(ours(case, step), expected)[1]
                    found.setdefault(backend, []).append(error)
            base = statistics.median(found.pop("plain"))
            for backend, values in found.items():
                middle = statistics.median(values)
                missed += middle > 2 * base
                print(
                    f"  {name:16} N = {steps:2}  {backend:9} {base:.1e}  {middle:.1e}  {middle / base:.2f}",
                    flush=True,
                )
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())

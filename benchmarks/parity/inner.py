"""Parity with higher: exact gradients through Adam and momentum SGD, on the same batches and draws.

Get the reference beside this repository, it is not part of it:

    git clone https://github.com/facebookresearch/higher

    python benchmarks/parity/inner.py --higher higher

A student takes eight steps on synthetic images with soft labels, and its loss on real images is
differentiated in the images, the labels and the learning rate: through all eight steps, or through the last
three. Their side is the loop of RaT-BPTT: the steps before the window by `torch.optim`, those in it by
`higher.innerloop_ctx`, whose graph is then differentiated at once. The optimisers are those that RaT-BPTT
makes: Adam, and SGD with momentum 0.9 and weight decay 5e-4. Runs on a CPU in float64, in a few seconds.

One number of theirs is changed: torch counts the steps of Adam in float32, from which higher computes bias
corrections of that precision. After the prefix, the count is made a whole number.

Errors are relative to the largest expected value. Biases of convolutions in front of a norm are left out of
the comparison of weights: their gradient is zero, and Adam moves them along the rounding errors that autograd
has in its place, where ours leaves them alone. The exit code is 1 if a line fails.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import reference
import torch
from methods import commit_of
from table import Line, Lines, relative
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mct.data.augment import DSA
from mct.inner.engines import unroll_of
from mct.inner.problem import Problem, minibatches
from mct.inner.steps.autograd import AutogradStep
from mct.inner.steps.convnet import ConvNetStep
from mct.models import networks
from mct.models.functional import Functional
from mct.models.idle import idle_parameters
from mct.objectives.objective import LossAndAdjoint
from mct.objectives.objective import Path as Way
from mct.runtime.seeds import generator
from mct.settings.config import DistillConfig

STEPS, SIDE, CLASSES, IMAGES, REAL = 8, 16, 5, 10, 32
ALLOWED = 1e-9
OPTIMIZERS = {
    "Adam": (0.001, DistillConfig(inner_optimizer="adam")),
    "SGD, momentum 0.9, weight decay 5e-4": (0.01, DistillConfig(inner_momentum=0.9, inner_decay=5e-4)),
}


@dataclass(frozen=True)
class Scene:
    """What both sides are given."""

    network: nn.Module
    problem: Problem
    images: Tensor
    labels: Tensor


def scene_of(name: str, rate: float, window: int | None) -> Scene:
    """Return a network, an inner loop with ragged batches, DSA and soft labels, and real images."""
    random, augment = generator(0, name), DSA()
    model = networks.parse(name, channels=3, image_size=SIDE, classes=CLASSES)
    network = networks.build(model, generator=random).double()
    batches = minibatches(IMAGES, 4, STEPS, random)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    problem = Problem(
        weights=networks.flatten(network).detach(),
        images=normal(IMAGES, 3, SIDE, SIDE),
        targets=normal(IMAGES, CLASSES).softmax(1),
        learning_rate=rate,
        batches=batches,
        augment=augment,
        draws=[augment.draw(len(batch), SIDE, random) for batch in batches],
        labels=True,
        window=window,
    )
    return Scene(network, problem, normal(REAL, 3, SIDE, SIDE), torch.arange(REAL) % CLASSES)


def theirs(higher: ModuleType, scene: Scene, config: DistillConfig) -> tuple[Tensor, ...]:
    """Return the loss, its gradients in images, labels and learning rate, and the last weights."""
    problem, network = scene.problem, scene.network
    nn.utils.vector_to_parameters(problem.weights.clone(), network.parameters())
    images, targets = problem.images.clone().requires_grad_(), problem.targets.clone().requires_grad_()
    rate = torch.tensor(problem.learning_rate, dtype=torch.float64, requires_grad=True)
    parameters = list(network.parameters())
    if config.inner_optimizer == "adam":
        optimizer = torch.optim.Adam(parameters, lr=problem.learning_rate)
    else:
        momentum, decay = config.inner_momentum, config.inner_decay
        optimizer = torch.optim.SGD(
            parameters, lr=problem.learning_rate, momentum=momentum, weight_decay=decay
        )

    def loss_of(student: nn.Module, step: int) -> Tensor:
        batch = problem.batches[step]
        assert problem.augment is not None
        assert problem.draws is not None
        return cross_entropy(
            student(problem.augment.apply(images[batch], problem.draws[step])), targets[batch]
        )

    for step in range(problem.first):
        optimizer.zero_grad()
        loss_of(network, step).backward()
        optimizer.step()
    for state in optimizer.state.values():
        if "step" in state:
            state["step"] = int(state["step"])
    with higher.innerloop_ctx(network, optimizer, copy_initial_weights=True, override={"lr": [rate]}) as (
        student,
        differentiable,
    ):
        for step in range(problem.first, STEPS):
            differentiable.step(loss_of(student, step))
        loss = cross_entropy(student(scene.images), scene.labels)
        slopes = torch.autograd.grad(loss, (images, targets, rate))
        last = torch.cat([value.reshape(-1) for value in student.parameters()])
    return loss.detach(), *slopes, last.detach()


def ours(scene: Scene, config: DistillConfig, engine: str) -> tuple[Tensor, ...]:
    """Return the same by the recursion."""
    network, packed = scene.network, scene.problem
    step = AutogradStep(network) if engine == "eager" else ConvNetStep(network)
    packed, function = replace(packed, weights=step.pack(packed.weights)), Functional(network)
    ends: list[Tensor] = []

    def terminal(path: Way) -> LossAndAdjoint:
        last = step.unpack(path[-1]).detach().requires_grad_()
        loss = cross_entropy(function(last, scene.images), scene.labels)
        ends.append(last.detach())
        return LossAndAdjoint(loss.detach(), step.pack(torch.autograd.grad(loss, last)[0]))

    found = unroll_of(config, step, network, (3, SIDE, SIDE)).gradients(packed, terminal)
    assert found.targets is not None
    loss, slope = torch.tensor([found.loss, found.learning_rate], dtype=torch.float64)
    return loss, found.images, found.targets, slope, ends[0]


def check(higher: ModuleType) -> Lines:
    """Compare both optimisers, with and without a window, on a network with and one without norms."""
    names = ("loss", "images", "labels", "learning rate", "last weights")
    for model in ("ConvNetD3W16", "ConvNetD2W16NN"):
        for optimizer, (rate, config) in OPTIMIZERS.items():
            for window in (None, 3):
                scene = scene_of(model, rate, window)
                expected = theirs(higher, scene, config)
                living = ~idle_parameters(scene.network, (3, SIDE, SIDE))
                both = [ours(scene, config, engine) for engine in ("eager", "compiled")]
                through = f"the last {window}" if window else "all"
                what = f"{model}, {optimizer}, {STEPS} steps, through {through}, eager and compiled"
                for name, other, *mine in zip(names, expected, *both, strict=True):
                    if name == "last weights":
                        other, mine = other[living], [each[living] for each in mine]
                    yield Line(f"{what}: {name}", max(relative(each, other) for each in mine), ALLOWED)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--higher", type=Path, metavar="PATH", required=True, help="checkout of higher")
    checkout = parser.parse_args().higher
    if not (checkout / "higher" / "optim.py").is_file():
        parser.error(f"{checkout}: no higher/optim.py; expected a checkout of higher")
    torch.set_num_threads(1)
    files = ("higher/optim.py", "higher/patch.py", "higher/utils.py")
    sys.path.insert(0, str(checkout))
    sys.dont_write_bytecode = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # about their source
        import higher

    print(f"torch {torch.__version__}, Python {sys.version.split()[0]}")
    print(f"higher {commit_of(checkout)}", reference.fingerprint(checkout, *files))
    failed = count = 0
    for line in check(higher):
        print(line, flush=True)
        failed, count = failed + line.failed, count + 1
    print(f"{failed} failed, {count - failed} passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""One outer iteration: start, student updates on augmented batches, loss, gradients of images and step size.

Their side keeps the graph of all updates, as their loop does, with their network inside their
re-parametrisation and their augmentation; it is written down here anew, because their loop is not a
function. Our side is what `mct distill` runs: a bundle on disk, its stream, the comparison with a target
that is never made, and the exact adjoint.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import ModuleType

import torch
from forward import ours_of, theirs_of
from reference import fed
from table import Line, Lines, relative
from torch.nn.functional import cross_entropy, mse_loss

import trajfmt
from mct.data.augment import DSA, STRATEGY
from mct.inner.problem import Problem, minibatches, targets_of
from mct.inner.steps.table import make_step
from mct.inner.unroll import ExactUnroll
from mct.models import networks
from mct.objectives.matching import Matcher
from mct.runtime.seeds import generator
from mct.trajectories.stream import KnotStream, Sample

ALPHA = 0.02
TIMESTEPS = 7


def write_bundle(path: Path, model: trajfmt.Model, *knots: int) -> None:
    """Write a trajectory in float64 that begins at a network and wanders."""
    network = ours_of(model)
    names = networks.parameters_of(network)
    layout = trajfmt.ParamLayout.of(names, dtype="F64")
    steps = 0.02 * torch.randn(TIMESTEPS, layout.size, generator=generator(7)).double()
    steps[0] = networks.flatten(network)
    source = trajfmt.ArrayTrajectory(steps.cumsum(0).numpy(), layout)
    encoding = "full" if path.suffix == ".mtt" else "convex"
    with trajfmt.create(path, layout, encoding=encoding, knots=knots) as writer:
        writer.add(source)


def theirs(
    modules: dict[str, ModuleType],
    model: trajfmt.Model,
    problem: Problem,
    sample: Sample,
    target: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return loss, image gradient and step-size gradient by one backward pass through everything."""
    student = modules["reparam_module"].ReparamModule(theirs_of(modules["networks"], model).double()).train()
    images = problem.images.clone().requires_grad_()
    rate = torch.tensor(problem.learning_rate, dtype=torch.float64, requires_grad=True)
    theta = sample.weights.clone().requires_grad_()
    utils, settings = modules["utils"], modules["utils"].ParamDiffAug()
    with fed(utils, problem.draws or (), STRATEGY, torch.float64):
        for batch in problem.batches:
            pixels = images[batch]
            if problem.draws is not None:
                pixels = utils.DiffAugment(pixels, STRATEGY, param=settings)
            loss = cross_entropy(student(pixels, flat_param=theta), problem.targets[batch])
            (gradient,) = torch.autograd.grad(loss, theta, create_graph=True)
            theta = theta - rate * gradient
    match = mse_loss(theta, target, reduction="sum") / mse_loss(sample.weights, target, reduction="sum")
    return match.detach(), *torch.autograd.grad(match, (images, rate))


def check(modules: dict[str, ModuleType]) -> Lines:
    """Compare with and without augmentation, on full and convexified trajectories."""
    cases = (
        ("ConvNetD3W16", "full.mtt", (), 2.0, 3.0, None, False),
        ("ConvNetD3W16", "full.mtt", (), 2.0, 3.0, None, True),
        ("ConvNetD3W16", "convex.mct", (), 1.3, 3.4, None, True),
        ("ConvNetD2W16", "knots.mct", (2, 4), 1.7, 2.6, 7, True),
        ("ConvNetD2W16BN", "batchnorm.mct", (), 0.4, 5.0, 12, True),
    )
    for name, file, knots, start, steps, size, augmented in cases:
        model = networks.parse(name, channels=3, image_size=32, classes=10)
        with tempfile.TemporaryDirectory() as folder:
            write_bundle(Path(folder) / file, model, *knots)
            with trajfmt.open(Path(folder) / file) as bundle:
                stream = KnotStream(bundle, expert_steps=steps, max_start=start)
                sample = stream.sample(0, start)
                problem = problem_of(sample, size, augmented=augmented)
                matcher = Matcher(stream)
                step = make_step(networks.build(model, generator=generator(9)).double())
                found = ExactUnroll(step).gradients(
                    problem, lambda theta, matcher=matcher, sample=sample: matcher.compare(theta, sample)
                )
                target = torch.from_numpy(bundle[0].at(start + steps).copy())
                expected = theirs(modules, model, problem, sample, target)
        what = (
            f"outer iteration, {name}, {Path(file).suffix} with {len(knots) + 2 if knots else 2} knots"
            if file.endswith(".mct")
            else f"outer iteration, {name}, .mtt"
        )
        what += f", c = {start:g}, {len(problem.batches)} updates, batches of {size or len(problem.images)}"
        what += ", DSA" if augmented else ", no augmentation"
        yield Line(f"{what}: loss", abs(found.loss / float(expected[0]) - 1), 1e-9)
        yield Line(f"{what}: image gradient", relative(found.images, expected[1]), 1e-9)
        slope = abs(found.learning_rate / float(expected[2]) - 1)
        yield Line(f"{what}: step-size gradient", slope, 1e-9)


def problem_of(sample: Sample, size: int | None, *, augmented: bool) -> Problem:
    """Return ten updates on two images a class; augmented by every family at least once."""
    images = torch.randn(20, 3, 32, 32, generator=generator(2)).double()
    batches = minibatches(len(images), size, 10, generator(3))
    draws = None
    if augmented:
        seed, families = 0, set()
        while families != set(STRATEGY.split("_")):
            seed, random = seed + 1, generator(seed)
            draws = [DSA().draw(len(batch), 32, random) for batch in batches]
            families = {one.family for one in draws}
    return Problem(
        weights=sample.weights,
        images=images,
        targets=targets_of(torch.arange(20) // 2, 10, torch.float64),
        learning_rate=ALPHA,
        batches=batches,
        augment=DSA() if augmented else None,
        draws=draws,
    )

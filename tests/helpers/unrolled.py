"""An inner loop in float64 and its gradients by backpropagation through all of it at once, on any device."""

from dataclasses import replace

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from mct.data.augment import DSA
from mct.data.moving import moved_batches
from mct.inner.problem import Problem, minibatches, targets_of
from mct.models import networks
from mct.objectives.objective import LossAndAdjoint
from mct.runtime.seeds import generator


def network_of(name: str, side: int, random: torch.Generator) -> nn.Module:
    """Return a float64 network for three classes of images with two channels."""
    if name == "MLP":
        network = nn.Sequential(
            nn.Flatten(), nn.Linear(2 * side * side, 16), nn.Tanh(), nn.Linear(16, 3)
        ).double()
        with torch.no_grad():
            for value in network.parameters():
                value.copy_(0.2 * torch.randn(value.shape, generator=random, dtype=torch.float64))
        return network
    model = networks.parse(name, channels=2, image_size=side, classes=3)
    return networks.build(model, generator=random).double()


def problem_of(
    name: str,
    steps: int,
    size: int | None,
    images: int = 6,
    strategy: str | None = None,
    soft: bool = False,
    device: str = "cpu",
    seed: int = 1,
    side: int = 8,
):
    """Return a float64 network, a problem for it and a target, drawn on the CPU."""
    random = generator(seed)
    network = network_of(name, side, random)
    weights = networks.flatten(network)
    batches = minibatches(images, size, steps, random)
    augment = None if strategy is None else DSA(strategy)
    labels = torch.arange(images) % 3
    if soft:
        labels = torch.randn(images, 3, generator=random, dtype=torch.float64).softmax(1)
    problem = Problem(
        weights=weights,
        images=torch.randn(images, 2, side, side, generator=random, dtype=torch.float64),
        targets=targets_of(labels, 3, torch.float64),
        learning_rate=0.05,
        batches=batches,
        augment=augment,
        draws=None if augment is None else [augment.draw(len(batch), side, random) for batch in batches],
    )
    target = weights + 0.1 * torch.randn(len(weights), generator=random, dtype=torch.float64)
    return on_device(network, problem, target, torch.device(device))


def on_device(network, problem: Problem, target, device):
    """Return a network, a problem and a target on a device."""
    batches, draws = moved_batches(problem.batches, problem.draws, device)
    there = {name: getattr(problem, name).to(device) for name in ("weights", "images", "targets")}
    problem = replace(problem, batches=batches, draws=draws, **there)
    return network.to(device), problem, target.to(device)


def sgd(theta, _memory, gradient, alpha, _number):
    """Update by gradient descent."""
    return theta - alpha * gradient, ()


def momentum(theta, memory, gradient, alpha, _number, mu=0.9):
    """Update as torch.optim.SGD does."""
    velocity = mu * memory[0] + gradient if memory else gradient
    return theta - alpha * velocity, (velocity,)


def adam(theta, memory, gradient, alpha, number, betas=(0.9, 0.999)):
    """Update as torch.optim.Adam does; where all gradients were zero, nothing moves."""
    mean, square = memory or (0.0, 0.0)
    mean = betas[0] * mean + (1 - betas[0]) * gradient
    square = betas[1] * square + (1 - betas[1]) * gradient**2
    moved = square > 0
    root = (torch.where(moved, square, 1.0) / (1 - betas[1] ** (number + 1))).sqrt()
    step = mean / (1 - betas[0] ** (number + 1)) / (root + 1e-8)
    return theta - alpha * torch.where(moved, step, 0.0), (mean, square)


def whole_graph(network, problem: Problem, target, judge=None, update=sgd, decay=0.0, idle=None):
    """Return loss and gradients by backpropagation through all updates at once, as MTT does.

    The gradients are those in images and learning rate, and in the targets if the problem asks for it.
    `judge` is the loss of theta_0 … theta_N, by default that of eq. 2. `update` is that of the optimiser,
    `decay` its weight decay, and `idle` says which parameters have no gradient. Before the window of the
    problem the graph is cut.
    """
    images = problem.images.clone().requires_grad_()
    targets = problem.targets.clone().requires_grad_()
    alpha = problem.weights.new_tensor(problem.learning_rate).requires_grad_()
    names, shapes = zip(*networks.parameters_of(network), strict=True)
    theta = problem.weights.clone().requires_grad_()
    path, memory = [theta], ()
    for step, batch in enumerate(problem.batches):
        pieces = torch.split(theta, [shape.numel() for shape in map(torch.Size, shapes)])
        weights = {n: p.view(s) for n, p, s in zip(names, pieces, shapes, strict=True)}
        pixels = images[batch]
        if problem.augment is not None:
            pixels = problem.augment.apply(pixels, problem.draws[step])
        loss = cross_entropy(functional_call(network, weights, (pixels,)), targets[batch])
        gradient = torch.autograd.grad(loss, theta, create_graph=True)[0]
        gradient = gradient if idle is None else gradient.masked_fill(idle, 0.0)
        theta, memory = update(theta, memory, gradient + decay * theta, alpha, step)
        if step < problem.first:
            theta = theta.detach().requires_grad_()
            memory = tuple(each.detach() for each in memory)
        path.append(theta)
    scale = (problem.weights - target).square().sum()
    objective = judge(path) if judge else (theta - target).square().sum() / scale
    leaves = (images, alpha, targets) if problem.labels else (images, alpha)
    return objective.detach(), *torch.autograd.grad(objective, leaves)


def compare_with(problem: Problem, target):
    """Return the naive terminal of eq. 2."""
    distance = (problem.weights - target).square().sum()

    def terminal(path):
        final = path[-1]
        loss = (final - target).square().sum() / distance
        return LossAndAdjoint(loss, 2 * (final - target) / distance)

    return terminal


def relative(found, expected) -> float:
    """Return the relative error in norm."""
    found = torch.as_tensor(found, dtype=torch.float64, device=expected.device)
    return float((found - expected).norm() / expected.norm())

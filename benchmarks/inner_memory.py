"""Memory and seconds of an inner loop by its number of updates N, for every optimiser of the student.

Each loop runs in a process of its own, eagerly, without kept activations, on random images of CIFAR-10's
shape. Printed are what the process takes at most above what it took before the loop, the vectors of P numbers
that are kept (weights or gradients for each update, and some weights and slots of the optimiser), the rest,
and the seconds of one outer step. Besides the vectors, only the augmented images grow with N, up to a budget
of 8 MiB, which 14 updates with 50 images fill.

Beside it stands plain backpropagation through the graph of all updates, as MTT and higher do it. What it
would need is estimated from two and four updates, and it is left out where that is more than half of the
free memory.

    python benchmarks/inner_memory.py [--model ConvNetD3W128] [--updates 10 80] [--images 100] [--batch 50]
        [--optimizer sgd momentum adam] [--window W] [--labels hard learned] [--no-graph]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass
from math import isqrt

LOOP = """
import ctypes, sys, time
import torch
from torch.nn.functional import cross_entropy
from mct.data.augment import DSA
from mct.inner.engines import unroll_of
from mct.inner.optimizers.table import optimizer_of
from mct.inner.problem import Problem, minibatches
from mct.inner.steps.table import make_step
from mct.models import networks
from mct.models.functional import Functional
from mct.objectives.objective import LossAndAdjoint
from mct.runtime.seeds import generator
from mct.settings.config import DistillConfig

name, kind, labels, way = sys.argv[1:5]
updates, count, size, window = map(int, sys.argv[5:])
SETTINGS = {"sgd": {}, "momentum": {"inner_momentum": 0.9}, "adam": {"inner_optimizer": "adam"}}
config = DistillConfig(inner_steps=max(updates, 4), **SETTINGS[kind])
random = generator(0)
model = networks.parse(name, channels=3, image_size=32, classes=10)
network = networks.build(model, generator=random)
weights, dsa = networks.flatten(network), DSA()
step = make_step(network, engine="eager")
unroll, function = unroll_of(config, step, network, (3, 32, 32)), Functional(network)

def problem(updates):
    batches = minibatches(count, size, updates, random)
    return Problem(
        weights=weights, images=torch.randn(count, 3, 32, 32, generator=random),
        targets=torch.randn(count, 10, generator=random).softmax(1), learning_rate=0.001, batches=batches,
        augment=dsa, draws=[dsa.draw(len(batch), 32, random) for batch in batches],
        labels=labels == "learned", window=window or None)

def ours(given):
    return unroll.gradients(
        given, lambda path: LossAndAdjoint(path[-1].square().sum(), 2 * path[-1])).images

def graph(given):
    images, alpha = given.images.clone().requires_grad_(), torch.tensor(0.001, requires_grad=True)
    targets, optimizer = given.targets.clone().requires_grad_(), optimizer_of(config)
    theta = given.weights.clone().requires_grad_()
    slots = tuple(torch.zeros_like(theta) for _ in range(optimizer.slots))
    for number, batch in enumerate(given.batches):
        with torch.set_grad_enabled(True):
            pixels = dsa.apply(images[batch], given.draws[number])
            loss = cross_entropy(function(theta, pixels), targets[batch])
            inside = number >= given.first
            gradient = torch.autograd.grad(loss, theta, create_graph=inside)[0]
            theta, slots = optimizer.update(number, theta, slots, gradient, alpha)
            if not inside:
                theta, slots = theta.detach().requires_grad_(), tuple(each.detach() for each in slots)
    leaves = (images, alpha, targets) if labels == "learned" else (images, alpha)
    return torch.autograd.grad(theta.square().sum(), leaves)[0]

def read(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))

run = {"ours": ours, "graph": graph}[way]
run(problem(2))  # what a first loop loads and allocates is not counted
ctypes.CDLL(None).malloc_trim(0)
now, given = read("VmRSS"), problem(updates)
open("/proc/self/clear_refs", "w").write("5")  # the peak begins here
began = time.perf_counter()
run(given)
print(read("VmHWM") - now, weights.nbytes >> 10, time.perf_counter() - began)
"""

SLOTS = {"sgd": 0, "momentum": 1, "adam": 2}


@dataclass(frozen=True)
class Case:
    """One inner loop."""

    model: str
    optimizer: str
    labels: str
    updates: int
    images: int
    batch: int
    window: int | None

    @property
    def vectors(self) -> int:
        """How many vectors of P numbers are kept: see `mct.inner.history`."""
        slots = SLOTS[self.optimizer]
        if not slots:
            return self.updates + 1
        through = min(self.window or self.updates, self.updates)
        spacing = isqrt(through)
        stands = -(-through // spacing) + spacing + 1
        return self.updates + (1 + slots) * stands


def measured(case: Case, way: str) -> tuple[float, float, float]:
    """Return MiB of one loop, MiB of one vector of weights, and seconds."""
    numbers = (case.updates, case.images, case.batch, case.window or 0)
    words = [sys.executable, "-c", LOOP, case.model, case.optimizer, case.labels, way, *map(str, numbers)]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes back at once
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    taken, weights, seconds = done.stdout.split()
    return int(taken) / 1024, int(weights) / 1024, float(seconds)


def by_graph(case: Case) -> tuple[str, str]:
    """Return MiB and seconds of plain backpropagation; where it does not fit, its estimated MiB."""
    through = min(case.window or case.updates, case.updates)
    few = [measured(replaced(case, updates), "graph")[0] for updates in (2, 4)]
    needed = few[1] + (few[1] - few[0]) / 2 * (through - 4)
    with open("/proc/meminfo") as file:
        free = next(int(line.split()[1]) for line in file if line.startswith("MemAvailable")) / 1024
    if needed > free / 2:
        return f"~{needed:.0f}", "-"
    taken, _, seconds = measured(case, "graph")
    return f"{taken:.0f}", f"{seconds:.2f}"


def replaced(case: Case, updates: int) -> Case:
    """Return a case with all of another number of updates differentiated."""
    return Case(case.model, case.optimizer, case.labels, updates, case.images, case.batch, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="ConvNetD3W128")
    parser.add_argument("--updates", type=int, nargs="+", default=[10, 80])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--optimizer", nargs="+", default=["sgd"], choices=SLOTS)
    parser.add_argument("--labels", nargs="+", default=["hard", "learned"], choices=["hard", "learned"])
    parser.add_argument("--window", type=int)
    parser.add_argument("--no-graph", dest="graph", action="store_false")
    given = parser.parse_args()
    print(f"{'':<18}{'N':>4}{'MiB':>9}{'vectors':>9}{'rest':>9}{'s':>8}  graph: MiB{'s':>8}")
    for optimizer in given.optimizer:
        for labels in given.labels:
            rests = []
            for updates in given.updates:
                case = Case(given.model, optimizer, labels, updates, given.images, given.batch, given.window)
                taken, weights, seconds = measured(case, "ours")
                vectors = case.vectors * weights
                rests.append(taken - vectors)
                mib, time = by_graph(case) if given.graph else ("", "")
                print(f"{optimizer:<9}{labels:<9}{updates:>4}{taken:>9.1f}{vectors:>9.1f}{rests[-1]:>9.1f}"
                      f"{seconds:>8.2f}{mib:>12}{time:>8}", flush=True)  # fmt: skip
            few, many = given.updates[0], given.updates[-1]
            if len(rests) > 1:
                change = rests[-1] / rests[0] - 1
                print(f"{optimizer:<9}{labels:<9}rest, N = {many} against N = {few}: {change:+.1%}")


if __name__ == "__main__":
    main()

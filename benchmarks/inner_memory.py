"""Memory of an inner loop with learned labels, for 10 and for 80 updates.

Each loop runs in a process of its own, eagerly, without kept activations, on random images of CIFAR-10's
shape with a batch of 50. Printed is what the process takes at most above what it took before the loop, and of
this the vectors of weights theta_0 … theta_N. Besides them, only the augmented images grow with N, up to a
budget of 8 MiB.

    python benchmarks/inner_memory.py [--model ConvNetD3W128] [--updates 10 80] [--images 100]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

LOOP = """
import ctypes, sys
import torch
from mct.data.augment import DSA
from mct.inner.problem import Problem, minibatches
from mct.inner.steps.table import make_step
from mct.inner.unroll import ExactUnroll
from mct.models import networks
from mct.objectives.objective import LossAndAdjoint
from mct.runtime.seeds import generator

name, updates, count, labels = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "learned"
random = generator(0)
model = networks.parse(name, channels=3, image_size=32, classes=10)
network = networks.build(model, generator=random)
weights, dsa = networks.flatten(network), DSA()
step = make_step(network, engine="eager")

def problem(updates):
    batches = minibatches(count, 50, updates, random)
    return Problem(
        weights=weights, images=torch.randn(count, 3, 32, 32, generator=random),
        targets=torch.randn(count, 10, generator=random).softmax(1), learning_rate=0.01, batches=batches,
        augment=dsa, draws=[dsa.draw(len(batch), 32, random) for batch in batches], labels=labels)

def terminal(path):
    return LossAndAdjoint(path[-1].square().sum(), 2 * path[-1])

def read(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))

unroll = ExactUnroll(step)
unroll.gradients(problem(2), terminal)  # what a first loop loads and allocates is not counted
ctypes.CDLL(None).malloc_trim(0)
now, given = read("VmRSS"), problem(updates)
open("/proc/self/clear_refs", "w").write("5")  # the peak begins here
unroll.gradients(given, terminal)
print(read("VmHWM") - now, (updates + 1) * weights.nbytes >> 10)
"""


def measured(model: str, updates: int, images: int, labels: str) -> tuple[float, float]:
    """Return MiB of one loop, and MiB of its weights."""
    words = [sys.executable, "-c", LOOP, model, str(updates), str(images), labels]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes back at once
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    taken, weights = map(int, done.stdout.split())
    return taken / 1024, weights / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="ConvNetD3W128")
    parser.add_argument("--updates", type=int, nargs=2, default=[10, 80])
    parser.add_argument("--images", type=int, default=100)
    given = parser.parse_args()
    print(f"{'labels':<10}{'N':>4}{'MiB':>9}{'weights':>9}{'rest':>9}")
    for labels in ("hard", "learned"):
        rests = []
        for updates in given.updates:
            taken, weights = measured(given.model, updates, given.images, labels)
            rests.append(taken - weights)
            print(f"{labels:<10}{updates:>4}{taken:>9.1f}{weights:>9.1f}{rests[-1]:>9.1f}", flush=True)
        few, many = given.updates
        print(f"{labels:<10}rest, N = {many} against N = {few}: {rests[1] / rests[0] - 1:+.1%}")


if __name__ == "__main__":
    main()

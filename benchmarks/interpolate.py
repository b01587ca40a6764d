"""The interpolator against the machine's own copy, and outer steps whose knots do not fit in the budget.

First table: start weights at a random c, and loss and first adjoint of a student, from a bundle on disk in
the page cache, for networks of growing size; with knots as views of the file, and with knots that are kept
in memory in an order of their own. What must move (start: two knots read, one vector written; adjoint: two
knots and the student read, one vector written) is divided by the time, and that by the bandwidth of
`torch.Tensor.copy_` between vectors of the same size in the same process. The three are timed in turn.

Second table: whole outer steps of the ConvNet for CIFAR-10 (10 images, N updates), with all knots resident
and with a budget of two samples; pairs of one step each, in turn, on the same draws.

Only a quiet machine gives figures: a thread that waits for its turn holds up all the others. Where others
compute too, `--shared` fills the first table with one thread's own CPU time.

    python benchmarks/interpolate.py [--device cuda] [--shared] [--rounds 25] [--pairs 10] [--folder DIR]
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

import trajfmt
from mct.inner.problem import Problem
from mct.inner.steps.table import make_step
from mct.inner.unroll import ExactUnroll
from mct.models import networks
from mct.objectives.matching import Matcher
from mct.runtime.seeds import generator
from mct.trajectories.stream import KnotStream

Encoding = Literal["convex", "full"]
Shapes = list[tuple[str, tuple[int, ...]]]

CONVNET = [
    *[(128, 3, 3, 3), (128,), (128,), (128,)],
    *[(128, 128, 3, 3), (128,), (128,), (128,)] * 2,
    *[(10, 2048), (10,)],
]


def resnet18(width: int) -> Shapes:
    """Return the parameters of a ResNet18 whose first stage has `width` channels."""
    shapes: list[tuple[int, ...]] = [(width, 3, 3, 3), (width,), (width,)]
    channels = width
    for stage in range(4):
        out = width << stage
        for block in range(2):
            shapes += [(out, channels, 3, 3), (out,), (out,), (out, out, 3, 3), (out,), (out,)]
            if stage and not block:
                shapes += [(out, channels, 1, 1), (out,), (out,)]
            channels = out
    return [(f"p{number}", shape) for number, shape in enumerate([*shapes, (10, channels), (10,)])]


def convnet() -> torch.nn.Module:
    """Return the paper's ConvNet for CIFAR-10."""
    model = networks.parse("ConvNetD3W128", channels=3, image_size=32, classes=10)
    return networks.build(model, generator=generator(0))


def write(path: Path, shapes: Shapes, *, trajectories: int = 1) -> None:
    """Write a bundle of three timesteps that wander."""
    layout = trajfmt.ParamLayout.of(shapes)
    random = np.random.default_rng(0)
    full = path.suffix == ".mtt"
    encoding: Encoding = "full" if full else "convex"
    with trajfmt.create(path, layout, encoding=encoding, codec="zstd" if full else "none") as writer:
        for _ in range(trajectories):
            theta = 0.05 * random.standard_normal((3, layout.size), np.float32)
            theta[1:] = theta[0] + 0.1 * theta[1:]
            writer.add(trajfmt.ArrayTrajectory(theta, layout))


def seconds(
    function: Callable[[], object], device: torch.device, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return how long a call takes, to its end on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = clock()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - began


def bandwidth(path: Path, device: torch.device, rounds: int, *, kept: bool, shared: bool) -> str:
    """Return a row of the first table."""
    clock = time.thread_time if shared else time.perf_counter
    with trajfmt.open(path) as bundle:
        stream = KnotStream(bundle, expert_steps=0.9, device=device, arrange=torch.clone if kept else None)
        matcher, random = Matcher(stream), generator(0)
        weights, adjoint, other = (torch.zeros(bundle.layout.size, device=device) for _ in range(3))
        final = torch.randn(bundle.layout.size, generator=random).to(device)
        sample = stream.draw(random, out=weights)
        matcher.compare(final, sample, out=adjoint)  # from now on the inner products of the knots are known
        jobs = {
            "copy": (2, lambda: other.copy_(final)),
            "start": (3, lambda: stream.draw(random, out=weights)),
            "adjoint": (4, lambda: matcher.compare(final, sample, out=adjoint)),
        }
        times: dict[str, list[float]] = {name: [] for name in jobs}
        for _ in range(rounds):
            for name, (_, job) in jobs.items():
                times[name].append(min(seconds(job, device, clock) for _ in range(2)))
        moved = {name: count * bundle.layout.nbytes for name, (count, _) in jobs.items()}
    best = {name: moved[name] / min(times[name]) for name in jobs}
    both = (moved["start"] + moved["adjoint"]) / (min(times["start"]) + min(times["adjoint"]))
    shares = "".join(f"{value / best['copy']:>9.0%}" for value in (best["start"], best["adjoint"], both))
    ratios = [
        (moved["start"] + moved["adjoint"]) / (start + adjoint) / (moved["copy"] / copy)
        for copy, start, adjoint in zip(*times.values(), strict=True)
    ]
    head = f"  {bundle.layout.size / 1e6:>7.2f} M  {'kept' if kept else 'mapped':<8}"
    return f"{head}{best['copy'] / 1e9:>8.1f} GB/s{shares}{statistics.median(ratios):>9.0%}"


def channels_last(weights: Tensor) -> Tensor:
    """Store the ConvNet's convolutions channels-last, as compiled steps want them."""
    pieces = torch.split(weights, [math.prod(shape) for shape in CONVNET])
    return torch.cat(
        [
            piece.view(shape).permute(0, 2, 3, 1).reshape(-1) if len(shape) == 4 else piece
            for piece, shape in zip(pieces, CONVNET, strict=True)
        ]
    )


class Outer:
    """Outer steps with one stream. Knots are arranged, though the plain step that is timed needs it not."""

    def __init__(self, bundle: trajfmt.Bundle, updates: int, device: torch.device, budget: int) -> None:
        step = make_step(convnet().to(device))
        steps = 1 if bundle.encoding == "full" else 0.9
        self.stream = KnotStream(
            bundle, expert_steps=steps, device=device, arrange=channels_last, budget=budget
        )
        self._matcher, self._unroll = Matcher(self.stream), ExactUnroll(step)
        self._random, self._device = generator(0), device
        self._weights = torch.empty(bundle.layout.size, device=device)
        self._images = torch.randn(10, 3, 32, 32, generator=generator(1)).to(device)
        self._batches = [torch.arange(10, device=device)] * updates
        for trajectory in range(len(bundle)):  # inner products, and knots where they fit
            self._matcher.distance(self.stream.sample(trajectory, 0, out=self._weights))

    def __call__(self) -> None:
        """Do one step."""
        sample = self.stream.draw(self._random, out=self._weights)
        self.stream.prefetch(self._random)
        problem = Problem(
            weights=sample.weights,
            images=self._images,
            targets=torch.eye(10, device=self._device),
            learning_rate=0.01,
            batches=self._batches,
        )
        self._unroll.gradients(problem, lambda final: self._matcher.compare(final, sample))


def pairs(path: Path, updates: int, device: torch.device, count: int) -> str:
    """Return a row of the second table."""
    with trajfmt.open(path) as bundle:
        needed = 2 * bundle.layout.nbytes
        resident = Outer(bundle, updates, device, 1 << 32)
        streamed = Outer(bundle, updates, device, 2 * needed)
        ratios, alone = [], []
        for turn in range(count + 1):
            order = (resident, streamed) if turn % 2 else (streamed, resident)
            took = {outer: seconds(outer, device) for outer in order}
            if turn:
                ratios.append(took[streamed] / took[resident])
                alone.append(took[resident])
        for outer in (resident, streamed):
            outer.stream.close()
    return (
        f"  {path.name:<14} N = {updates:<4} resident {statistics.median(alone):.3f} s, "
        f"streamed / resident {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shared", action="store_true", help="the machine is: one thread's CPU time")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--folder", type=Path, help="where to put the bundles (default: a temporary folder)")
    options = parser.parse_args()
    device = torch.device(options.device)
    if options.shared:
        torch.set_num_threads(1)
    small = networks.parameters_of(convnet())
    sizes: Sequence[Shapes] = [small, resnet18(19), resnet18(64), resnet18(127)]
    print(f"{device}, {torch.get_num_threads()} threads; best of {options.rounds} rounds, share of a copy")
    print("  parameters  knots          copy    start  adjoint     both  both, median of rounds")
    for number, shapes in enumerate(sizes):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            path = Path(folder) / f"{number}.mct"
            write(path, shapes)
            for kept in (False, True):
                print(bandwidth(path, device, options.rounds, kept=kept, shared=options.shared), flush=True)
    if not options.pairs:
        return
    print(f"outer steps in {options.pairs} pairs: 20 trajectories, 10 images")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        convex, packed = Path(folder) / "convex.mct", Path(folder) / "zstd.mtt"
        write(convex, small, trajectories=20)
        write(packed, small, trajectories=20)
        for updates in (50, 5):
            for path in (convex, packed):
                print(pairs(path, updates, device, options.pairs), flush=True)


if __name__ == "__main__":
    main()

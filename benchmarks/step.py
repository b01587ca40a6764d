"""One update of a student and its `vjp_hvp`, by every backend: what the outer step is made of.

The last line is what the compiled functions wait for: the share of their time that goes to convolutions, and
how fast those are beside a convolution of many images, which is about as fast as this machine computes.

    python benchmarks/step.py [--model ConvNet] [--images 10] [--threads 2] [--rounds 20]

ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 in front of it shows a machine without AVX-512.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from mct.inner.steps.step import InnerStep
from mct.inner.steps.table import make_step
from mct.models import networks
from mct.runtime.allocator import keep_memory
from mct.runtime.caches import keep_compiled
from mct.runtime.seeds import generator


def milliseconds(function: Callable[[], object], rounds: int) -> float:
    """Return the median of some calls, after two that do not count."""
    found = []
    for number in range(rounds + 2):
        start = time.perf_counter()
        function()
        if number > 1:
            found.append(1e3 * (time.perf_counter() - start))
    return statistics.median(found)


def main() -> None:
    """Print one line for each backend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="ConvNet")
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    keep_memory()  # as the commands do,
    keep_compiled()  # which also keeps apart what was compiled for other CPUs
    torch.set_num_threads(given.threads)
    model = networks.parse(given.model, channels=3, image_size=32, classes=10)
    network = networks.build(model, generator=generator(0))
    random = generator(1)
    pixels = torch.randn(given.images, 3, 32, 32, generator=random)
    targets = torch.nn.functional.one_hot(torch.arange(given.images) % 10, 10).float()
    theta = torch.nn.utils.parameters_to_vector(network.parameters()).detach()
    print(f"{given.model}, {given.images} images, {given.threads} threads: median of {given.rounds}, ms")
    for engine in ("eager", "compiled"):
        step = make_step(network, engine=engine, notes=print)
        start = step.pack(theta)
        adjoint = torch.randn(theta.shape, generator=random)
        began = time.perf_counter()
        _, kept = step.keep(start, pixels, targets)
        for memory in ((), kept):
            step.vjp_hvp(start, adjoint, pixels, targets, memory)
        step.gradient(start, pixels, targets)
        first = time.perf_counter() - began
        gradient = milliseconds(
            lambda step=step, start=start: step.gradient(start, pixels, targets), given.rounds
        )
        line = f"  {engine:9} gradient {gradient:7.2f}"
        for name, memory in (("vjp_hvp", ()), ("vjp_hvp with what was kept", kept)):
            if name == "vjp_hvp" or kept:
                taken = milliseconds(
                    lambda step=step, start=start, adjoint=adjoint, memory=memory: step.vjp_hvp(
                        start, adjoint, pixels, targets, memory
                    ),
                    given.rounds,
                )
                line += f"  {name} {taken:7.2f}"
        size = sum(value.nbytes for value in kept) / 1e6
        print(line + (f" ({size:.1f} MB)" if kept else "") + f"  first calls {first:.1f} s", flush=True)
        if kept:

            def both(step: InnerStep = step, start: Tensor = start, adjoint: Tensor = adjoint) -> None:
                _, memory = step.keep(start, pixels, targets)
                step.vjp_hvp(start, adjoint, pixels, targets, memory)

            print(f"  {convolutions(both, network, given)}")


def convolutions(both: Callable[[], object], network: nn.Module, given: argparse.Namespace) -> str:
    """Return what convolutions take of an update and its `vjp_hvp`, of which nothing is computed twice."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        began = time.perf_counter()
        for _ in range(given.rounds):
            both()
        wall = time.perf_counter() - began
    events = [event for event in seen.key_averages() if "convolution" in event.key]
    took = sum(event.self_cpu_time_total for event in events) / 1e6
    side, forward = 32, 0
    for layer in (module for module in network.modules() if isinstance(module, nn.Conv2d)):
        forward += 2 * given.images * side * side * layer.weight.numel()
        side //= 2
    images = torch.randn(64, 128, 32, 32).contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(128, 128, 3, 3).contiguous(memory_format=torch.channels_last)
    large = milliseconds(lambda: torch.conv2d(images, kernel, padding=1), 5)
    rate, ceiling = 9 * forward * given.rounds / took / 1e9, 2 * 64 * 32**2 * kernel.numel() / large / 1e6
    return (
        f"gradient and vjp_hvp with what was kept: convolutions are {took / wall:.0%}, at {rate:.0f} GFLOP/s "
        f"(nine forward passes); a large convolution: {ceiling:.0f} GFLOP/s"
    )


if __name__ == "__main__":
    main()

"""How long it takes to train and test five networks on ten synthetic images: MTT's loop, ours, arithmetic.

The reference is `evaluate_synset` of MTT's `utils.py`, imported unmodified from a checkout, for one network
after another; ours is `mct.evaluate.evaluate`, uncompiled and compiled. Every measurement is a process of
its own, in turn, so that a busy machine hits all alike. The last line is the time of the bare convolution
calls, forward and backward and in the test, arranged as ours are: what is left when all else is free.

Time of processors is printed beside: with --threads 1 it hardly depends on who else is busy, while a team
of two threads, as the reference uses, waits for its slower half. Images are noise. Published are 1,001
passes and 10,000 test images; both are scaled by the same factor.

    python benchmarks/evaluate.py --mtt PATH [--passes 61] [--rounds 3] [--device cuda]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import torch

from mct.data.augment import STRATEGY
from mct.evaluation.protocol import evaluate
from mct.models import networks
from mct.runtime.allocator import keep_memory
from mct.runtime.seeds import generator
from mct.settings.config import EvaluateConfig
from mct.training.jobs import JobPool

RATE = 0.02
ROWS = ("reference", "eager", "compiled", "arithmetic")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mtt", type=Path, help="checkout of MTT; without it only ours")
    parser.add_argument("--passes", type=int, default=61, help="one more than `epochs`")
    parser.add_argument("--networks", type=int, default=5)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--row", choices=ROWS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row is not None:
        print(json.dumps(measure(options)))
        return
    rows = [row for row in ROWS if row != "reference" or options.mtt]
    found: dict[str, list[dict[str, float]]] = {row: [] for row in rows}
    for _ in range(options.rounds):
        for row in rows:
            command = [sys.executable, __file__, *sys.argv[1:], "--row", row]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[row].append(json.loads(done.stdout.splitlines()[-1]))
    show(options, found)


def show(options: argparse.Namespace, found: dict[str, list[dict[str, float]]]) -> None:
    print(
        f"{options.networks} networks of width {options.width}, {options.images} images, {options.passes} "
        f"passes, {tests(options)} test images, {options.device}, {options.threads} threads, "
        f"{options.rounds} rounds"
    )
    for row, runs in found.items():
        seconds = [run["seconds"] for run in runs]
        line = f"{row:<10}  median {statistics.median(seconds):7.2f} s  (min {min(seconds):.2f},"
        line += f" of processors {statistics.median(run['cpu'] for run in runs):.2f} s)"
        if row in ("eager", "compiled") and "reference" in found:
            pairs = zip(found["reference"], runs, strict=True)
            ratios = [theirs["seconds"] / ours["seconds"] for theirs, ours in pairs]
            line += f"  reference / {row}: median {statistics.median(ratios):.2f}"
            line += f" ({min(ratios):.2f} to {max(ratios):.2f})"
        if row == "compiled":
            line += f"  first call, compiling: {statistics.median(run['first'] for run in runs):.1f} s"
        print(line)


def tests(options: argparse.Namespace) -> int:
    return round(10_000 * options.passes / 1_001)


def measure(options: argparse.Namespace) -> dict[str, float]:
    torch.set_num_threads(options.threads)
    if options.row != "reference":  # as the commands of mct do
        keep_memory()
    model = networks.parse(f"ConvNetD3W{options.width}", channels=3, image_size=32, classes=10)
    data = SimpleNamespace(
        images=torch.randn(options.images, 3, 32, 32, generator=generator(0)).to(options.device),
        labels=(torch.arange(options.images) % 10).to(options.device),
        test_images=torch.randn(tests(options), 3, 32, 32, generator=generator(1)).to(options.device),
        test_labels=torch.randint(10, (tests(options),), generator=generator(2)).to(options.device),
    )
    if options.row == "arithmetic":
        return arithmetic(options)
    if options.row == "reference":
        warnings.simplefilter("ignore")  # theirs
        train = reference(options, model, data)
    else:

        def train(passes: int) -> None:
            config = EvaluateConfig(networks=options.networks, epochs=passes - 1)
            jobs = evaluate(
                data.images, data.labels, RATE, data, model, config, engine=options.row, notes=report
            )
            for _ in jobs:
                pass

    return {"first": timed(options, lambda: train(2))["seconds"]} | timed(
        options, lambda: train(options.passes)
    )


def report(line: str) -> None:
    print(line, file=sys.stderr)


def timed(options: argparse.Namespace, work: Callable[[], object]) -> dict[str, float]:
    if options.device != "cpu":
        torch.cuda.synchronize()
    start, used = time.perf_counter(), time.process_time()
    work()
    if options.device != "cpu":
        torch.cuda.synchronize()
    return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - used}


def reference(options: argparse.Namespace, model: object, data: SimpleNamespace) -> Callable[[int], None]:
    """Return their loop over networks, for a number of passes."""
    sys.path.insert(0, str(Path(__file__).parent / "parity"))
    from forward import theirs_of
    from reference import load

    nets, utils = load(options.mtt, "networks", "utils")
    pairs = list(zip(data.test_images.cpu(), data.test_labels.cpu(), strict=True))
    loader = torch.utils.data.DataLoader(pairs, batch_size=256)

    def train(passes: int) -> None:
        arguments = SimpleNamespace(
            device=options.device,
            lr_net=RATE,
            epoch_eval_train=passes - 1,
            batch_train=256,
            dsa=True,
            dsa_strategy=STRATEGY,
            dsa_param=utils.ParamDiffAug(),
            dataset="CIFAR10",
        )
        for number in range(options.networks):
            network = theirs_of(nets, model)
            with contextlib.redirect_stdout(io.StringIO()):
                utils.evaluate_synset(number, network, data.images, data.labels, loader, arguments)

    return train


def arithmetic(options: argparse.Namespace) -> dict[str, float]:
    """Time the convolutions alone."""
    device = torch.device(options.device)
    shapes = [(3, 32), (options.width, 16), (options.width, 8)]
    kernels = [laid(torch.randn(options.width, into, 3, 3, device=device)) for into, _ in shapes]

    def given(count: int) -> list[torch.Tensor]:
        return [laid(torch.randn(count, into, size, size, device=device)) for into, size in shapes]

    def job() -> Iterator[None]:
        batch, blocks = given(options.images), [given(size) for size in chunks(tests(options))]
        for _ in range(options.passes):
            for number, (images, kernel) in enumerate(zip(batch, kernels, strict=True)):
                out = torch.conv2d(images, kernel, padding=1)
                mask = [number > 0, True, False]
                torch.ops.aten.convolution_backward(
                    out, images, kernel, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, mask
                )
            yield
        for block in blocks:
            for images, kernel in zip(block, kernels, strict=True):
                torch.conv2d(images, kernel, padding=1)
            yield

    pool = JobPool.sharing(device, options.networks)

    def work() -> None:
        for _ in pool.run([job() for _ in range(options.networks)]):
            pass

    work()
    return timed(options, work)


def laid(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)


def chunks(count: int) -> list[int]:
    return [min(32, count - first) for first in range(0, count, 32)]


if __name__ == "__main__":
    main()

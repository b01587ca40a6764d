"""One outer step: MTT's loop and TESLA's, each as its authors published it, and ours, on the same data.

Get the references beside this repository, they are not part of it; either may be left out:

    git clone https://github.com/GeorgeCazenavette/mtt-distillation
    git clone https://github.com/justincui03/tesla

    python benchmarks/outer_step.py --mtt mtt-distillation --tesla tesla [--cifar10 PATH] [--device cuda]

All contestants take turns, several rounds, each in a fresh process that does one outer step, which is left
out (on CUDA two), and then a few that are timed: augmentation, batches, start, all inner steps, gradients,
and the updates of images and learning rate, no evaluation. PATH is an `.npz` or the official folder; without
it the images are noise. `--tiny` proves in a minute or two that everything runs.

    s/step     median of all rounds (smallest and largest of their medians)
    faster     time of the first row over that of this one, round by round, the same three
    peak       MiB of the whole process with its imports (VmHWM)
    +anon      MiB of anonymous memory, its peak above what there was after the imports
    share      of the first row's peak; on CUDA, of what the allocator had handed out
    first      seconds of the first step, with what is compiled in a cache on disk; cold: without
    cosine     of the image gradient to the exact one in float64 (ours, uncompiled); without augmentation,
               from one start to one target, all with the same images. size: ratio of their norms.
               slope: ratio of the gradients of the learning rate.

On CUDA also what the allocator handed out and reserved (MiB), how many kernels and graphs the CPU launched in
a step, and in which share of the step kernels ran. Last, the memory of ours for a small and a large N.
"""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from outer_step import table
from outer_step.job import SHAPES, Job, Shape
from outer_step.processes import Bench, ProcessError, Row, note

GROWTH = {"cpu": (10, 80), "cuda": (10, 80), "tiny": (2, 4)}
"""Two N between which memory may grow by the weights alone."""

GROWING = "ours, compiled, nothing kept"
"""The row whose memory is measured for both."""


def ours(device: str) -> dict[str, dict[str, Any]]:
    """Return our rows: name to engine and execution. Where nothing is said of `keep_mb`, it is automatic."""
    compiled = {"engine": "compiled"}
    rows = {
        "ours, eager": {"engine": "eager"},
        "ours, compiled": compiled,
        GROWING: compiled | {"keep_mb": 0},
        "ours, compiled, streamed knots": compiled | {"streamed": True},
    }
    return rows if device == "cpu" else rows | {"ours, compiled, bf16": compiled | {"precision": "bf16"}}


def measure(shape: Shape, bench: Bench, options: argparse.Namespace) -> list[Row]:
    """Run everything for one shape."""
    note(str(shape))
    real = options.cifar100 if shape.dataset == "CIFAR100" else options.cifar10
    job = Job(
        kind="material",
        shape=shape,
        folder=bench.folder / f"{shape.dataset}-{shape.ipc}",
        device=options.device,
        steps=options.steps,
        source=real and real.resolve(),
    )
    bench.run("material", job)
    references = {"MTT": options.mtt, "TESLA": options.tesla}
    rows = [
        Row(name=name, job=replace(job, kind="reference", source=checkout.resolve()))
        for name, checkout in references.items()
        if checkout is not None
    ]
    rows += [
        Row(name=name, job=replace(job, kind="ours", settings=given))
        for name, given in ours(options.device).items()
    ]
    for row in rows:
        given = row.job.settings
        new = given.get("engine") == "compiled" and "streamed" not in given  # else compiled already
        if new and (found := row.run(bench, steps=1)):
            row.facts["cold"] = found["first"]
    for number, row in enumerate(rows):
        row.run(bench, found=job.folder / f"{number}.found")
    try:
        compared = bench.run("exact", replace(job, kind="exact"))
    except ProcessError as error:
        note(f"  exact: {error}")
        compared = {}
    for number, row in enumerate(rows):
        row.facts |= compared.get(str(number), {})
    for _ in range(options.rounds):
        for row in rows:
            if found := row.run(bench):
                row.rounds.append(found)
    return rows


def growth(row: Row, bench: Bench, few: int, many: int) -> str:
    """Return a line about memory for two N."""
    key, peaks, weights = "allocated" if bench.cuda else "peak", [], 0.0
    for steps in (few, many):
        found = row.run(bench, steps=1, shape=replace(row.job.shape, inner_steps=steps))
        if found is None:
            return f"{row.name}: {row.failed}"
        peaks.append(found[key])
        weights = many * found["weights"]
    share = peaks[1] / (peaks[0] + weights)
    return (
        f"{row.name}: {peaks[0]:.0f} MiB for N = {few}, {peaks[1]:.0f} MiB for N = {many}, "
        f"which is {share:.3f} of the first and {many} weight vectors"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mtt", type=Path, metavar="PATH", help="checkout of MTT")
    parser.add_argument("--tesla", type=Path, metavar="PATH", help="checkout of TESLA")
    parser.add_argument("--cifar10", type=Path, metavar="PATH", help="real images")
    parser.add_argument("--cifar100", type=Path, metavar="PATH", help="real images, for the shapes on CUDA")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, help="threads of every process (default: 2 on a CPU)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="timed steps of a process")
    parser.add_argument("--shape", type=int, metavar="NUMBER", help="only this one, from 0")
    parser.add_argument("--limit", type=float, default=1800, help="seconds that a process may take")
    parser.add_argument("--folder", type=Path, help="where to put the material (default: a temporary folder)")
    parser.add_argument("--tiny", action="store_true", help="one small shape, one round")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        job = Job.loads(options.job)
        found = importlib.import_module(f"outer_step.{job.kind}").run(job)
        job.out.write_text(json.dumps(found))
        return
    for checkout in (options.mtt, options.tesla):
        if checkout is not None and not (checkout / "distill.py").is_file():
            parser.error(f"{checkout}: no distill.py; expected a checkout of the reference")
    cuda = options.device == "cuda"
    if options.tiny:
        options.rounds = options.steps = 1
    size = "tiny" if options.tiny else options.device
    shapes = SHAPES[size]
    if options.shape is not None:
        shapes = shapes[options.shape : options.shape + 1]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that children and material go as well
    threads = options.threads or (None if cuda else 2)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        bench = Bench(
            script=Path(__file__).resolve(),
            folder=Path(folder).resolve(),
            cuda=cuda,
            threads=threads,
            limit=options.limit,
        )
        growing = None
        for shape in shapes:
            try:
                rows = measure(shape, bench, options)
            except ProcessError as error:
                sys.exit(f"{shape}: {error}")
            machines = {found["machine"] for row in rows for found in row.rounds}
            print(*machines, *table.lines(shape, rows, cuda=cuda), "", sep="\n", flush=True)
            growing = growing or next(row for row in rows if row.name == GROWING)
        if growing is not None:
            print(growth(growing, bench, *GROWTH[size]))


if __name__ == "__main__":
    main()

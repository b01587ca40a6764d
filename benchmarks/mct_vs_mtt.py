"""MTT against MCT on real CIFAR-10 images, at a size that two cores finish in about ninety minutes.

The same experts throughout: width 32, MTT's recipe, recorded once as a full `.mtt` and converted. From them
every method distils with equal budgets and equal settings; only the artifact and the sampling differ:

    mtt        the full trajectory, whole starts (MTT)
    mct2       two endpoints, real starts (MCT)             mct2-discrete   the same, whole starts
    mct4       two waypoints inserted, real starts (MCT)    mct4-discrete   the same, whole starts

    python benchmarks/mct_vs_mtt.py --cifar10 FOLDER --out FOLDER [--jobs 2] [--seeds 3] [--only ipc1]

FOLDER holds the official CIFAR-10 layout. Everything is resumable: run it again and it continues; a run that
is done is not repeated. Prints the table, and writes it and the curves to the folder of `--out`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

IMAGES = 10_000
EXPERTS = {"experts": 5, "epochs": 20}
MODEL = "ConvNetD3W32"
KNOTS = (2, 10)
"""The paper's 6 and 25 of 50 epochs, for 20."""

METHODS = {
    "mtt": ("full.mtt", "discrete"),
    "mct2": ("two.mct", "continuous"),
    "mct2-discrete": ("two.mct", "discrete"),
    "mct4": ("four.mct", "continuous"),
    "mct4-discrete": ("four.mct", "discrete"),
}
SETTINGS: dict[int, dict[str, Any]] = {
    1: {
        "inner_steps": 20,
        "expert_steps": 2,
        "max_start": 5,
        "lr_img": 3000.0,
        "lr_lr": 1e-6,
        "lr_init": 0.005,
        "outer_steps": 200,
        "eval_every": 20,
    },
    10: {
        "inner_steps": 20,
        "expert_steps": 2,
        "max_start": 10,
        "lr_img": 1000.0,
        "lr_lr": 1e-6,
        "lr_init": 0.01,
        "batch_syn": 25,
        "outer_steps": 150,
        "eval_every": 25,
    },
}
"""Images per class → the same settings for all methods. Chosen in a short pilot with two endpoints, real
starts and two experts, which favours mct2 if anything."""

EVALUATION = {1: {"networks": 3, "epochs": 300}, 10: {"networks": 3, "epochs": 100}}
"""During the run, on held-out training images; the final test has five networks."""


@dataclass(frozen=True)
class Run:
    """One distillation."""

    method: str
    ipc: int
    seed: int

    @property
    def name(self) -> str:
        """Return the name of its folder."""
        return f"ipc{self.ipc}-{self.method}-seed{self.seed}"


def prepare(cifar10: Path, out: Path) -> None:
    """Write the subset, train the experts, and convert them."""
    import numpy as np

    from mct.data.readers import cifar
    from mct.events import ExpertDone
    from mct.experts.run import ExpertRun
    from mct.runtime.allocator import keep_memory
    from trajfmt.convert.options import ConvertOptions
    from trajfmt.convert.run import convert

    keep_memory()
    subset = out / "cifar10k.npz"
    if not subset.exists():
        whole = cifar.read10(cifar10)
        partial = subset.with_suffix(".partial.npz")
        np.savez(
            partial,
            train_images=whole.train_images[:IMAGES],
            train_labels=whole.train_labels[:IMAGES],
            test_images=whole.test_images,
            test_labels=whole.test_labels,
        )
        os.replace(partial, subset)
    full = out / "full.mtt"
    if not full.exists():
        run = ExpertRun.prepare(str(subset), full, model=MODEL, **EXPERTS)
        for event in run.events():
            if isinstance(event, ExpertDone):
                print(f"expert {event.expert}: test accuracy {event.accuracy:.1%}", flush=True)
    for name, knots in (("two.mct", ()), ("four.mct", KNOTS)):
        if not (out / name).exists():
            convert(full, out / name, ConvertOptions(knots=knots))


def distil(run: Run, out: Path) -> None:
    """Distil, and test the last and the best images once each."""
    import torch

    import trajfmt
    from mct.distillation.distiller import Distiller
    from mct.distillation.folder import RunFolder
    from mct.distillation.loop import distill
    from mct.evaluation.comparison import Comparison
    from mct.runtime.allocator import keep_memory
    from mct.settings.config import EvaluateConfig

    keep_memory()
    torch.set_num_threads(1)
    artifact, sampling = METHODS[run.method]
    folder = RunFolder(out / run.name)
    evaluation = EvaluateConfig(**EVALUATION[run.ipc], seed=run.seed)
    with trajfmt.open(out / artifact) as bundle:
        distiller = Distiller.from_bundle(
            bundle, dataset=str(out / "cifar10k.npz"), ipc=run.ipc, seed=run.seed, sampling=sampling,
            select="heldout", save_every=20, **SETTINGS[run.ipc],
        )  # fmt: skip
        for _ in distill(distiller, folder, resume=folder.state.is_file(), evaluation=evaluation):
            pass
    tests = {}
    for name, file in (("best", folder.best), ("final", folder.result)):
        comparison = Comparison.prepare(
            file, dataset=str(out / "cifar10k.npz"), networks=5, epochs=EVALUATION[run.ipc]["epochs"],
            seed=1000 + run.seed,
        )  # fmt: skip
        tests[name] = drain(comparison.distilled())
    partial = out / f"{run.name}.json.partial"
    partial.write_text(json.dumps(tests))
    os.replace(partial, out / f"{run.name}.json")


def drain(events: Any) -> list[float]:
    """Run an evaluation and return the accuracies."""
    while True:
        try:
            next(events)
        except StopIteration as stop:
            return list(stop.value.networks)


def everything(waiting: list[tuple[str, list[str]]], jobs: int) -> None:
    """Run commands of this interpreter, several at a time, one thread each.

    Args:
        waiting: Name and arguments of each.
        jobs: How many at a time.
    """
    running: dict[subprocess.Popen[bytes], tuple[str, float]] = {}
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                name, arguments = waiting.pop(0)
                process = subprocess.Popen([sys.executable, *arguments], env=environment)
                running[process] = (name, time.time())
            time.sleep(0.5)
            for process in [process for process in running if process.poll() is not None]:
                name, began = running.pop(process)
                if process.returncode:
                    raise SystemExit(f"{name} ended with {process.returncode}; run again to continue")
                print(f"{name}: {time.time() - began:.0f} s, {len(waiting)} waiting", flush=True)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def report(runs: list[Run], out: Path) -> str:
    """Return the table of all runs that are done, and draw their curves."""
    from mct.plots import curves
    from trajfmt.plots import render

    lines = [
        f"CIFAR-10, {IMAGES} training images, {EXPERTS['experts']} experts of {EXPERTS['epochs']} epochs, "
        f"{MODEL}; equal budgets and settings.",
        "best: chosen on 1,000 held-out training images; final: the last images; both tested once on all",
        "10,000 test images, five networks. converged: first evaluated step within 2 points of the best",
        "held-out accuracy (paper, figure 1b). Mean and standard deviation over seeds.",
        "",
        f"{'':<21}{'bytes':>10} {'seeds':>5} {'best':>11} {'final':>11} {'converged':>10}  "
        "held-out accuracy over steps, mean of seeds",
    ]
    for ipc in SETTINGS:
        drawn = []
        for method, (artifact, _) in METHODS.items():
            names = [run.name for run in runs if (run.method, run.ipc) == (method, ipc)]
            names = [name for name in names if (out / f"{name}.json").exists()]
            if not names:
                continue
            tests = [json.loads((out / f"{name}.json").read_text()) for name in names]
            found = [curves.curve(out / name) for name in names]
            size = sum(file.stat().st_size for file in (out / artifact).rglob("*") if file.is_file())
            best, final = ([100 * statistics.fmean(t[key]) for t in tests] for key in ("best", "final"))
            converged = [float(curve.converged) for curve in found]
            means = list(zip(*(curve.mean for curve in found), strict=True))
            average = curves.Curve(
                name=method,
                steps=found[0].steps,
                mean=tuple(statistics.fmean(values) for values in means),
                std=tuple(statistics.pstdev(values) if len(values) > 1 else None for values in means),
                on="heldout",
            )
            drawn.append(average)
            shown = " ".join(f"{100 * value:.1f}" for value in average.mean[:: max(1, len(means) // 8)])
            lines.append(
                f"ipc {ipc:<2} {method:<13} {size:>10} {len(names):>5} {_spread(best):>11} "
                f"{_spread(final):>11} {_spread(converged, 0):>10}  {shown}"
            )
        if drawn:
            (out / f"curves-ipc{ipc}.png").write_bytes(render(curves.Curves(drawn), "png"))
    return "\n".join(lines)


def _spread(values: list[float], digits: int = 1) -> str:
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.pstdev(values):.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cifar10", type=Path, help="folder of the official layout")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="only runs whose name contains this")
    parser.add_argument("--table", action="store_true", help="print the table of what is done, and stop")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        distil(Run(**json.loads(options.run)), options.out)
        return
    runs = [Run(m, ipc, seed) for seed in range(options.seeds) for ipc in SETTINGS for m in METHODS]
    if not options.table:
        if options.cifar10 is None:
            parser.error("--cifar10 is needed: the folder of the official layout")
        options.out.mkdir(parents=True, exist_ok=True)
        prepare(options.cifar10, options.out)
        everything(
            [
                (run.name, [__file__, "--out", str(options.out), "--run", json.dumps(vars(run))])
                for run in runs
                if options.only in run.name and not (options.out / f"{run.name}.json").exists()
            ],
            options.jobs,
        )
    table = report(runs, options.out)
    (options.out / "table.txt").write_text(table + "\n")
    print(table)


if __name__ == "__main__":
    main()

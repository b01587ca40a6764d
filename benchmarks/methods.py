"""Which artifact, and which labels? Five artifacts of the same experts, with hard and with learned labels.

Experts, size and settings are those of `mct_vs_mtt.py`: CIFAR-10, 10,000 training images, 5 experts of width
32 and 20 epochs. Every arm distils with equal budgets and settings; for each seed, all arms have the same
initial images and the same random numbers, so that differences are taken in pairs.

    mtt      the full trajectory, whole starts (MTT)
    two      two endpoints, real starts (MCT)
    four     two waypoints inserted, real starts (MCT)
    cut      two endpoints, cut at the latest target: max_start + M
    mean     as `cut`, and the last endpoint is the mean of five neighbouring timesteps

    NAME-learned: labels are learned, from the mean logits of the experts on (DATM)

    python benchmarks/methods.py --cifar10 FOLDER --out FOLDER [--results FOLDER] [--jobs 2] [--seeds 5]
    [--only ipc1]

Everything is resumable: run it again and it continues. What each finished run measured is one small file in
the folder of `--results`, so that a run that is done there is not repeated, on this machine or another.
Prints the table.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mct_vs_mtt import EVALUATION, SETTINGS, drain, everything, prepare

ARMS = ("mtt", "two", "four", "cut", "mean")
LABELS = {"hard": {}, "learned": {"labels": "learned", "lr_label": 2.0, "label_momentum": 0.9}}
AVERAGE = 5
WITHIN = 0.02
"""A run has converged at the first evaluated step whose accuracy is within this of its best."""


@dataclass(frozen=True)
class Run:
    """One distillation."""

    ipc: int
    arm: str
    labels: str
    seed: int

    @property
    def name(self) -> str:
        """Return the name of its folder and of its file of results."""
        return f"ipc{self.ipc}-{self.arm}-{self.labels}-seed{self.seed}"

    @property
    def artifact(self) -> str:
        """Return the name of its bundle."""
        if self.arm == "mtt":
            return "full.mtt"
        return {"two": "two.mct", "four": "four.mct"}.get(self.arm, f"{self.arm}-ipc{self.ipc}.mct")


def convert_all(out: Path) -> None:
    """Convert the experts to the artifacts that `mct_vs_mtt.prepare` does not make."""
    from trajfmt.convert.options import ConvertOptions
    from trajfmt.convert.run import convert

    for ipc, settings in SETTINGS.items():
        last = math.ceil(settings["max_start"] + settings["expert_steps"]) + 1
        for arm, options in (("cut", {}), ("mean", {"average": AVERAGE})):
            place = out / f"{arm}-ipc{ipc}.mct"
            if not place.exists():
                convert(out / "full.mtt", place, ConvertOptions(timesteps=(0, last), **options))


def distil(run: Run, out: Path, results: Path) -> None:
    """Distil, test the last and the best images once each, and write what was measured."""
    import torch

    import trajfmt
    from mct.distillation.distiller import Distiller
    from mct.distillation.folder import RunFolder
    from mct.distillation.loop import distill
    from mct.evaluation.comparison import Comparison
    from mct.plots import curves
    from mct.runtime.allocator import keep_memory
    from mct.settings.config import EvaluateConfig

    keep_memory()
    torch.set_num_threads(1)
    folder, images = RunFolder(out / run.name), str(out / "cifar10k.npz")
    evaluation = EvaluateConfig(**EVALUATION[run.ipc], seed=run.seed)
    with trajfmt.open(out / run.artifact) as bundle:
        settings = SETTINGS[run.ipc] | LABELS[run.labels]
        sampling = "discrete" if run.arm == "mtt" else "continuous"
        distiller = Distiller.from_bundle(
            bundle, dataset=images, ipc=run.ipc, seed=run.seed, select="heldout", save_every=20,
            sampling=sampling, **settings,
        )  # fmt: skip
        for _ in distill(distiller, folder, resume=folder.state.is_file(), evaluation=evaluation):
            pass
    facts: dict[str, Any] = asdict(run)
    facts["bytes"] = sum(file.stat().st_size for file in (out / run.artifact).rglob("*") if file.is_file())
    for name, file in (("best", folder.best), ("final", folder.result)):
        comparison = Comparison.prepare(
            file, dataset=images, networks=5, epochs=EVALUATION[run.ipc]["epochs"], seed=1000 + run.seed
        )
        facts[name] = drain(comparison.distilled())
    found = curves.curve(folder.path)
    facts |= {"steps": found.steps, "heldout": found.mean}
    partial = results / f"{run.name}.partial"
    partial.write_text(json.dumps(facts) + "\n")
    os.replace(partial, results / f"{run.name}.json")


def converged(facts: dict[str, Any]) -> int:
    """Return the first evaluated step that is within two points of the best held-out accuracy."""
    best = max(facts["heldout"])
    return next(
        step for step, mean in zip(facts["steps"], facts["heldout"], strict=True) if mean >= best - WITHIN
    )


def report(results: Path) -> str:
    """Return the table of all runs that are done."""
    done: dict[tuple[int, str, str], dict[int, dict[str, Any]]] = {}
    for file in sorted(results.glob("*.json")):
        facts = json.loads(file.read_text())
        done.setdefault((facts["ipc"], facts["arm"], facts["labels"]), {})[facts["seed"]] = facts
    lines = [
        "best: chosen on 1,000 held-out training images; final: the last images; both tested once on all",
        "10,000 test images with five networks. Mean and standard deviation over seeds. Differences are of",
        "`final`, in pairs of one seed, with their standard errors: against mtt with the same labels, and of",
        "learned against hard labels. within 2: the first evaluated step whose held-out accuracy is within",
        "two points of the best one.",
        "",
        f"{'':<20}{'bytes':>11} {'of mtt':>7} {'n':>3} {'best':>12} {'final':>12} {'against mtt':>14} "
        f"{'learned - hard':>15} {'within 2':>9}",
    ]
    for ipc in SETTINGS:
        whole = next(iter(done.get((ipc, "mtt", "hard"), {}).values()), {}).get("bytes")
        for labels in LABELS:
            for arm in ARMS:
                found = done.get((ipc, arm, labels), {})
                hard = done.get((ipc, arm, "hard"), {}) if labels != "hard" else {}
                full = done.get((ipc, "mtt", labels), {}) if arm != "mtt" else {}
                lines.append(f"ipc {ipc:<3} {_label(arm, labels):<13}{_row(found, whole, full, hard)}")
    return "\n".join(lines)


def _row(
    found: dict[int, dict[str, Any]],
    whole: int | None,
    full: dict[int, dict[str, Any]],
    hard: dict[int, dict[str, Any]],
) -> str:
    """Return what is measured of one arm; dashes where nothing is."""
    if not found:
        return f"{'-':>11}"
    size = next(iter(found.values()))["bytes"]
    best, final = ([100 * statistics.fmean(run[key]) for run in found.values()] for key in ("best", "final"))
    share = f"{size / whole:.1%}" if whole else "-"
    return (
        f"{size:>11,} {share:>7} {len(found):>3} {_spread(best):>12} {_spread(final):>12} "
        f"{_difference(found, full):>14} {_difference(found, hard):>15} "
        f"{statistics.fmean(converged(run) for run in found.values()):>9.0f}"
    )


def _label(arm: str, labels: str) -> str:
    return arm if labels == "hard" else f"{arm}-{labels}"


def _difference(found: dict[int, dict[str, Any]], other: dict[int, dict[str, Any]]) -> str:
    """Return the mean of paired differences in points, with its standard error."""
    pairs = [
        100 * (statistics.fmean(found[seed]["final"]) - statistics.fmean(other[seed]["final"]))
        for seed in sorted(found.keys() & other.keys())
    ]
    if len(pairs) < 2:
        return "-"
    return f"{statistics.fmean(pairs):+.2f} ± {statistics.stdev(pairs) / math.sqrt(len(pairs)):.2f}"


def _spread(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.1f}"
    return f"{statistics.fmean(values):.1f} ± {statistics.stdev(values):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cifar10", type=Path, help="folder of the official layout")
    parser.add_argument("--out", type=Path, required=True, help="folder of experts and runs")
    parser.add_argument("--results", type=Path, help="folder of what runs measured  [default: OUT/results]")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="", help="only runs whose name contains this")
    parser.add_argument("--table", action="store_true", help="print the table of what is done, and stop")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    results = options.results or options.out / "results"
    if options.run:
        distil(Run(**json.loads(options.run)), options.out, results)
        return
    runs = [
        Run(ipc, arm, labels, seed)
        for seed in range(options.seeds) for ipc in SETTINGS for labels in LABELS for arm in ARMS
    ]  # fmt: skip
    if not options.table:
        if options.cifar10 is None:
            parser.error("--cifar10 is needed: the folder of the official layout")
        for folder in (options.out, results):
            folder.mkdir(parents=True, exist_ok=True)
        prepare(options.cifar10, options.out)
        convert_all(options.out)
        words = [__file__, "--out", str(options.out), "--results", str(results), "--run"]
        everything(
            [
                (run.name, [*words, json.dumps(asdict(run))])
                for run in runs
                if options.only in run.name and not (results / f"{run.name}.json").exists()
            ],
            options.jobs,
        )
    print(report(results))


if __name__ == "__main__":
    main()

"""Parity with the code of DATM, PAD, ATT and FTD: their scripts beside our outer steps, on the same draws.

Get the references beside this repository, they are not part of it:

    git clone https://github.com/NUS-HPC-AI-Lab/DATM
    git clone https://github.com/NUS-HPC-AI-Lab/PAD
    git clone https://github.com/NUS-HPC-AI-Lab/PAD PAD_depth && git -C PAD_depth checkout f1e3e28
    git clone https://github.com/NiaLiu/ATT
    git clone https://github.com/AngusDujw/FTD-distillation FTD
    pip install pyyaml  # reads their files of settings

    python benchmarks/parity/methods.py [--datm DATM] [--pad PAD] [--pad-depth PAD_depth] [--att ATT] \
        [--ftd FTD]

Each script's file runs as it is, from its first line to its last, for nine iterations in float64 on a CPU;
`method_child.py` says what it finds around it. Both sides then go on from their own results, so that the
errors are those after nine updates. Errors are relative to the largest expected value of the iteration. Where
a line says `eager` and `compiled`, our inner steps were computed in both ways. What a script lacks to run:

* PAD.py reads `loss_threshold_low`, which neither its defaults nor its files of settings have, and ends with
  an AttributeError. It is given as 0, which means that parameters are dropped; at 1 or more none would be.
  yacs would refuse the name, and is replaced by a dictionary here.
* The windows of DATM and PAD are checked twice: in the runs, and for every file of settings by the lines that
  `method_settings.py` names, run alone, because 4,000 iterations would take days.

Takes two minutes of CPU time. The exit code is 1 if a line fails.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import method_compare
import method_scene
import method_settings
import reference
import torch
from table import Lines

import trajfmt
from mct.settings.config import DistillConfig
from mct.settings.published import datm, pad
from trajfmt.convert.run import convert

ITERATIONS = 9
IPC, STEPS, BATCH = 3, 6, 4
DECAY = 0.9

SETTINGS = {
    "ipc": IPC,
    "syn_steps": STEPS,
    "expert_epochs": 2,
    "eval_it": -1,
    "Iteration": ITERATIONS - 1,
    "buffer_path": "buffers",
    "zca": False,
    "parall_eva": True,
    "min_start_epoch": 0,
    "current_max_start_epoch": 2,
    "max_start_epoch": 5,
    "expansion_end_epoch": 4,
    "batch_syn": BATCH,
    "lr_img": 100,
    "lr_teacher": 0.02,
    "threshold": 1.0,
    "name": "parity",
    "model": method_scene.MODEL,
}
"""Of DATM and PAD. With `eval_it` -1 there is no evaluation."""

OPTIONS = (
    f"--dataset=CIFAR10 --model={method_scene.MODEL} --ipc={IPC} --syn_steps={STEPS} --batch_syn={BATCH} "
    f"--eval_it=-1 --Iteration={ITERATIONS - 1} --buffer_path=buffers --max_start_epoch=5 --expert_epochs=2 "
    f"--lr_img=100 --lr_lr=1e-5 --ema_decay={DECAY}"
).split()
"""Of ATT and FTD."""

CONFIG = DistillConfig(
    ipc=IPC,
    inner_steps=STEPS,
    expert_steps=2,
    max_start=5,
    batch_syn=BATCH,
    lr_img=100,
    lr_lr=1e-5,
    lr_init=0.02,
)
LEARNED = {
    "labels": "learned",
    "initial": "correct",
    "loss_threshold": 1.0,
    "ramp_from": 2,
    "ramp_steps": 4,
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A script with settings, and the same settings of ours."""

    what: str
    script: str
    ours: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    utilities: str = "utils.utils_baseline"
    experts: tuple[int, int, float] = (3, 8, 0.05)
    """Number of experts, their timesteps, and their learning rate."""


DATM = Case(what="DATM", script="distill/DATM.py", ours=LEARNED)
UNTRAINED = {"ipc": 5, "expert_epochs": 1, "max_start_epoch": 1, "current_max_start_epoch": 1, "Iteration": 0}
START = Case(what="DATM", script="distill/DATM.py", ours={}, settings=UNTRAINED, experts=(10, 2, 0.001))
PAD = tuple(
    Case(
        what=f"PAD, {share:g} dropped",
        script="distill/PAD.py",
        ours=LEARNED | {"drop": share},
        settings={"loss_ratio": share, "loss_threshold_low": 0.0},
    )
    for share in (0.25, 0.5)
)
PAD_DEPTH = tuple(
    Case(
        what=f"PAD by depth, {share:g} dropped",
        script="distill/PAD_depth.py",
        ours=LEARNED | {"drop": share, "drop_by": "first"},
        settings={"depth_ratio": share},
    )
    for share in (0.25, 0.5)
)
ATT = tuple(
    Case(
        what=f"ATT, alpha from {alpha:g}",
        script="distill_ATT.py",
        ours={"end": "nearest", "image_average": DECAY, "lr_init": alpha},
        options=(*OPTIONS, f"--lr_teacher={alpha}"),
        utilities="utils_baseline",
    )
    for alpha in (0.02, 0.01)
)
FTD = Case(
    what="FTD",
    script="distill/distill_FTD.py",
    ours={"image_average": DECAY},
    options=(*OPTIONS, "--lr_teacher=0.02"),
)


def run(case: Case, checkout: Path, folder: Path) -> tuple[dict[str, Any], Path]:
    """Run a script in a folder; return what it recorded, and its experts as a bundle."""
    script = checkout / case.script
    if not script.is_file():
        sys.exit(f"{checkout}: no {case.script}; expected a checkout of {case.what.split(',')[0]}")
    count, timesteps, rate = case.experts
    buffer = method_scene.write_buffer(folder, method_scene.experts(count, timesteps, rate))
    convert(buffer, folder / "experts.mtt")
    (folder / "cfg.json").write_text(json.dumps(SETTINGS | case.settings))
    job = {
        "checkout": str(checkout.resolve()),
        "script": str(script.resolve()),
        "utilities": case.utilities,
        "folder": str(folder),
        "arguments": case.options or ("--cfg=cfg.json",),
        "record": str(folder / "seen.pt"),
    }
    (folder / "job.json").write_text(json.dumps(job))
    child = Path(__file__).with_name("method_child.py")
    command = [sys.executable, "-W", "ignore", str(child), str(folder / "job.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        sys.exit(f"{case.what} ended with {done.returncode}: {done.stderr[-2000:]}")
    return torch.load(folder / "seen.pt"), folder / "experts.mtt"


def check(case: Case, checkout: Path) -> Lines:
    """Compare all iterations of one script."""
    with tempfile.TemporaryDirectory() as name:
        theirs, bundle = run(case, checkout, Path(name))
        config = method_compare.replaced(CONFIG, **case.ours)
        if config.labels == "learned":
            yield from method_compare.initial(case.what, theirs, bundle, IPC)
        yield from method_compare.iterations(case.what, theirs, bundle, config)


def check_start(checkout: Path) -> Lines:
    """Compare initial images and logits with experts that are right about few images."""
    with tempfile.TemporaryDirectory() as name:
        theirs, bundle = run(START, checkout, Path(name))
        what = f"{START.what}, ten untrained experts"
        yield from method_compare.initial(what, theirs, bundle, UNTRAINED["ipc"])


LACKING = {
    "pad": ", with the setting loss_threshold_low 0, which it reads and which no file of settings has",
}
"""What had to be added so that a script runs."""


def commit_of(checkout: Path) -> str:
    """Return the commit of a checkout, and whether files differ from it."""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "of no known commit"


def lines_of(options: dict[str, Path | None]) -> Lines:
    """Compare with everything that was given."""
    plan: dict[str, tuple[Sequence[Case], str, Any]] = {
        "datm": ((DATM,), "DATM", datm.PRESETS),
        "pad": (PAD, "PAD", pad.PRESETS),
        "pad_depth": (PAD_DEPTH, "PAD by depth", None),
        "att": (ATT, "ATT", None),
        "ftd": ((FTD,), "FTD", None),
    }
    for key, (cases, name, presets) in plan.items():
        checkout = options[key]
        if checkout is None:
            continue
        script = cases[0].script
        if not (checkout / script).is_file():
            sys.exit(f"{checkout}: no {script}; expected a checkout of {name}")
        print(f"{name} {commit_of(checkout)} {script}", reference.fingerprint(checkout, script))
        lines = len((checkout / script).read_text().splitlines())
        print(f"RAN                      lines 1 to {lines}, unchanged{LACKING.get(key, '')}", flush=True)
        if key == "datm":
            yield from check_start(checkout)
        yield from itertools.chain.from_iterable(check(case, checkout) for case in cases)
        if presets is not None:
            yield from method_settings.check(name, checkout, script, presets)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, of in (
        ("datm", "DATM"),
        ("pad", "PAD"),
        ("pad-depth", "PAD at f1e3e28, whose PAD_depth.py was removed later"),
        ("att", "ATT"),
        ("ftd", "FTD"),
    ):
        parser.add_argument(f"--{name}", type=Path, metavar="PATH", help=f"checkout of {of}")
    options = vars(parser.parse_args())
    if not any(options.values()):
        parser.error("give at least one checkout")
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, trajfmt {trajfmt.__version__}, Python {sys.version.split()[0]}")
    counts = {"failed": 0, "passed": 0, "skipped": 0}
    for line in lines_of(options):
        print(line, flush=True)
        counts["skipped" if line.error is None else "failed" if line.failed else "passed"] += 1
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())

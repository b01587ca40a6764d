"""A reproduction of the paper at the smallest size, killed at random moments, against one that is not.

    python benchmarks/reproduce_kills.py             # everything, 20 kills
    python benchmarks/reproduce_kills.py --jobs 2    # with jobs in processes of their own
    python benchmarks/reproduce_kills.py --kills 3 --names table2 --seeds 1

Each start is a process that is forked from this program, so that torch is imported once, and gets SIGKILL at
a random moment. The last start runs to the end. All tables and figures, what every job found, and the
distilled images must then have the bytes of a reproduction that was never interrupted. The exit code is 1 if
they do not.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

SETTINGS = {
    "inner_steps": 2, "expert_steps": 1, "max_start": 1, "outer_steps": 4, "lr_img": 100.0, "lr_lr": 1e-5,
    "lr_init": 0.05, "augment": "none",
}  # fmt: skip


FEW = {"outer_steps": 2, "matches": 2, "passes": 2, "class_batch": 8, "augment": "flip_crop"}


def smallest() -> Any:
    """Return a scale at which everything takes seconds: digits, networks of width 4, four outer steps."""
    from mct.reproduce import SCALES, DataSize

    size = DataSize(
        paper="CIFAR-10",
        dataset="digits",
        shown="digits",
        model="ConvNetD1W4",
        experts={"experts": 2, "epochs": 8, "lr": 0.05, "batch_size": 512, "augment": "none"},
        knots=(2,),
        settings={1: SETTINGS, 10: {**SETTINGS, "batch_syn": 20}},
        condensation={name: dict.fromkeys((1, 10), FEW) for name in ("DC", "DSA", "DM", "CAFE")},
        evaluation={ipc: {"networks": 1, "epochs": 3, "every": 2} for ipc in (1, 10)},
    )
    tiny = SCALES["tiny"]
    return replace(
        tiny,
        name="smallest",
        data=(size,),
        networks=2,
        trajectories=(1, 2),
        ipc2=1,
        points=5,
        changes=(),
        guesses={},
    )


def main(arguments: list[str] | None = None) -> int:
    """Run both reproductions, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1, help="jobs at a time")
    parser.add_argument("--names", nargs="+", default=["all"], help="tables and figures")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args(arguments)
    import h5py  # noqa: F401  # imported once, and not in every process
    import torch
    import torch._dynamo  # the optimizers import it

    import mct.reproduce  # noqa: F401

    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="reproduce-kills-"))
    try:
        return report(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def report(options: Any, folder: Path) -> int:
    """Run everything in a folder, print the result, and return the exit code."""
    began = time.monotonic()
    ended(started(options, folder / "whole"), 0)
    alone = time.monotonic() - began
    print(f"{' '.join(options.names)}: {alone:.1f} s without kills")
    return compare(options, folder / "whole", folder / "broken", seconds=alone)


def compare(options: Any, whole: Path, broken: Path, *, seconds: float) -> int:
    """Reproduce with kills, compare, print the result, and return the exit code.

    Args:
        options: Those of the command.
        whole: Folder of a reproduction without kills.
        broken: Folder of the one with kills.
        seconds: What it takes without kills.
    """
    chance, places = random.Random(options.seed), collections.Counter[str]()
    for _ in range(options.kills):
        process = started(options, broken)
        until = time.monotonic() + chance.uniform(0.02, 1.2 * seconds / (options.kills + 1))
        over = False
        while time.monotonic() < until and not over:
            over = os.waitpid(process, os.WNOHANG)[0] != 0
            time.sleep(0.002)
        if over:
            places["nothing, as everything was finished"] += 1
            continue
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        places[where(broken)] += 1
    ended(started(options, broken), 0)
    count = sum(places.values())
    print(
        f"{count} kills (SIGKILL), and what they interrupted: "
        + ", ".join(f"{number} {place}" for place, number in sorted(places.items()))
    )
    one, other = files(whole), files(broken)
    different = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    print(f"{len(one)} files: {'byte-identical' if not different else 'DIFFERENT: ' + ', '.join(different)}")
    return 1 if different else 0


def where(out: Path) -> str:
    """Return the kinds of the jobs that were begun and not finished."""
    begun = [path for path in out.glob("jobs/*/job.json") if not (path.parent / "done.json").exists()]
    kinds = sorted(json.loads(path.read_bytes())["kind"] for path in begun)
    return "+".join(kinds) if kinds else "between jobs"


def started(options: Any, out: Path) -> int:
    """Fork a process that reproduces, and return its number."""
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        from mct.reproduce import Reproduction

        plan = Reproduction.prepare(options.names, out, scale=smallest(), seeds=options.seeds)
        _, failed = plan.run(at_once=options.jobs)
        for name, reason in failed.reasons.items():
            print(f"{name}: {reason}", file=sys.stderr)
        code = 1 if failed else 0
    finally:
        os._exit(code)


def ended(process: int, expected: int) -> None:
    """Wait for a process, and require its exit code."""
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code != expected:
        raise SystemExit(f"exit code {code}, expected {expected}")


def files(out: Path) -> dict[str, bytes]:
    """Return the files whose bytes must be equal: all but times, states in progress and locks."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.name == "done.json":
            facts = json.loads(path.read_bytes())
            del facts["seconds"], facts["cpu_seconds"]
            found[name] = json.dumps(facts, sort_keys=True).encode()
        elif path.is_file() and (
            path.parent == out or path.suffix in (".safetensors", ".mtt", ".mct") or path.name == "job.json"
        ):
            found[name] = path.read_bytes()
    return {name: content for name, content in found.items() if not name.endswith(".lock")}


if __name__ == "__main__":
    raise SystemExit(main())

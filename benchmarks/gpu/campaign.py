"""Everything that a GPU has to prove, as one program for the minutes in which a GPU is at hand.

    python benchmarks/gpu/campaign.py --out DIR [--seconds 540] [--scale full|tiny] [--device cuda|cpu]
        [--mtt PATH] [--tesla PATH] [--cifar10 PATH] [--parts 1,2,3,4,5,6]

    1  what the machine is, and its ceilings       4  experts and evaluations, MTT's loops and ours
    2  the tests marked `cuda`                     5  the paper's comparison, shortened
    3  an outer step of MTT, of TESLA, and of ours

    6  later methods, shortened: DATM, a cell of table 2, RaT-BPTT; only with --parts 6, in nine minutes of
       its own

Parts run in this order, each in a process of its own that is stopped when its time is over. Every result is
written to DIR/campaign.jsonl the moment it is there, and what the parts print to DIR/campaign.log. A part
that fails ends neither the others nor the table, which is printed last and written to DIR/RECORDS-gpu.md.
There, and in campaign.jsonl, results of earlier runs stay for the parts that are not run again, so that a
campaign can be completed part by part; with --tests, those of the other tests of part 2 stay as well, unless
they had failed. The log begins anew each time.

--mtt and --tesla are checkouts of the references (benchmarks/outer_step.py says where they are); without
them their rows name the missing option. --cifar10 is the folder of the official layout, or an archive of
JPEGs whose members are named train|test/CLASS/NUMBER.jpg; without it parts 5 and 6 have no results at full
size. `--scale tiny --device cpu` proves on two cores that all of it runs, though nothing is compiled and two
cases of each test are enough. benchmarks/gpu/pack.sh packs what a bare machine needs beside the checkout.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import data
import records
from context import LINES, ROOT, Context
from outer_step.job import SHAPES
from outer_step.processes import note
from parts import environment, methods, outer, paper, right, training

PARTS = {
    1: ("the machine", environment),
    2: ("right", right),
    3: ("an outer step", outer),
    4: ("experts and evaluations", training),
    5: ("the paper", paper),
    6: ("later methods", methods),
}
PLAN = {1: 10.0, 2: 100.0, 3: 115.0, 4: 50.0, 5: 265.0, 6: 535.0}
"""Seconds of 540 that are reserved for a part; what a part leaves unused goes to the next one. Part 6 takes
as much as the others together, and runs only if it is asked for."""

_AT_THE_END = 5.0
"""Seconds for the table."""

_ROOM = 16 * 2**30
"""Bytes that a campaign of full size may need."""

_GRACE = 3.0
"""Seconds between asking a process to end and ending it."""


def main() -> int:
    """Run the parts, or one piece of work in a child process."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="folder of the results")
    parser.add_argument("--seconds", type=float, default=540)
    parser.add_argument("--scale", choices=("full", "tiny"), default="full")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--mtt", type=_folder, help="checkout of MTT")
    parser.add_argument("--tesla", type=_folder, help="checkout of TESLA")
    parser.add_argument("--cifar10", type=_existing, help="the official folder, or an archive of JPEGs")
    parser.add_argument("--parts", type=_numbers, default=(1, 2, 3, 4, 5), help="numbers, such as 1,3")
    parser.add_argument(
        "--tests", metavar="EXPRESSION", help="run only these tests of part 2, as pytest -k does"
    )
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    if options.child is not None:
        what, _, text = options.child.partition(" ")
        context = Context.loads(text)
        if 0 < context.left < float("inf"):  # says where a part is that does not stop when it is asked to
            faulthandler.dump_traceback_later(context.left + _GRACE / 2, file=sys.__stderr__)
        WORK[what](context)
        return 0
    if options.out is None:
        parser.error("--out is needed: the folder of the results")
    options.out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="mct-campaign-", dir=_memory()))
    try:
        context = Context(
            out=options.out.resolve(),
            work=work,
            device=options.device,
            full=options.scale == "full",
            mtt=options.mtt,
            tesla=options.tesla,
            cifar10=options.cifar10,
            tests=options.tests,
        )
        return campaign(context, options.parts, time.time() + options.seconds - _AT_THE_END)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def campaign(context: Context, parts: tuple[int, ...], until: float) -> int:
    """Run parts until a time, print the table, and return the exit code."""
    lines = context.out / LINES
    earlier = lines.read_text().splitlines(keepends=True) if lines.exists() else []
    lines.write_text("".join(line for line in earlier if _stays(json.loads(line), parts, context.tests)))
    (context.out / "campaign.log").write_text("")
    packages = context.work / "packages"
    packages.mkdir()
    (packages / "traj_cli").symlink_to(ROOT / "cli")  # the package's name where it is not installed
    factor = max(0.0, until - time.time()) / sum(PLAN[number] for number in parts)
    ends: dict[int, str] = {}
    background: subprocess.Popen[bytes] | None = None
    number = parts[0]
    try:
        for number in parts:
            if number > 1 and background is None:
                background = _start(context, "prepare")
            reserved = sum(PLAN[later] * factor for later in parts if later > number)
            if number > 2 and background is not None:  # nothing else runs while time is taken
                _wait(background, time.time() + 0.4 * max(0.0, until - time.time()))
            ends[number] = _part(context, number, until - reserved)
            note(f"part {number}, {PARTS[number][0]}: {ends[number]}")
    except KeyboardInterrupt:
        ends[number] = "interrupted"
    finally:
        if background is not None:
            _wait(background, 0)
    facts = records.read(context.out)
    stamp = f"{time.strftime('%Y-%m-%d')}, commit {_commit()}, {_machine(facts)}"
    sections = {
        number: records.section(number, *PARTS[number], context, facts, f"{end}; {stamp}")
        for number, end in ends.items()
    }
    file = context.out / records.NAME
    before = file.read_text() if file.exists() else ""
    file.write_text(records.merged(before, sections))
    print("\n".join(sections[number] for number in sorted(sections)), flush=True)
    if "interrupted" in ends.values():
        return 130
    return int(any(not end.startswith("done") for end in ends.values()))


def _stays(facts: dict[str, Any], parts: tuple[int, ...], tests: str | None) -> bool:
    """Return whether an earlier result is kept: of other parts, and of tests if only some of them run.

    What had failed is not kept.
    """
    if facts["part"] == 2 and tests:
        return "failed" not in facts
    return facts["part"] not in parts


def prepare(context: Context) -> None:
    """Unpack images, whiten them once, and compile, while the tests run: parts 3 to 5 find it done."""
    works = [*(f"compile-{number}" for number in range(len(outer.shapes(context)))), "compile-training"]
    jobs = [_start(context, work, own_group=False) for work in works if context.cuda]
    try:
        if context.full and context.cifar10 is not None:
            if context.cifar10.is_file():
                data.unpack(context.cifar10, context.work / "data")
            if (given := data.dataset(context)) is not None:
                from mct.data.datasets import load
                from mct.trajectories.provenance import parse_preprocessing

                load(given[0], root=given[1], preprocessing=parse_preprocessing("zca"))
        for job in jobs:
            job.wait()
    finally:
        for job in jobs:
            job.kill()


WORK: dict[str, Callable[[Context], None]] = {
    **{f"part-{number}": part.run for number, (_, part) in PARTS.items()},
    "prepare": prepare,
    **{f"compile-{number}": partial(outer.warm, number=number) for number in range(len(SHAPES["cuda"]))},
    "compile-training": training.warm,
}
"""What a child process does, by name."""


def _part(context: Context, number: int, until: float) -> str:
    """Run a part in a process of its own, and return how it ended."""
    began = time.time()
    process = _start(replace(context, part=number, until=until), f"part-{number}")
    in_time = _wait(process, until)
    took = f"{time.time() - began:.0f} s"
    if not in_time:
        return f"stopped after {took}, when its time was over"
    if process.returncode:
        lines = (context.out / "campaign.log").read_text(errors="replace").strip().splitlines() or [""]
        return f"failed after {took} with {process.returncode}: {lines[-1][:200]}"
    return f"done in {took}"


def _start(context: Context, work: str, *, own_group: bool = True) -> subprocess.Popen[bytes]:
    """Start a child process, in a group of its own so that it can be ended with all that it has started."""
    command = [sys.executable, __file__, "--child", f"{work} {context.dumps()}"]
    with (context.out / "campaign.log").open("ab") as log:
        return subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=context.environment(),
            start_new_session=own_group,
        )


def _wait(process: subprocess.Popen[bytes], until: float) -> bool:
    """Wait for a process until a time, then end its group; return whether it ended by itself."""
    if process.returncode is not None:
        return True
    in_time = True
    try:
        process.wait(max(0.0, until - time.time()))
    except subprocess.TimeoutExpired:
        in_time = False
    finally:
        for kind in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, kind)
                process.wait(_GRACE)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
    return in_time


def _memory() -> Path | None:
    """Return a folder in memory, so that no disk is measured; None if there is none with enough room."""
    folder = Path("/dev/shm")
    roomy = folder.is_dir() and shutil.disk_usage(folder).free > _ROOM
    return folder if roomy and os.access(folder, os.W_OK) else None


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _commit() -> str:
    """Return the commit of the checkout, where git and its history are there."""
    if shutil.which("git") is None:
        return "unknown"
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _machine(facts: dict[int, records.Facts]) -> str:
    text = facts.get(1, {}).get("device", {}).get("text")
    return str(text) if text else "device as in part 1"


def _existing(text: str) -> Path:
    if not Path(text).exists():
        raise argparse.ArgumentTypeError(f"{text}: no such file or folder")
    return Path(text).resolve()


def _folder(text: str) -> Path:
    if not (Path(text) / "distill.py").is_file():
        raise argparse.ArgumentTypeError(f"{text}: no distill.py; expected a checkout of the reference")
    return Path(text).resolve()


def _numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = sorted({int(part) for part in text.split(",")})
    except ValueError:
        numbers = []
    if not numbers or not set(numbers) <= set(PARTS):
        raise argparse.ArgumentTypeError(
            f"expected numbers from 1 to {len(PARTS)}, such as 1,3, got {text!r}"
        )
    return tuple(numbers)


if __name__ == "__main__":
    sys.exit(main())

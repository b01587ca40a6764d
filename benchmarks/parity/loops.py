"""Other people's distillation loops on our files: do they see the same weights, bit by bit?

Every script runs for eleven iterations (their count of ten) on a CPU: unmodified on its own codebase's files,
unmodified on `traj export` of the same trajectories, and with one line changed on stubs of `--in-place`. What
is compared are the flat start and target vectors that its loss sees.

Get the references beside this repository, they are not part of it:

    git clone https://github.com/GeorgeCazenavette/mtt-distillation
    git clone https://github.com/justincui03/tesla
    git clone https://github.com/NUS-HPC-AI-Lab/DATM
    git clone https://github.com/Zhong0x29a/MCT

    python benchmarks/parity/loops.py [--mtt PATH] [--tesla PATH] [--datm PATH] [--mct PATH]

Takes about a minute for each. The exit code is 1 if a line fails.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import points
import reference
import torch
from table import Line, Lines

import trajfmt
from mct.models import networks
from mct.runtime.seeds import generator
from trajfmt.convert.run import convert
from trajfmt.export.run import export

CLASSES, TIMESTEPS, EXPERTS = 2, 9, 10
ITERATIONS = 10
BEFORE = "import torch"
AFTER = "import torch, trajfmt.torch; torch.load = trajfmt.torch.load"


@dataclass(frozen=True)
class Codebase:
    """How a codebase's loop is run."""

    name: str
    script: str
    target: str
    arguments: tuple[str, ...] = ()
    utilities: str = "utils"
    model: str = "ConvNetW32"
    files: int = 10
    per_file: int = EXPERTS


COMMON = (
    f"--dataset=CIFAR10 --ipc=1 --syn_steps=2 --eval_it=-1 --Iteration={ITERATIONS} --buffer_path=buffers"
).split()
WINDOW = ("--max_start_epoch=6", "--expert_epochs=2")
CODEBASES = {
    "mtt": Codebase("MTT", "distill.py", "mtt", (*COMMON, *WINDOW)),
    "tesla": Codebase("TESLA", "distill.py", "mtt", (*COMMON, *WINDOW), model="ConvNetD1", per_file=1),
    "datm": Codebase("DATM", "distill/DATM.py", "datm", ("--cfg=cfg.json",), "utils.utils_baseline"),
}
AUTHORS = Codebase("MCT", "distill_compressed.py", "mct-authors", files=2)
DATM_SETTINGS = {
    "ipc": 1,
    "syn_steps": 2,
    "expert_epochs": 2,
    "eval_it": -1,
    "Iteration": ITERATIONS,
    "buffer_path": "buffers",
    "zca": False,
    "parall_eva": True,
    "min_start_epoch": 0,
    "current_max_start_epoch": 2,
    "max_start_epoch": 6,
    "expansion_end_epoch": 5,
    "batch_syn": 2,
}


def write_buffers(base: Codebase, folder: Path, timesteps: int) -> Path:
    """Write MTT's files of networks that begin as they do in training, and wander; return where."""
    place = folder / "buffers" / "CIFAR10_NO_ZCA" / base.model
    place.mkdir(parents=True)
    made = experts(base, timesteps)
    for number in range(base.files):
        file = place / f"replay_buffer_{number}.pt"
        torch.save(made[number * base.per_file : (number + 1) * base.per_file], file)
    return place


def experts(base: Codebase, timesteps: int) -> list[list[list[torch.Tensor]]]:
    """Return all trajectories."""
    model = networks.parse(base.model, channels=3, image_size=32, classes=CLASSES)
    made = []
    for seed in range(base.files * base.per_file):
        random = generator(seed, "parity")
        step = [p.detach().clone() for p in networks.build(model, generator=random).parameters()]
        steps = [step]
        for _ in range(timesteps - 1):
            step = [p + 0.02 * torch.randn(p.shape, generator=random) for p in step]
            steps.append(step)
        made.append(steps)
    return made


def run(
    base: Codebase, checkout: Path, folder: Path, arguments: Sequence[str], *, changed: bool
) -> list[np.ndarray]:
    """Run a script in `folder` and return the vectors it saw: start and target of every iteration."""
    script = checkout / base.script
    if not script.is_file():
        sys.exit(f"{checkout}: no {base.script}; expected a checkout of {base.name}")
    if changed:
        lines = script.read_text().split("\n")
        place = [line.strip() for line in lines].index(BEFORE)
        lines[place] = AFTER
        script = folder / "changed.py"
        script.write_text("\n".join(lines))
    (folder / "cfg.json").write_text(json.dumps(DATM_SETTINGS | {"model": base.model}))
    job = {
        "checkout": str(checkout.resolve()),
        "script": str(script.resolve()),
        "utilities": base.utilities,
        "classes": CLASSES,
        "folder": str(folder),
        "arguments": [*arguments, *(["--model", base.model] if base.name != "DATM" else [])],
        "record": str(folder / "seen.npz"),
    }
    (folder / "job.json").write_text(json.dumps(job))
    child = Path(__file__).with_name("loop_child.py")
    command = [sys.executable, "-W", "ignore", str(child), str(folder / "job.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        sys.exit(f"{base.name} ended with {done.returncode}: {done.stderr[-2000:]}")
    with np.load(folder / "seen.npz") as seen:
        return [seen[name] for name in seen.files]


def compare(what: str, found: list[np.ndarray], expected: list[np.ndarray], allowed: float = 0.0) -> Line:
    """Return the largest difference of any element, 0 only if all bits are the same."""
    same = len(found) == len(expected) == 2 * (ITERATIONS + 1)
    error = float("inf")
    if same:
        pairs = list(zip(found, expected, strict=True))
        if all(a.tobytes() == b.tobytes() for a, b in pairs):
            error = 0.0
        else:
            error = max(5e-324, *(float(np.abs(a.astype("f8") - b).max()) for a, b in pairs))
    distinct = len({row.tobytes() for row in found})
    return Line(f"{what}: {len(found)} vectors, {distinct} distinct", error, allowed)


def in_place_and_not(base: Codebase, source: Path, root: Path) -> Iterator[tuple[str, Path, bool]]:
    """Yield both ways of giving a bundle to a script: what, the folder to run in, whether a line changes."""
    with trajfmt.open(source) as bundle:
        for name, in_place in (("export", False), ("in-place", True)):
            place = root / name / "buffers" / "CIFAR10_NO_ZCA"
            place.mkdir(parents=True)
            export(bundle, place / base.model, to=base.target, in_place=in_place, per_file=base.per_file)
            flag = " --in-place" if in_place else ""
            yield f"traj export --to {base.target}{flag} of the {source.suffix}", root / name, in_place


def check_family(base: Codebase, checkout: Path) -> Lines:
    """Ten files: the script's own, our export, our stubs; and the discretised .mct in both ways."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        print(base.name, base.script, reference.fingerprint(checkout, base.script), flush=True)
        own = write_buffers(base, root / "own", TIMESTEPS)
        expected = run(base, checkout, root / "own", base.arguments, changed=False)
        convert(own, root / "a.mtt")
        for what, folder, changed in in_place_and_not(base, root / "a.mtt", root / "mtt"):
            found = run(base, checkout, folder, base.arguments, changed=changed)
            yield compare(f"{base.name} {base.script}, {what}", found, expected)
        convert(own, root / "a.mct")
        pair = [
            run(base, checkout, folder, base.arguments, changed=changed)
            for _, folder, changed in in_place_and_not(base, root / "a.mct", root / "mct")
        ]
        yield compare(f"{base.name} {base.script}, both ways of the .mct", *pair)


def check_authors(checkout: Path) -> Lines:
    """Pairs that their converter writes, through `traj convert`, and back for two and four knots."""
    files = ("distill_compressed.py", "exps/trajectory_compression.py")
    print("MCT", *files, reference.fingerprint(checkout, *files), flush=True)
    (converter,) = reference.load(checkout, "exps.trajectory_compression")
    yield from points.check(converter, lambda folder: write_buffers(AUTHORS, folder, 51))
    for knots in (2, 4):
        base = AUTHORS
        arguments = [*COMMON, "--max_start_epoch=30", "--expert_epochs=6.5", f"--num_interpolation={knots}"]
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            own = write_buffers(base, root / "own", 51)
            points.run(converter, own, knots)
            expected = run(base, checkout, root / "own", arguments, changed=False)
            for file in own.glob("replay_buffer_*.pt"):
                file.unlink()
            convert(own, root / "a.mct")
            runs = [
                (what, run(base, checkout, folder, arguments, changed=changed))
                for what, folder, changed in in_place_and_not(base, root / "a.mct", root / "back")
            ]
            for what, found in runs:
                line = f"MCT distill_compressed.py, {knots} knots, their pairs converted, {what}"
                yield compare(line, found, expected, 2e-7)
            yield compare(f"MCT distill_compressed.py, {knots} knots, both ways", runs[0][1], runs[1][1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in (*CODEBASES, "mct"):
        parser.add_argument(f"--{name}", type=Path, metavar="PATH", help=f"checkout of {name.upper()}")
    options = vars(parser.parse_args())
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, Python {sys.version.split()[0]}; the changed line: {AFTER}")
    lines = [check_family(CODEBASES[name], options[name]) for name in CODEBASES if options[name]]
    if options["mct"]:
        lines.append(check_authors(options["mct"]))
    failed = count = 0
    for line in itertools.chain.from_iterable(lines):
        print(line, flush=True)
        failed += line.failed
        count += not line.failed
    print(f"{failed} failed, {count} passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

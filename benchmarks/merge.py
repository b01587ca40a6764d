"""Merging 100 bundles of one trajectory each: seconds, bytes, orders, and kills.

Makes 100 convexified trajectories of the paper's ConvNet (two knots of 320,010 float32, 2.6 MB each), one
bundle for each and one bundle of all. Then it merges the 100 bundles with `traj merge`, in another order each
time, in turn with a peer that does what no merge can do without: it hashes all files, and links them.

    seconds     of the whole command in a fresh process, and of the processor
    bytes       whether the result is byte for byte the bundle of all, and whether the files of knots are the
                same files as before
    kills       kill -9 at moments spread over the whole duration: inputs are unchanged, and the bundle is
                there whole or not at all; the same command, run again, ends the work and leaves nothing else

    python benchmarks/merge.py [--bundles 100] [--runs 5] [--kills 50] [--folder DIR]

The exit code is 1 if any byte is wrong, or if the median of the merges is 3 s or more.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import trajfmt
from trajfmt.schema import Part

SHAPES = [
    *((f"features.{n}.weight", shape) for n, shape in ((0, (128, 3, 3, 3)), (3, (128, 128, 3, 3)))),
    *((f"features.{n}.bias", (128,)) for n in (0, 1, 3, 4)),
    ("features.6.weight", (128, 128, 3, 3)),
    *((f"features.{n}.bias", (128,)) for n in (6, 7)),
    ("classifier.weight", (10, 2048)),
    ("classifier.bias", (10,)),
]
HASH = "import hashlib, sys; [hashlib.file_digest(open(name, 'rb'), 'sha256') for name in sys.argv[1:]]"
MERGE = "from traj_cli.traj import main; main()"
KEPT = ("knots", "theta", "buffers")


def make(folder: Path, count: int) -> tuple[list[Path], Path]:
    """Write one bundle for each trajectory, and one of all."""
    layout = trajfmt.ParamLayout.of(SHAPES)
    paths = [folder / "parts" / f"{number}.mct" for number in range(count)]
    (folder / "parts").mkdir()
    with trajfmt.create(folder / "whole.mct", layout, encoding="convex") as whole:
        for number, path in enumerate(paths):
            steps = np.random.default_rng(number).standard_normal((4, layout.size), np.float32)
            source = trajfmt.ArrayTrajectory(steps.cumsum(0, np.float32), layout)
            whole.add(source)
            with trajfmt.create(path, layout, encoding="convex") as writer:
                writer.extensions = Part((number,), count).extensions
                writer.add(source)
    return paths, folder / "whole.mct"


def contents(path: Path) -> dict[str, str]:
    """Return the hash of every file of a bundle."""
    files = (file for file in sorted(path.rglob("*")) if file.is_file())
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def weights(path: Path) -> set[int]:
    """Return the files of weights of a bundle by their numbers in the file system."""
    return {file.stat().st_ino for name in KEPT for file in (path / name).rglob("*") if file.is_file()}


def started(paths: list[Path], out: Path) -> subprocess.Popen[bytes]:
    """Start `traj merge`."""
    words = [sys.executable, "-c", MERGE, "merge", *map(str, paths), str(out)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def timed(paths: list[Path], out: Path) -> tuple[float, float]:
    """Merge, and return the seconds of the process, and those of the processor.

    Raises:
        RuntimeError: the command failed.
    """
    begin, before = time.perf_counter(), _processor()
    process = started(paths, out)
    error = process.communicate()[1]
    if process.returncode:
        raise RuntimeError(error.decode())
    return time.perf_counter() - begin, _processor() - before


def _processor() -> float:
    """Return the seconds that child processes have computed."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def peer(paths: list[Path], out: Path) -> tuple[float, float]:
    """Hash all files and link them elsewhere, and return the seconds as `timed` does."""
    begin, before = time.perf_counter(), _processor()
    files = [str(file) for path in paths for file in path.rglob("*") if file.is_file()]
    subprocess.run([sys.executable, "-c", HASH, *files], check=True)
    subprocess.run(["cp", "-r", "--link", str(paths[0].parent), str(out)], check=True)
    return time.perf_counter() - begin, _processor() - before


def remove(path: Path) -> None:
    """Remove a folder."""
    subprocess.run(["rm", "-rf", str(path)], check=True)


def killed(paths: list[Path], out: Path, expected: dict[str, str], moments: list[float]) -> tuple[int, int]:
    """Kill a merge at some moments, and return how often it was killed and how often something was wrong."""
    before = [contents(path) for path in paths]
    kills = wrong = 0
    for moment in moments:
        process = started(paths, out)
        time.sleep(moment)
        process.kill()
        process.communicate()
        kills += process.returncode < 0
        sound = not out.exists() or contents(out) == expected
        if not out.exists():
            timed(paths, out)
        sound &= contents(out) == expected
        sound &= [name for name in os.listdir(out.parent) if name.startswith(".")] == []
        sound &= [contents(path) for path in paths] == before
        wrong += not sound
        remove(out)
    return kills, wrong


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bundles", type=int, default=100)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--folder", type=Path, help="parent of the folder that is used")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        paths, whole = make(folder, given.bundles)
        expected, before = contents(whole), set().union(*map(weights, paths))
        size = sum(file.stat().st_size for path in paths for file in path.rglob("*") if file.is_file())
        print(f"{given.bundles} bundles, {size / 1e6:.0f} MB, {given.runs} runs of each, in turn")
        ours, theirs, same, linked = [], [], 0, 0
        chance = random.Random(0)
        for _ in range(given.runs):
            chance.shuffle(paths)
            theirs.append(peer(sorted(paths), folder / "peer"))
            ours.append(timed(paths, folder / "out.mct"))
            same += contents(folder / "out.mct") == expected
            linked += weights(folder / "out.mct") == before
            remove(folder / "peer")
            remove(folder / "out.mct")
        for title, runs in (("hash and link", theirs), ("traj merge", ours)):
            seconds, used = ([run[n] for run in runs] for n in (0, 1))
            print(
                f"  {title:14} median {statistics.median(seconds):.3f} s  (min {min(seconds):.3f},"
                f" max {max(seconds):.3f}), of the processor {statistics.median(used):.3f} s"
            )
        ratio = statistics.median(a[0] / b[0] for a, b in zip(ours, theirs, strict=True))
        print(f"  merge / peer, run by run: median {ratio:.2f}")
        print(f"  {same} of {given.runs} orders give the bytes of one writer")
        print(f"  {linked} of {given.runs} results share every file of weights with the bundles")
        longest = statistics.median(run[0] for run in ours)
        moments = [longest * (n + 0.5) / given.kills for n in range(given.kills)]
        kills, wrong = killed(paths, folder / "out.mct", expected, moments)
        print(f"  {kills} kills at {given.kills} moments, {wrong} wrong")
    return int(min(same, linked) < given.runs or wrong > 0 or longest >= 3)


if __name__ == "__main__":
    sys.exit(main())

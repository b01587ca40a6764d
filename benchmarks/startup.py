"""How long the commands take to answer, above an empty interpreter.

Makes a bundle of 100 trajectories (51 timesteps, the paper's 14 tensors, narrow) and times, in turn and in
fresh processes: `python -c pass`, `traj --help`, and `traj inspect` of the bundle.

    python benchmarks/startup.py [--runs 15]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import trajfmt

WIDTH = 8


def make_bundle(path: Path) -> None:
    shapes = [("features.0.weight", (WIDTH, 3, 3, 3)), ("features.0.bias", (WIDTH,))]
    shapes += [(f"features.{i}.{kind}", (WIDTH,)) for i in (1, 4, 5, 8, 9) for kind in ("weight", "bias")]
    shapes += [("classifier.weight", (10, 16 * WIDTH)), ("classifier.bias", (10,))]
    layout = trajfmt.ParamLayout.of(shapes)
    generator = np.random.default_rng(0)
    with trajfmt.create(path, layout, encoding="convex") as writer:
        for _ in range(100):
            steps = generator.standard_normal((51, layout.size), dtype=np.float32)
            writer.add(trajfmt.ArrayTrajectory(np.cumsum(steps, axis=0, dtype=np.float32), layout))


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    traj = str(Path(sys.executable).with_name("traj"))
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "hundred.mct"
        make_bundle(bundle)
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "traj --help": [traj, "--help"],
            "traj inspect": [traj, "inspect", str(bundle)],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(options.runs):
            for name, command in commands.items():
                times[name].append(seconds(command))
        base = statistics.median(times["python -c pass"])
        for name, found in times.items():
            median = statistics.median(found)
            print(f"{name:<16} median {median:.3f} s  (min {min(found):.3f}), {median - base:+.3f} s")


if __name__ == "__main__":
    main()

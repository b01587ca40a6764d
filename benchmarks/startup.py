"""How long the commands take to answer, and how long objects take to show themselves in a notebook.

Makes a bundle of 100 trajectories (51 timesteps, the paper's 14 tensors, narrow) and times, in turn and in
fresh processes: `python -c pass`, `import numpy`, `import trajfmt`, opening the bundle and showing it in
Python, `traj --help`, and `traj inspect` of the bundle. Then it times, in this process, the text and the HTML
of bundle, trajectory and layout, and if mct can be imported, of synthetic datasets of random images.

The exit code is 1 if the median of a text, of HTML, or of `import trajfmt` above the empty interpreter is
50 ms or more.

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
from typing import Any

import numpy as np

import trajfmt

WIDTH = 8
LIMIT = 0.05
"""Seconds that an import and a text may take."""

SHOW = "import sys, trajfmt; print(trajfmt.open(sys.argv[1]))"


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


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    traj = str(Path(sys.executable).with_name("traj"))
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "hundred.mct"
        make_bundle(bundle)
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "import numpy": [sys.executable, "-c", "import numpy"],
            "import trajfmt": [sys.executable, "-c", "import trajfmt"],
            "open and show": [sys.executable, "-c", SHOW, str(bundle)],
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
        slow = statistics.median(times["import trajfmt"]) - base >= LIMIT
        with trajfmt.open(bundle) as opened:
            shown = {"bundle": opened, "trajectory": opened[0], "layout": opened.layout, **synthetic_sets()}
            for name, thing in shown.items():
                line, longest = measured(thing, options.runs)
                print(f"{name:<32} {line}")
                slow |= longest >= LIMIT
    return int(slow)


def synthetic_sets() -> dict[str, Any]:
    """Return synthetic datasets of random images, which no picture makes smaller; none without mct."""
    try:
        import torch

        from mct.results import SyntheticDataset
        from mct.results.origin import ForeignOrigin
    except ImportError:
        return {}
    found = {}
    for classes, ipc, side in ((10, 50, 32), (100, 50, 32), (200, 10, 64), (10, 10, 128)):
        origin = ForeignOrigin(
            dataset="random",
            class_names=tuple(map(str, range(classes))),
            preprocessing=trajfmt.Preprocessing(kind="zca"),
            model=trajfmt.Model(family="AlexNet", channels=3, classes=classes, image_size=side),
            layout="none",
            files=(),
            labels="classes",
            known_from={},
        )
        found[f"{classes} × {ipc} images of {side} × {side}"] = SyntheticDataset(
            images=torch.randn(classes * ipc, 3, side, side),
            labels=torch.arange(classes).repeat_interleave(ipc),
            learning_rate=0.01,
            origin=origin,
        )
    return found


def measured(thing: Any, runs: int) -> tuple[str, float]:
    """Return the median times of text and HTML with the size of the latter, and the longer one in seconds."""
    times: dict[str, list[float]] = {"repr": [], "html": []}
    for _ in range(runs):
        for name, show in (("repr", thing.__repr__), ("html", thing._repr_html_)):
            start = time.perf_counter()
            text = show()
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(found) for name, found in times.items()}
    parts = [f"{name} {1000 * median:.2f} ms" for name, median in medians.items()]
    return f"{', '.join(parts)}, {len(text.encode()):,} bytes", max(medians.values())


if __name__ == "__main__":
    sys.exit(main())

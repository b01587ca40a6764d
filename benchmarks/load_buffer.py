"""`trajfmt.torch.load_buffer` against `torch.load` on the same trajectories: what a script waits for.

Makes a buffer of the paper's ConvNet (10 trajectories x 51 timesteps x 320,010 float32, 653 MB), converts it
to a .mtt and to a .mct, and measures each way of opening it, each run in a fresh process, in turn, with a
warm page cache:

    torch.load          the buffer, as MTT's scripts do it
    load_buffer .mtt    every timestep, in place
    load_buffer .mct    the convexified path at whole timesteps

first: until the first trajectory's timestep 0 is there as one flat vector, as the scripts make it, imports
not counted. memory: anonymous memory, and pages of mapped files, above the state before opening, after that
and after 100 draws. draws: 100 times a random trajectory, its timesteps s and s + 2 as flat vectors.

    python benchmarks/load_buffer.py [--runs 5] [--folder DIR]

The exit code is 1 unless the first trajectory of a .mtt comes 10 times sooner than from torch.load, in at
most a twentieth of the memory.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from convert import child, make_buffer

from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert

MEASURE = """
import json, random, sys, time
import numpy as np
import torch
if sys.argv[1] != "torch.load":
    from trajfmt.torch import load_buffer

def memory():
    with open("/proc/self/status") as status:
        found = dict(line.split(":", 1) for line in status)
    return [int(found[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile")]

def flat(step):
    return torch.cat([p.data.to("cpu").reshape(-1) for p in step], 0)

def above(before):
    return [now - then for now, then in zip(memory(), before)]

torch.set_num_threads(1)  # or other processes' load would be measured
flat([torch.ones(2, 2)])
before = memory()
start = time.perf_counter()
buffer = torch.load(sys.argv[2]) if sys.argv[1] == "torch.load" else load_buffer(sys.argv[2])
random.seed(0)
random.shuffle(buffer)
float(flat(buffer[0][0])[0])
first = time.perf_counter() - start
opened = above(before)
rng = np.random.default_rng(0)
start = time.perf_counter()
peak = 0.0
total = 0.0
for number in range(100):
    trajectory = buffer[number % len(buffer)]
    begin = rng.integers(0, 40)
    total += float(flat(trajectory[begin])[0]) + float(flat(trajectory[begin + 2])[0])
draws = time.perf_counter() - start
print(json.dumps({"first": first, "draws": draws, "opened": opened, "drawn": above(before), "total": total}))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to put the buffers (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        buffer, full, convex = (folder / item for item in ("replay_buffer_0.pt", "a.mtt", "a.mct"))
        make_buffer(buffer, 10)
        convert(buffer, full, ConvertOptions())
        convert(buffer, convex, ConvertOptions())
        ways = {
            "torch.load": ("torch.load", buffer),
            "load_buffer .mtt": ("load_buffer", full),
            "load_buffer .mct": ("load_buffer", convex),
        }
        found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for run in range(options.runs + 1):
            for way, arguments in ways.items():
                measured = child(MEASURE, *arguments)
                if run:  # the first round warms the page cache
                    found[way].append(measured)
        size = buffer.stat().st_size / 1e6
    return report(found, size, options.runs)


def report(found: dict[str, list[dict[str, float]]], size: float, runs: int) -> int:
    """Print the table, and return 1 if what is required is not reached."""
    print(f"buffer: {size:.0f} MB, {runs} runs of each, in turn, medians")
    print(f"{'':<18}{'first':>11}{'opened: anon + file':>25}{'after 100 draws':>22}{'100 draws':>12}")
    table: dict[str, tuple[float, float]] = {}
    for way, rows in found.items():

        def middle(key: str, part: int | None = None, rows: list[dict[str, float]] = rows) -> float:
            values = [row[key] if part is None else row[key][part] for row in rows]  # type: ignore[index]
            return statistics.median(values)

        opened, drawn = ([middle(key, part) for part in (0, 1)] for key in ("opened", "drawn"))
        table[way] = middle("first"), sum(opened)
        print(
            f"{way:<18}{1e3 * middle('first'):8.1f} ms{opened[0]:14.1f} + {opened[1]:4.1f} MiB"
            f"{drawn[0]:11.1f} + {drawn[1]:4.1f} MiB{1e3 * middle('draws'):9.1f} ms"
        )
    (slow, large), (quick, small) = table["torch.load"], table["load_buffer .mtt"]
    print(
        f"load_buffer .mtt: first trajectory {slow / quick:.0f} times sooner (required: 10),"
        f" memory 1/{large / small:.0f} (required: 1/20)"
    )
    return 0 if slow / quick >= 10 and large / small >= 20 else 1


if __name__ == "__main__":
    sys.exit(main())

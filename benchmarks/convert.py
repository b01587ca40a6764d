"""Conversion against what every user of an MTT buffer does first: load it, and look at the step norms.

Makes a buffer of the paper's ConvNet (10 trajectories x 51 timesteps x 320,010 float32, 653 MB) and times,
in turn and in fresh processes with a warm page cache:

    reference   torch.load of the file, then a plain loop over all step norms
    read, hash  a plain read and SHA-256 of the same bytes, by one core
    convert     the same file to a finished .mct: betas, hashes, fsync
    with Gram   the same, and the Gram matrix of each path (--gram), which the reference does not compute

Also prints the anonymous memory that a conversion takes above an idle interpreter with torch imported, for
one and for ten trajectories in the file.

    python benchmarks/convert.py [--runs 7] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

SHAPES = [
    *[(128, 3, 3, 3), (128,), (128,), (128,)],
    *[(128, 128, 3, 3), (128,), (128,), (128,)] * 2,
    *[(10, 2048), (10,)],
]
TIMESTEPS = 51

REFERENCE = """
import json, sys, time
import torch
start = time.perf_counter()
buffer = torch.load(sys.argv[1])
for trajectory in buffer:
    for before, after in zip(trajectory, trajectory[1:]):
        for a, b in zip(before, after):
            (b - a).norm()
print(json.dumps({"seconds": time.perf_counter() - start}))
"""

HASH = """
import hashlib, json, sys, time
start = time.perf_counter()
digest = hashlib.sha256()
with open(sys.argv[1], "rb", buffering=0) as file:
    while block := file.read(2**20):
        digest.update(block)
print(json.dumps({"seconds": time.perf_counter() - start}))
"""

CONVERT = """
import json, shutil, sys, threading, time
import torch
from trajfmt.convert.options import ConvertOptions; from trajfmt.convert.run import convert

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024

idle = peak = anonymous()
done = threading.Event()
def watch():
    global peak
    while not done.wait(0.005):
        peak = max(peak, anonymous())
watcher = threading.Thread(target=watch)
if sys.argv[3] == "memory":
    watcher.start()
start = time.perf_counter()
convert(sys.argv[1], sys.argv[2], ConvertOptions(gram=sys.argv[4] == "gram"))
seconds = time.perf_counter() - start
done.set()
shutil.rmtree(sys.argv[2])
print(json.dumps({"seconds": seconds, "memory": max(peak, anonymous()) - idle}))
"""


def make_buffer(path: Path, trajectories: int) -> None:
    import torch

    generator = torch.Generator().manual_seed(0)
    buffer = []
    for _ in range(trajectories):
        step = [torch.randn(shape, generator=generator) * 0.05 for shape in SHAPES]
        trajectory = []
        for _ in range(TIMESTEPS):
            trajectory.append([tensor.clone() for tensor in step])
            step = [tensor + torch.randn(tensor.shape, generator=generator) * 0.001 for tensor in step]
        buffer.append(trajectory)
    torch.save(buffer, path)


def child(script: str, *arguments: object) -> dict[str, float]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where to put the buffers (default: a temporary folder)")
    options = parser.parse_args()
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        buffer, single, target = (Path(folder) / name for name in ("ten.pt", "one.pt", "out.mct"))
        make_buffer(buffer, 10)
        make_buffer(single, 1)
        times: dict[str, list[float]] = {
            "reference": [],
            "read, hash": [],
            "convert": [],
            "with Gram": [],
        }
        for run in range(options.runs + 1):
            reference = child(REFERENCE, buffer)["seconds"]
            hashed = child(HASH, buffer)["seconds"]
            converted = child(CONVERT, buffer, target, "time", "plain")["seconds"]
            with_gram = child(CONVERT, buffer, target, "time", "gram")["seconds"]
            if run:  # the first round warms the page cache
                for name, seconds in zip(times, (reference, hashed, converted, with_gram), strict=True):
                    times[name].append(seconds)
        memory = {
            name: child(CONVERT, path, target, "memory", "gram")["memory"]
            for name, path in (("1 trajectory", single), ("10 trajectories", buffer))
        }
        print(f"buffer: {buffer.stat().st_size / 1e6:.0f} MB, {options.runs} runs of each, in turn")
        for name, seconds in times.items():
            print(
                f"  {name:<10} median {statistics.median(seconds):.3f} s"
                f"  (min {min(seconds):.3f}, max {max(seconds):.3f})"
            )
        pairs = [("convert", "reference"), ("convert", "read, hash"), ("with Gram", "reference")]
        for which, name in pairs:
            ratios = [c / r for c, r in zip(times[which], times[name], strict=True)]
            print(
                f"  {which} / {name}, round by round: median {statistics.median(ratios):.2f}"
                f"  (min {min(ratios):.2f}, max {max(ratios):.2f})"
            )
        for name, megabytes in memory.items():
            print(f"  anonymous memory above idle, {name}: {megabytes:.1f} MiB")


if __name__ == "__main__":
    main()

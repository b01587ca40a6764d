"""What reading a bundle at a web address moves and takes, against the same bundle on this disk.

Makes a bundle of 100 trajectories (51 timesteps of the paper's ConvNet: 14 tensors), serves it from another
process of this machine, and counts the bytes that the server sends. `plain` downloads the same files with
urllib, hashes nothing and keeps nothing.

    python benchmarks/remote.py [--width 128] [--trajectories 100]
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

import trajfmt
from trajfmt.bundle.report import summarize


def make_bundle(path: Path, width: int, trajectories: int) -> None:
    shapes = [("features.0.weight", (width, 3, 3, 3))]
    shapes += [(f"features.{4 * block}.weight", (width, width, 3, 3)) for block in (1, 2)]
    shapes += [(f"features.{4 * block}.bias", (width,)) for block in range(3)]
    shapes += [(f"features.{4 * b + 1}.{kind}", (width,)) for b in range(3) for kind in ("weight", "bias")]
    shapes += [("classifier.weight", (10, 16 * width)), ("classifier.bias", (10,))]
    layout = trajfmt.ParamLayout.of(shapes)
    generator = np.random.default_rng(0)
    progress = np.sqrt(np.arange(51, dtype=np.float32) / 50)[:, None]
    with trajfmt.create(path, layout, encoding="convex") as writer:
        for _ in range(trajectories):
            start, way = generator.standard_normal((2, layout.size), dtype=np.float32)
            writer.add(trajfmt.ArrayTrajectory(start + progress * way, layout))


class Handler(SimpleHTTPRequestHandler):
    """Serves files, and logs the bytes of each."""

    log: Any = None

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Send a file."""
        count = 0
        while piece := source.read(2**18):
            outputfile.write(piece)
            count += len(piece)
        print(count, self.path, file=self.log, flush=True)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def serve(folder: str, log: str) -> None:
    with open(log, "w") as file:
        Handler.log = file
        with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
            print(server.server_port, flush=True)
            server.serve_forever()


def report(title: str, work: Callable[[], object], log: Path) -> None:
    before = len(log.read_text().splitlines())
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    time.sleep(0.1)  # the server writes its line after the last byte
    lines = log.read_text().splitlines()[before:]
    moved = sum(int(line.split()[0]) for line in lines)
    print(f"{title:<44}{moved:>14,} bytes {len(lines):>4} files {1000 * seconds:>10,.1f} ms")


def read(place: str | Path, numbers: range | None, *, verify: bool = False) -> None:
    with trajfmt.open(place, verify=verify) as bundle:
        for number in numbers or ():
            bundle[number].at(25.5)


def plain(url: str, folder: Path) -> None:
    for path in sorted(folder.rglob("*.*")):
        with urllib.request.urlopen(f"{url}/{path.relative_to(folder.parent).as_posix()}") as answer:
            while answer.read(2**20):
                pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--trajectories", type=int, default=100)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(*options.serve)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder, log = Path(scratch) / "hundred.mct", Path(scratch) / "log"
        os.environ["TRAJFMT_CACHE"] = str(Path(scratch) / "cache")
        make_bundle(folder, options.width, options.trajectories)
        command = [sys.executable, __file__, "--serve", scratch, str(log)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{int(server.stdout.readline())}"
            try:
                compare(f"{url}/{folder.name}", url, folder, log)
            finally:
                server.terminate()


def compare(address: str, url: str, folder: Path, log: Path) -> None:
    facts = summarize(folder)
    every = range(facts.trajectories)
    print(f"{facts.trajectories} trajectories of 51 timesteps, {facts.parameters:,} parameters:")
    print(json.dumps(facts.storage.parts))
    inspect = [sys.executable, "-m", "traj_cli.traj", "inspect", address]
    local = [*inspect[:-1], str(folder)]
    quiet = {"check": True, "stdout": subprocess.DEVNULL}
    report("traj inspect PATH", lambda: subprocess.run(local, **quiet), log)
    report("traj inspect ADDRESS", lambda: subprocess.run(inspect, **quiet), log)
    report("open(path)", lambda: read(folder, None), log)
    report("open(address), first in the process", lambda: read(address, None), log)
    report("open(address)", lambda: read(address, None), log)
    report("open(path)[3].at(25.5)", lambda: read(folder, range(3, 4)), log)
    report("open(address)[3].at(25.5)", lambda: read(address, range(3, 4)), log)
    report("open(address)[3].at(25.5), in the cache", lambda: read(address, range(3, 4)), log)
    report("all of them, path", lambda: read(folder, every), log)
    report("all of them, address", lambda: read(address, every), log)
    report("all of them, in the cache", lambda: read(address, every), log)
    report("all of them, in the cache, verify=True", lambda: read(address, every, verify=True), log)
    report("plain download of all files", lambda: plain(url, folder), log)


if __name__ == "__main__":
    main()

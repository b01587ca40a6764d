"""What reading a bundle at a web address moves and takes, against the same bundle on this disk.

Makes bundles of the paper's ConvNet (51 timesteps, 14 tensors): a `.mct` of 100 trajectories, and a `.mtt` of
one for each codec. Serves them from another process of this machine, and counts the requests and the bytes
that the server sends. `plain` downloads the same files with urllib, hashes nothing and keeps nothing.

    python benchmarks/remote.py [--width 128] [--trajectories 100] [--rate 125]

`--rate` limits the server to so many MB/s for each connection. 125 is a gigabit; 0 is no limit, so that
hashing and the disk count as much as the network.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import statistics
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
from trajfmt.bundle.validation import validate


def layout_of(width: int) -> trajfmt.ParamLayout:
    shapes = [("features.0.weight", (width, 3, 3, 3))]
    shapes += [(f"features.{4 * block}.weight", (width, width, 3, 3)) for block in (1, 2)]
    shapes += [(f"features.{4 * block}.bias", (width,)) for block in range(3)]
    shapes += [(f"features.{4 * b + 1}.{kind}", (width,)) for b in range(3) for kind in ("weight", "bias")]
    shapes += [("classifier.weight", (10, 16 * width)), ("classifier.bias", (10,))]
    return trajfmt.ParamLayout.of(shapes)


def make_bundle(path: Path, width: int, trajectories: int, **options: Any) -> None:
    layout = layout_of(width)
    generator = np.random.default_rng(0)
    progress = np.sqrt(np.arange(51, dtype=np.float32) / 50)[:, None]
    with trajfmt.create(path, layout, **({"encoding": "convex"} | options)) as writer:
        for _ in range(trajectories):
            start, way = generator.standard_normal((2, layout.size), dtype=np.float32)
            writer.add(trajfmt.ArrayTrajectory(start + progress * way, layout))


class Handler(SimpleHTTPRequestHandler):
    """Serves files and parts of files, not faster than a rate, and logs the bytes of each."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # as real servers do: the end of a small answer would wait for 40 ms
    log: Any = None
    rate = 0.0

    def do_GET(self) -> None:
        """Answer with a file, or with the part of it that is asked for."""
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        size = path.stat().st_size
        first, last = 0, size - 1
        if span := self.headers.get("Range"):
            low, _, high = span.removeprefix("bytes=").partition("-")
            first, last = int(low), min(int(high or last), last)
        self.send_response(206 if span else 200)
        self.send_header("Content-Length", str(last + 1 - first))
        if span:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        start, count = time.perf_counter(), 0
        with path.open("rb") as source:
            source.seek(first)
            while piece := source.read(min(2**18, last + 1 - first - count)):
                self.wfile.write(piece)
                count += len(piece)
                if self.rate:
                    time.sleep(max(0.0, start + count / self.rate - time.perf_counter()))
        print(count, self.path, file=self.log, flush=True)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def serve(folder: str, log: str, rate: str) -> None:
    with open(log, "w") as file:
        Handler.log, Handler.rate = file, float(rate) * 1e6
        with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
            print(server.server_port, flush=True)
            server.serve_forever()


def report(title: str, work: Callable[[], object], log: Path, useful: int = 0) -> None:
    """Print what some work moves and takes, and how much that is of `useful` bytes, without the manifest."""
    time.sleep(0.1)  # the server writes its line after the last byte
    before = len(log.read_text().splitlines())
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    time.sleep(0.1)
    lines = [line.split() for line in log.read_text().splitlines()[before:]]
    moved = sum(int(count) for count, _ in lines)
    rest = sum(int(count) for count, path in lines if not path.endswith("manifest.json"))
    ratio = f" {rest / useful:>7.3f} of the data" if useful else ""
    print(f"{title:<44}{moved:>14,} bytes {len(lines):>4} requests {1000 * seconds:>10,.1f} ms{ratio}")


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
    parser.add_argument("--rate", type=float, default=125.0)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(*options.serve)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder, log = Path(scratch) / "hundred.mct", Path(scratch) / "log"
        os.environ["TRAJFMT_CACHE"] = str(Path(scratch) / "cache")
        make_bundle(folder, options.width, options.trajectories)
        for codec in ("none", "zstd", "archive"):
            make_bundle(Path(scratch) / f"{codec}.mtt", options.width, 1, encoding="full", codec=codec)
        command = [sys.executable, __file__, "--serve", scratch, str(log), str(options.rate)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{int(server.stdout.readline())}"
            try:
                compare(f"{url}/{folder.name}", folder, log)
                parts(url, log)
                against_plain(url, folder)
            finally:
                server.terminate()


def compare(address: str, folder: Path, log: Path) -> None:
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
    report("validate(path)", lambda: validate(folder), log)


def parts(url: str, log: Path) -> None:
    """Read one timestep, one knot and one layer, each with an empty cache."""
    for name in ("hundred.mct", "none.mtt", "zstd.mtt", "archive.mtt"):
        for what in ("knot", "layer"):
            shutil.rmtree(os.environ["TRAJFMT_CACHE"], ignore_errors=True)
            part(f"{url}/{name}", name, what, log)


def part(address: str, name: str, what: str, log: Path) -> None:
    def work() -> None:
        with trajfmt.open(address) as bundle:
            trajectory: Any = bundle[0]
            if what == "knot":
                trajectory.knot(1)
            elif name.endswith(".mct"):
                trajectory.knot_piece(1, *span)
            else:
                trajectory.pieces(1, *span)

    with trajfmt.open(address) as bundle:
        layout, entry = bundle.layout, bundle.manifest.trajectories[0]
        number = [parameter.name for parameter in layout.parameters].index("features.4.weight")
        span = layout.offsets[number], layout.offsets[number + 1]
        useful = layout.nbytes if what == "knot" else 4 * (span[1] - span[0])
        chunks = getattr(entry, "chunks", None)
        if chunks is not None and what == "knot":
            useful = sum(chunks.sizes[: 2 if bundle.manifest.codec.keyframe else 1])  # type: ignore[union-attr]
    report(f"one {what} of {name}", work, log, useful)


def against_plain(url: str, folder: Path) -> None:
    """Compare the time of reading all trajectories from an address with that of a plain download, in turn."""
    numbers = range(len(list(folder.glob("knots/*"))))
    ours, theirs = [], []
    for _ in range(5):
        start = time.perf_counter()
        plain(url, folder)
        theirs.append(time.perf_counter() - start)
        shutil.rmtree(os.environ["TRAJFMT_CACHE"], ignore_errors=True)
        start = time.perf_counter()
        read(f"{url}/{folder.name}", numbers)
        ours.append(time.perf_counter() - start)
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    print(
        f"all of them, address: {1000 * statistics.median(ours):,.0f} ms; plain download of the same files:"
        f" {1000 * statistics.median(theirs):,.0f} ms; median of 5 ratios {ratio:.2f}"
    )


if __name__ == "__main__":
    main()

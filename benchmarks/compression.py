"""What the codecs of full bundles cost and save on real weights, beside ZipNN and blosc2 where installed.

Takes the first trajectory of anything that `traj convert` reads, and prints for each codec:

    size      bytes of the bundle, relative to those of the weights
    encode    chunks to frames in memory, on one core
    write     all timesteps from memory to an HDF5 file, on one core
    on disk   the same until the file is durable, with all waiting
    read      all timesteps of the bundle in order, on one core, and in one process on every core

in GB of weights a second, and how long `at(t)` takes on one core, by the distance of t from its keyframe, in
units of the time that a timestep takes when all are read in order. The peers compress and decompress each
timestep in memory, with threads of their own on all cores. Times on one core are those of the processor, and
all times are the best of several runs in turn, because other work on a machine only adds to them.

    python benchmarks/compression.py PATH [--runs 7] [--folder DIR]
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import trajfmt
from trajfmt.codecs.codec import unsigned
from trajfmt.codecs.table import CODECS
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert
from trajfmt.encodings.full import writer
from trajfmt.encodings.full.encoder import codec_for

TIMED = "timed.h5"
WAITS = ("on disk", "read*")
"""What waits for a disk or for other processes."""


@dataclass
class Case:
    """A codec or a peer: how large the weights become, and what is timed."""

    size: int
    timed: dict[str, Callable[[], object]]
    """What to time, by its name. Names that end in `*` run on all cores."""

    copies: int = 1
    """How often `read*` reads the weights."""

    best: dict[str, float] = field(default_factory=dict)
    """The least time of each in seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where to put the bundles (default: a temporary folder)")
    options = parser.parse_args()
    cores = os.sched_getaffinity(0)
    processes = multiprocessing.get_context("spawn").Pool(len(cores))
    with tempfile.TemporaryDirectory(dir=options.folder) as name, processes as pool:
        folder = Path(name)
        convert(options.path, folder / "source.mtt", ConvertOptions())
        with trajfmt.open(folder / "source.mtt") as bundle:
            theta, layout = np.stack(list(bundle[0].rows())), bundle[0].layout
        cases = {codec: ours(codec, theta, layout, folder, pool) for codec in CODECS} | dict(peers(theta))
        print(
            f"{len(theta)} timesteps of {layout.size:,} {layout.dtype}, {theta.nbytes / 1e6:.0f} MB", end=", "
        )
        print(f"best of {options.runs} runs in turn, {len(cores)} cores")
        for _ in range(options.runs):
            for case in cases.values():
                for timed, function in case.timed.items():
                    os.sched_setaffinity(0, cores if timed.endswith("*") else {min(cores)})
                    (folder / TIMED).unlink(missing_ok=True)
                    clock = time.perf_counter if timed in WAITS else time.process_time
                    start = clock()
                    function()
                    seconds = clock() - start
                    case.best[timed] = min(seconds, case.best.get(timed, seconds))
        os.sched_setaffinity(0, cores)
        report(cases, theta)


def ours(codec: str, theta: Any, layout: trajfmt.ParamLayout, folder: Path, pool: Any) -> Case:
    """Write a bundle with a codec, and return what it has to be timed at."""
    cores = len(os.sched_getaffinity(0))
    source, path, settings = trajfmt.ArrayTrajectory(theta, layout), folder / codec, codec_for(codec, layout)
    with trajfmt.create(path, layout, encoding="full", codec=codec) as created:
        created.add(source)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    trajectory: Any = trajfmt.open(path)[0]
    timed: dict[str, Callable[[], object]] = {
        "write": lambda: writer.write(folder / TIMED, source, layout, settings),
        "on disk": lambda: writer.write(folder / TIMED, source, layout, settings),
        "read": lambda: read(path),
        "read*": lambda: pool.map(read, [path] * cores, chunksize=1),
    }
    encode = CODECS[codec].encode
    if encode is not None:
        chunk, keyframe = settings.chunk or 1, settings.keyframe or 1
        bits = theta.view(unsigned(theta.dtype))

        def encode_all() -> None:
            for t in range(len(bits)):
                for start in range(0, layout.size, chunk):
                    back = range(1, min(t % keyframe, 2) + 1)
                    part = slice(start, start + chunk)
                    encode(bits[t, part], [bits[t - i, part] for i in back])

        timed["encode"] = encode_all
        for t in range(len(theta)):
            timed[f"at {t % keyframe} {t}"] = lambda t=t: trajectory.at(t)  # type: ignore[misc]
    return Case(size, timed, cores)


def read(path: Path) -> None:
    """Read all timesteps of a bundle in order."""
    with trajfmt.open(path) as bundle:
        for row in bundle[0].rows():  # type: ignore[union-attr]
            int(row.view("u1")[-1])


def peers(theta: Any) -> Iterator[tuple[str, Case]]:
    """Yield what ZipNN and blosc2 do with each timestep, if they are installed."""
    try:
        blosc2: Any = importlib.import_module("blosc2")
    except ImportError:
        print("blosc2 is not installed")
    else:
        wanted = {"codec": blosc2.Codec.ZSTD, "clevel": 1, "filters": [blosc2.Filter.SHUFFLE]}

        def shrink(row: Any) -> Any:
            return blosc2.compress2(row, typesize=row.itemsize, nthreads=1, **wanted)

        packed = [shrink(row) for row in theta]
        into = np.empty_like(theta[0])
        timed: dict[str, Callable[[], object]] = {
            "encode": lambda: [shrink(row) for row in theta],
            "read": lambda: [blosc2.decompress2(frame, dst=into, nthreads=1) for frame in packed],
            "read*": lambda: [
                blosc2.decompress2(frame, dst=into, nthreads=os.cpu_count()) for frame in packed
            ],
        }
        yield "blosc2", Case(sum(map(len, packed)), timed)
    try:
        zipnn: Any = importlib.import_module("zipnn")
    except ImportError:
        print("ZipNN is not installed")
    else:
        one, many = (
            zipnn.ZipNN(input_format="byte", bytearray_dtype=theta.dtype.name, threads=threads)
            for threads in (1, os.cpu_count())
        )
        frames = [one.compress(row.tobytes()) for row in theta]
        assert bytes(one.decompress(frames[-1])) == theta[-1].tobytes()
        timed = {
            "encode": lambda: [one.compress(row.tobytes()) for row in theta],
            "read": lambda: [one.decompress(frame) for frame in frames],
            "read*": lambda: [many.decompress(frame) for frame in frames],
        }
        yield "ZipNN", Case(sum(map(len, frames)), timed)


def report(cases: dict[str, Case], theta: Any) -> None:
    """Print the table."""
    print(f"{'':<10}{'size':>8}{'encode':>9}{'write':>9}{'on disk':>9}{'read, one':>11}{'read, all':>11}")
    for name, case in cases.items():
        speeds = [
            f"{times * theta.nbytes / case.best[key] / 1e9:.2f}" if key in case.best else "-"
            for key, times in [
                *((key, 1) for key in ("encode", "write", "on disk", "read")),
                ("read*", case.copies),
            ]
        ]
        print("{:<10}{:>8.2%}{:>9}{:>9}{:>9}{:>11}{:>11}".format(name, case.size / theta.nbytes, *speeds))
    for name, case in cases.items():
        found: dict[int, list[float]] = {}
        for key, seconds in case.best.items():
            if key.startswith("at "):
                found.setdefault(int(key.split()[1]), []).append(seconds)
        if found:
            unit = case.best["read"] / len(theta)
            print(f"{name}: a timestep takes {unit * 1e3:.2f} ms in order, and alone, by distance:")
            for distance, times in sorted(found.items()):
                mean = sum(times) / len(times)
                print(f"  {distance:>2}: {mean * 1e3:6.2f} ms, {mean / unit:5.2f} of these")


if __name__ == "__main__":
    main()

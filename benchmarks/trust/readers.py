"""Many readers, of the files and of their address, while a writer appends.

Half of the readers open the files, half the address of a web server on this machine. All of them open, read
parts at random and compare them, again and again; some keep a bundle open over several appends. The writer
appends trajectories to a `.mct` and a `.mtt` in turn. Each reader must see a published prefix: at least what
was published before it opened the bundle, at most what was begun before it had opened it, and every value as
it was written. Nothing may fail.

    python benchmarks/trust/readers.py [--readers 64] [--appends 200] [--seconds S] [--seed 0] [--plant NAME]

Needs Linux. The seed decides what is written and read. It exits with 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import gc
import mmap
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import h5py  # noqa: E402, F401
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

import trajfmt  # noqa: E402
from benchmarks.trust.plants import PLANTS  # noqa: E402
from benchmarks.trust.processes import die_with_parent  # noqa: E402
from benchmarks.trust.web import Web  # noqa: E402

BUNDLES = {"a.mct": {"encoding": "convex", "knots": (2,)}, "b.mtt": {"encoding": "full", "codec": "zstd"}}
LAYOUT = trajfmt.ParamLayout.of([("weight", (40, 20)), ("bias", (20,))])
LAST = 4
LIMIT = 60.0
"""Seconds in which a process must end after the last append."""

BEGUN, PUBLISHED, STOP, OPENED, READ, FAILED = range(6)


class Shared:
    """Numbers that all processes share; each has a row of its own, from row 2 on.

    Rows 0 and 1 belong to the bundles: how many of their trajectories were begun, and are published.
    """

    def __init__(self, rows: int) -> None:
        self.table = np.frombuffer(mmap.mmap(-1, rows * 64), np.int64).reshape(rows, 8)

    def total(self, column: int) -> int:
        """Return the sum over the readers."""
        return int(self.table[2:, column].sum())


def rows(seed: int, bundle: int, number: int) -> NDArray[np.float32]:
    """Return the timesteps of a trajectory."""
    steps = np.random.default_rng([seed, bundle, number]).standard_normal((LAST + 1, LAYOUT.size))
    return np.cumsum(steps.astype(np.float32), axis=0)


def write(folder: Path, seed: int, shared: Shared, first: int, stop: int, end: float) -> None:
    """Write trajectories into both bundles, one by one."""
    for number in range(first, stop):
        for bundle, (name, options) in enumerate(BUNDLES.items()):
            if time.monotonic() > end:
                return
            shared.table[bundle, BEGUN] = number + 1
            path = folder / name
            writer = trajfmt.append(path) if number else trajfmt.create(path, LAYOUT, **options)
            with writer:
                writer.add(trajfmt.ArrayTrajectory(rows(seed, bundle, number), LAYOUT))
            shared.table[bundle, PUBLISHED] = number + 1


class Reader:
    """One reader, in a process of its own.

    Args:
        number: its number.
        places: the places of the bundles.
        seed: what the bundles are made of.
        shared: the numbers of all.
    """

    def __init__(self, number: int, places: list[str], seed: int, shared: Shared) -> None:
        self._places, self._seed, self._shared = places, seed, shared
        self._chance = random.Random(f"{seed} {number}")
        self._mine = shared.table[2 + number]
        self._seen = [0] * len(places)

    def run(self) -> None:
        """Read until it is told to stop, and a last time after that."""
        last = False
        while not last:
            last = bool(self._shared.table[0, STOP])
            self._round(self._chance.randrange(len(self._places)))

    def _round(self, bundle: int) -> None:
        """Open a bundle, read from it for a while, and compare."""
        least = max(int(self._shared.table[bundle, PUBLISHED]), self._seen[bundle])
        with trajfmt.open(
            self._places[bundle],
            verify=self._chance.choice((False, False, "read")),
            backend=self._chance.choice(("mmap", "pread")),
        ) as opened:
            most = int(self._shared.table[bundle, BEGUN])
            if not least <= len(opened) <= most:
                raise AssertionError(f"sees {len(opened)} trajectories, and not {least} to {most}")
            self._seen[bundle] = len(opened)
            self._mine[OPENED] += 1
            for _ in range(self._chance.choice((1, 3, 20))):
                self._read(opened, bundle)

    def _read(self, opened: trajfmt.Bundle, bundle: int) -> None:
        number = self._chance.randrange(len(opened))
        trajectory = opened[number]
        k = self._chance.randrange(len(trajectory.knots))
        expected = rows(self._seed, bundle, number)[trajectory.knots[k]]
        start = self._chance.randrange(LAYOUT.size)
        found = [(trajectory.knot(k), expected)]
        found += [(trajectory.pieces(trajectory.knots[k], start, LAYOUT.size), expected[start:])]
        for got, right in found:
            self._mine[READ] += 1
            if got.tobytes() != right.tobytes():
                raise AssertionError(f"other values at trajectory {number}, knot {k}")


def forked(work: object, output: Path) -> int:
    """Do something in a fork, whose output goes to a file, and return its process id."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        die_with_parent()
        written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(written, 1)
        os.dup2(written, 2)
        work()  # type: ignore[operator]
        code = 0
    except BaseException:
        with output.open("a") as file:
            file.write(traceback.format_exc())
    finally:
        os._exit(code)


def ended(processes: list[int], limit: float) -> tuple[dict[int, int], int]:
    """Wait for processes and kill those that hang; return the exit code of each, and the largest memory."""
    codes: dict[int, int] = {}
    memory = 0
    end = time.monotonic() + limit
    while len(codes) < len(processes):
        for process in processes:
            if process in codes:
                continue
            found, status, used = os.wait4(process, os.WNOHANG)
            if found:
                codes[process] = os.waitstatus_to_exitcode(status)
                memory = max(memory, used.ru_maxrss * 1024)
            elif time.monotonic() > end:
                os.kill(process, 9)
                end += 1  # the others may still end
        time.sleep(0.01)
    return codes, memory


def campaign(readers: int, appends: int, seconds: float, seed: int, plant: str, folder: Path) -> int:
    """Let all of them live, print what was wrong and a summary, and return the number of failures."""
    import aiohttp  # noqa: F401
    import fsspec.implementations.http  # noqa: F401

    os.environ["TRAJFMT_CACHE"] = str(folder / "cache")
    served = folder / "served"
    served.mkdir()
    shared = Shared(2 + readers)
    write(served, seed, shared, 0, 1, float("inf"))
    shutil.rmtree(folder / "cache", ignore_errors=True)
    if plant:
        PLANTS[plant]()
    gc.collect()
    gc.freeze()
    web = Web(folder)
    local = [str(served / name) for name in BUNDLES]
    remote = [web.address("well", f"served/{name}") for name in BUNDLES]
    start = time.monotonic()
    try:
        processes = [
            forked(Reader(n, remote if n % 2 else local, seed, shared).run, folder / f"reader-{n}")
            for n in range(readers)
        ]
        end = time.monotonic() + seconds
        writer = forked(lambda: write(served, seed, shared, 1, appends, end), folder / "writer")
        written, most = ended([writer], min(seconds, 3600) + LIMIT)
        shared.table[0, STOP] = 1
        codes, memory = ended(processes, LIMIT)
    finally:
        web.close()
    wrong = 0
    for name, code in (
        ("writer", written[writer]),
        *((f"reader-{n}", codes[p]) for n, p in enumerate(processes)),
    ):
        said = (folder / name).read_text() if (folder / name).exists() else ""
        if code or said:
            wrong += 1
            how = "hangs" if code == -9 else f"ended with {code}"
            last = said.strip().splitlines()[-1:] or [""]
            print(f"{name} {how}: {last[0]}")
    if wrong:
        again = f"--readers {readers} --appends {appends} --seed {seed}"
        print(f"  replay: python benchmarks/trust/readers.py {again}")
    spent = time.monotonic() - start
    published = int(shared.table[:2, PUBLISHED].sum())
    print(
        f"{readers} readers, {published} appends, {shared.total(OPENED)} bundles opened, {shared.total(READ)}"
        f" parts compared, {wrong} failures; {spent:.0f} s, {shared.total(READ) / spent:.0f} parts a second,"
        f" at most {max(memory, most) / 1e6:.0f} MB"
    )
    return wrong


def main() -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--readers", type=int, default=64, help="number of processes that read")
    parser.add_argument("--appends", type=int, default=200, help="trajectories of each bundle in the end")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no append after these")
    parser.add_argument("--seed", type=int, default=0, help="decides what is written and read")
    parser.add_argument("--plant", default="", help="a fault to plant in the library, from plants.py")
    options = parser.parse_args()
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as name:
        wrong = campaign(
            options.readers,
            options.appends,
            options.seconds,
            options.seed,
            options.plant,
            Path(name).resolve(),
        )
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()

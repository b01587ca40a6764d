"""Seeded histories of writers, readers, kills, locks and a bad server.

Each seed gives one history of two small bundles. Writers (`traj convert`, `--append`, `trajfmt.create` and
`append`, `traj export`, `traj extract`) are forked processes that run undisturbed, are killed at a system
call or at a moment, or stop at a system call while others go on. Readers open, read parts and validate:
files, or an address of a server that also drops connections, answers with errors, or sends truncated, changed
or older files. Some keep a bundle open over appends, or while it is removed and made anew.

After each step: whatever was published is there, byte for byte as an undisturbed run makes it; each reader
saw one published state with the right values, or an error that the documents name; no traceback, no signal
but ours, one line for each error; no bytes get their final name before they are durable. At the end all that
was interrupted is run again and must give the same bytes, and nothing else may be left.

    python benchmarks/trust/histories.py [--count 10000] [--seconds S] [--seed 0] [--show] [--plant NAME]

Needs gcc and Linux. A failure prints its seed and its steps, and `--seed N --count 1` replays it. System
calls of threads and kills at moments may fall otherwise then. It exits with 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.trust.processes import compiled, die_with_parent, environment  # noqa: E402

ARMED = "TRAJFMT_TRUST"
"""Set in the process that has the library preloaded."""


def prepared() -> None:
    """Import what the forks need, and shorten the pauses between the tries of a transfer."""
    import aiohttp  # noqa: F401
    import fsspec.implementations.http  # noqa: F401
    import torch

    from trajfmt.storage import retries

    torch.set_num_threads(1)
    retries.PAUSES = (0.001, 0.002, 0.004)  # type: ignore[misc]


def campaign(first: int, count: int, seconds: float, folder: Path, plant: str, *, show: bool) -> int:
    """Live through histories, print what was wrong and a summary, and return the number of failures."""
    from benchmarks.trust.history import History
    from benchmarks.trust.model import Model, ViolationError
    from benchmarks.trust.plants import PLANTS
    from benchmarks.trust.web import Web
    from cli.traj import main as traj

    root, output = folder / "served", folder / "output"
    root.mkdir()
    output.mkdir()
    web = Web(root)
    total: Counter[str] = Counter()
    failures: list[int] = []
    memory, start = 0, time.perf_counter()
    try:
        prepared()
        model = Model(folder / "model", traj)
        model.warm()
        if plant:
            PLANTS[plant]()
        gc.collect()
        gc.freeze()  # or each fork would copy everything when it collects
        start = time.perf_counter()
        for seed in range(first, first + count):
            if time.perf_counter() - start > seconds:
                break
            history = History(seed, root / f"h{seed}", model, web, output)
            try:
                history.run()
            except ViolationError as exc:
                failures.append(seed)
                replay = f"python benchmarks/trust/histories.py --seed {seed} --count 1"
                print(f"seed {seed}: {exc}\n{history.told()}\n  replay: {replay}", flush=True)
            else:
                if show:
                    print(f"seed {seed}\n{history.told()}", flush=True)
            total += history.count
            total["histories"] += 1
            memory = max(memory, history.memory)
            shutil.rmtree(history.folder)
            if total["histories"] % 1000 == 0:
                rate = total["histories"] / (time.perf_counter() - start)
                print(
                    f"{total['histories']} histories, {len(failures)} failures, {rate:.1f} a second",
                    flush=True,
                )
    finally:
        web.close()
    spent = time.perf_counter() - start
    print(
        f"{total['histories']} histories, {total['operations']} operations, {total['kills']} kills,"
        f" {total['pauses']} pauses, {len(failures)} failures; {spent:.0f} s,"
        f" {total['histories'] / spent:.1f} a second, at most {memory / 1e6:.0f} MB"
    )
    return len(failures)


def main() -> None:
    """Run the campaign in a process that has the library preloaded."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000, help="number of histories")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no history after these")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--show", action="store_true", help="print the steps of every history")
    parser.add_argument("--plant", default="", help="a fault to plant in the library, from plants.py")
    options = parser.parse_args()
    if folder := os.environ.get(ARMED):
        die_with_parent()
        wrong = campaign(
            options.seed,
            options.count,
            options.seconds,
            Path(folder),
            options.plant,
            show=options.show,
        )
        sys.exit(wrong > 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing stays
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as name:
        own = Path(name).resolve()
        armed = {**environment(compiled(own)), ARMED: str(own)}
        sys.exit(os.spawnve(os.P_WAIT, sys.executable, [sys.executable, *sys.argv], armed))


if __name__ == "__main__":
    main()

"""Kill -9 at random moments of what writes: conversions, appends, exports, the cache, and the saves of a run.

Each command is killed at moments of its whole duration, until it was killed so many times. After each kill,
what was there is unchanged or complete, and the same command, run again, gives the bytes of an undisturbed
run, or says that they are there. `faults.py` does the same at each system call.

    python benchmarks/trust/kills.py [--kills 1000] [--seconds S] [--seed 0] [--commands NAME,NAME]

Needs gcc and Linux. The seed decides the moments. It exits with 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.trust.commands import COMMANDS, Command, make_material  # noqa: E402
from benchmarks.trust.faults import NOTHING, Server, Tally, Trials  # noqa: E402
from benchmarks.trust.web import Web  # noqa: E402

NAMES = ("convert .mct", "convert zstd", "append", "merge", "export", "cache", "save")


def campaign(kills: int, seconds: float, seed: int, names: set[str], folder: Path) -> Tally:
    """Kill each command its share of the times, and print a line for each and for all."""
    tally = Tally()
    make_material(folder / "material")
    os.environ["TRAJFMT_CACHE"] = str(folder / "work" / "cache")
    web = Web(folder / "material")
    cache = Command("cache", ("validate", web.address("well", "b.mct")), (), "cache", grows=True, warm=False)
    commands = [each for each in (*COMMANDS, cache) if each.name in (names or NAMES)]
    start = time.perf_counter()
    total = memory = 0
    server = Server(folder, "web", *["torch"] * any(command.torch for command in commands))
    try:
        for number, command in enumerate(commands):
            trials = Trials(server, command, folder / "work", folder / "material", tally)
            chance = random.Random(f"{seed} {command.name}")
            began, wrong, tried, killed = time.perf_counter(), len(tally.wrong), 0, 0
            share = kills * (number + 1) // len(commands) - kills * number // len(commands)
            while killed < share and time.perf_counter() - began < seconds / len(commands):
                moment = chance.uniform(0, trials.seconds)
                done = trials.trial(
                    "kills", f"seed {seed}, kill {tried} at {moment:.4f} s", NOTHING, kill_after=moment
                )
                tried += 1
                killed += done == -9
                memory = max(memory, trials.memory)
            total += killed
            print(
                f"{command.name:14} {killed:5} kills in {tried} runs, {len(tally.wrong) - wrong} wrong,"
                f" {time.perf_counter() - began:.0f} s",
                flush=True,
            )
    finally:
        server.close()
        web.close()
    spent = time.perf_counter() - start
    print(
        f"{total} kills, {len(tally.wrong)} wrong; {spent:.0f} s, {total / spent:.1f} a second,"
        f" at most {memory / 1e6:.0f} MB"
    )
    return tally


def main() -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=1000, help="number of kills")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="kill nothing after these")
    parser.add_argument("--seed", type=int, default=0, help="decides the moments")
    parser.add_argument("--commands", default="", help=f"names of commands, of {', '.join(NAMES)}")
    options = parser.parse_args()
    names = set(filter(None, options.commands.split(",")))
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        tally = campaign(options.kills, options.seconds, options.seed, names, Path(folder).resolve())
    sys.exit(bool(tally.wrong))


if __name__ == "__main__":
    main()

"""An array of jobs, one for each expert, many of which are killed and queued again, against one process.

    python benchmarks/experts_array.py                            # 100 jobs, 50 kills, into a .mct bundle
    python benchmarks/experts_array.py --out-name a.mtt --jobs 20 --kills 10
    python benchmarks/experts_array.py --out-name buffers --jobs 12 --kills 6 --terminations 3

Every job is a process of its own that runs `mct experts --only N`. It is forked from this program,
so that torch is imported once. Some get SIGKILL at a random moment, some SIGTERM, as at a preemption; these
must end with exit code 130. All are queued again, a few at a time. At the end, `mct experts` collects the
parts, and `trajfmt.merge` merges them. Both must have the bytes of what one process of `mct experts` wrote.
The exit code is 1 if they do not.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

RECIPE = ["--dataset", "digits", "--model", "ConvNetD2W4", "--augment", "none", "--batch-size", "400",
          "--momentum", "0.5", "--device", "cpu", "--save-minutes", "0"]  # fmt: skip


def main() -> int:
    """Run the array, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--terminations", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--at-a-time", type=int, default=2)
    parser.add_argument("--out-name", default="a.mct", help="name of a bundle or of a folder")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="experts-array-"))
    try:
        return report(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def report(options: Any, folder: Path) -> int:
    """Run everything in a folder, print the result, and return the exit code."""
    import h5py  # noqa: F401  # imported once, and not in every process
    import torch._dynamo  # noqa: F401  # the optimizer imports it

    import mct
    from trajfmt.merge import merge

    mct.ExpertRun.prepare("digits", Path("absent.mct"), augment="none")
    words = ["experts", *RECIPE, "--experts", str(options.jobs), "--epochs", str(options.epochs)]
    one, many = folder / "one" / options.out_name, folder / "many" / options.out_name
    for path in (one, many):
        path.parent.mkdir()
    start = time.monotonic()
    ended(started([*words, "--out", str(one)], folder / "log"), 0)
    alone = time.monotonic() - start
    array = Array(options, [*words, "--out", str(many)], folder / "log", alone / options.jobs)
    start = time.monotonic()
    array.run()
    took = time.monotonic() - start
    ended(started([*words, "--out", str(many)], folder / "log"), 0)
    found = {"mct experts": files(one.parent) == files(many.parent, but=".parts")}
    if one.suffix:
        parts = [str(path) for path in sorted(many.parent.rglob(f"*.parts/*{one.suffix}"))]
        random.Random(options.seed).shuffle(parts)
        merged = folder / "merged" / options.out_name
        merged.parent.mkdir()
        merge(parts, merged)
        found["trajfmt.merge"] = files(one.parent) == files(merged.parent)
    print(f"{options.jobs} jobs of one expert and {options.epochs} epochs: {took:.0f} s")
    print(f"one process: {alone:.0f} s")
    print(
        f"{array.counts['kill']} killed (SIGKILL), {array.counts['term']} preempted (SIGTERM, exit code 130)"
    )
    print(
        "when they ended: " + ", ".join(f"{count} {where}" for where, count in sorted(array.places.items()))
    )
    print(f"{array.continued} jobs continued within their expert")
    for how, same in found.items():
        print(f"collected by {how}: {'byte-identical' if same else 'DIFFERENT'}")
    return 0 if all(found.values()) else 1


@dataclass
class Array:
    """The jobs of an array."""

    options: Any
    words: list[str]
    log: Path
    seconds: float
    """Seconds that an expert takes."""

    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    places: collections.Counter[str] = field(default_factory=collections.Counter)

    def run(self) -> None:
        """Run all jobs to their end, a few at a time, with the signals that are due."""
        chance = random.Random(self.options.seed)
        signals = [signal.SIGKILL] * self.options.kills + [signal.SIGTERM] * self.options.terminations
        chance.shuffle(signals)
        queue = collections.deque(range(self.options.jobs))
        live: dict[int, tuple[int, float | None]] = {}
        while queue or live:
            while queue and len(live) < self.options.at_a_time:
                number = queue.popleft()
                process = started([*self.words, "--only", str(number)], self.log)
                due = bool(signals) and chance.random() < 0.6
                moment = time.monotonic() + chance.uniform(0.1, 1.5) * (self.seconds + 0.2)
                live[process] = (number, moment if due else None)
            for process, (number, moment) in list(live.items()):
                if over(process):
                    del live[process]
                    if self.path(number) is None:
                        raise SystemExit(f"expert {number} has no part: {self.log.read_text()[-1000:]}")
                elif moment is not None and time.monotonic() > moment and signals:
                    del live[process]
                    self.end(process, number, signals.pop())
                    queue.append(number)
            time.sleep(0.01)
        if signals:
            print(f"note: {len(signals)} signals found no process to end")

    def end(self, process: int, number: int, kind: signal.Signals) -> None:
        """End a job by a signal, and count where it was."""
        os.kill(process, kind)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        # 0: the job had ended by itself.
        allowed = (-signal.SIGKILL, 0) if kind == signal.SIGKILL else (130, 0, -signal.SIGTERM)
        if code not in allowed:
            raise SystemExit(f"expert {number}: exit code {code}: {self.log.read_text()[-1000:]}")
        self.counts["kill" if kind == signal.SIGKILL else "term"] += 1
        if self.path(number) is not None:
            self.places["after the part was finished"] += 1
        elif self.state(number):
            self.places["with a saved state"] += 1
        else:
            self.places["before the first state, or while storing"] += 1

    @property
    def continued(self) -> int:
        """Number of jobs that continued from a saved state, as they said."""
        return self.log.read_text().count("continues after epoch")

    def path(self, number: int) -> Path | None:
        """Return the finished part of an expert."""
        return next(iter(self.log.parent.glob(f"many/**/*.parts/{number:05d}.m?t")), None)

    def state(self, number: int) -> bool:
        """Return whether an expert has a saved state."""
        return any(self.log.parent.glob(f"many/**/*.parts/.*.{number:05d}.state"))


def started(words: list[str], log: Path) -> int:
    """Fork a process that runs `mct`, and return its number."""
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["mct", *words]
        (script,) = entry_points(group="console_scripts", name="mct")
        script.load()(words)
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else 0
    finally:
        os._exit(code)


def over(process: int) -> bool:
    """Return whether a process has ended, and require success."""
    found, status = os.waitpid(process, os.WNOHANG)
    if found and (code := os.waitstatus_to_exitcode(status)):
        raise SystemExit(f"exit code {code}")
    return bool(found)


def ended(process: int, expected: int) -> None:
    """Wait for a process, and require its exit code."""
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code != expected:
        raise SystemExit(f"exit code {code}, expected {expected}")


def files(folder: Path, *, but: str = "none") -> dict[str, bytes]:
    """Return the files under a folder, without files of options, and those in folders that end in `but`."""
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {
        str(name): path.read_bytes()
        for name, path in found.items()
        if name.suffix != ".toml" and not any(part.endswith(but) for part in name.parts)
    }


if __name__ == "__main__":
    raise SystemExit(main())

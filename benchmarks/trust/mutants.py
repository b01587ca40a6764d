"""Mutation testing of the core: how many small changes of the reader and the writer do the tests notice?

The tests of the core run once under coverage, which tells for each line the tests that run it. Then each
mutant (see `core/sites.py`) is tried with the tests that run its line, the fastest and closest first, and
with all tests of its module. It is killed if one of them fails or takes far too long. Mutants that behave
like the original are listed with their reasons in `core/equivalents.txt`, and do not count.

    python benchmarks/trust/mutants.py [--sample N] [--seed S] [--only PATH] [--state FOLDER] [--again]

What was tried is kept in the folder of the state, so that an interrupted run goes on; a module that changed
is tried anew, and with `--again` so are the mutants that survived. `--measure` runs the tests under coverage
again. It exits with 1 if fewer than 90% are killed.

Libraries for this exist. Of mutmut (3.8) and cosmic-ray (8.7), the first selects tests by functions instead
of lines, mutates nothing outside of functions (such as the fields of a manifest), and alters the texts of
all messages; the second starts an interpreter for each mutant, which imports for 2 s, and runs the same
tests for all. Neither draws a sample that a seed repeats.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import queue
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.trust.core import ROOT, TESTS, TRANSPORT, equivalents, measure, modules
from benchmarks.trust.core.sites import Site, sites
from benchmarks.trust.core.trials import TIMEOUT, Worker

WANTED = 0.9
FIRST = 3.0, 6  # seconds and files of tests that are tried before the others are even imported
MOST = 20.0  # seconds of tests that are tried at most; what would need more counts as a survivor


@dataclass
class Mutant:
    """A change of a module.

    Attributes:
        module: the path of the module.
        site: the change.
        text: a hash of the module.
    """

    module: str
    site: Site
    text: str

    @property
    def name(self) -> str:
        """The name in the state and in the list of equivalent mutants."""
        return f"{self.module} {self.site.name}"


@dataclass
class Record:
    """What came of the mutants that were tried."""

    path: Path
    results: dict[str, dict[str, str]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def load(self) -> None:
        """Read the results of earlier runs; a last line that is cut off is left out."""
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                self.results[entry["name"]] = entry

    def add(self, file: TextIO, mutant: Mutant, result: str, by: str) -> None:
        """Keep a result."""
        entry = {"name": mutant.name, "text": mutant.text, "result": result, "by": by}
        with self.lock:
            self.results[mutant.name] = entry
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
            file.flush()

    def of(self, mutant: Mutant) -> str | None:
        """Return what came of a mutant, if its module is still the same."""
        entry = self.results.get(mutant.name)
        return entry["result"] if entry and entry["text"] == mutant.text else None


def all_mutants(found: measure.Measured, only: str | None = None) -> list[Mutant]:
    """Return every mutant of the core whose line some test runs."""
    result = []
    for module in modules():
        if module in TRANSPORT or (only is not None and not module.startswith(only)):
            continue
        lines = found.lines.get(module, {})
        source = (ROOT / module).read_text()
        text = hashlib.sha256(source.encode()).hexdigest()[:16]
        for site in sites(source):
            if any(line in lines for line in site.lines):
                result.append(Mutant(module, site, text))
    return result


def tests_of(mutant: Mutant, found: measure.Measured) -> list[str]:
    """Return the tests of a mutant: those that run its line, fast ones and its module's first; then its rest.

    What is outside of functions runs when the module is imported, so that any test may notice its change.
    """
    module, site = mutant.module, mutant.site
    lines = found.lines[module]
    run = set(found.seconds)
    if site.local:
        run = set().union(*(lines.get(line, ()) for line in site.lines))
    own = "tests/test_" + str(Path(module).parent / f"test_{Path(module).stem}")
    touching = set().union(*lines.values())

    def rank(test: str) -> float:
        seconds = found.seconds.get(test, 0.0) + 0.01
        return seconds * (0.1 if test.startswith(own) else 1.0) * (1.0 if test in touching else 10.0)

    first = sorted((test for test in run if test in found.seconds), key=lambda test: (rank(test), test))
    total = 0.0
    kept = []
    for test in first:
        total += found.seconds[test]
        if total > MOST:
            break
        kept.append(test)
    rest = sorted(test for test in found.seconds if test.startswith(own) and test not in set(kept))
    return kept + rest


def try_one(worker: Worker, mutant: Mutant, every: list[str], seconds: dict[str, float]) -> tuple[str, str]:
    """Return what came of a mutant, and the test that killed it.

    Args:
        worker: where it is tried.
        mutant: the mutant.
        every: the tests, in the order in which they are tried.
        seconds: what each takes.
    """
    total, files, cut = 0.0, set(), len(every)
    for i, test in enumerate(every):
        total += seconds[test]
        files.add(test.partition("::")[0])
        if total > FIRST[0] or len(files) > FIRST[1]:
            cut = max(i, 1)
            break
    for tests in (every[:cut], every[cut:]):
        if not tests:
            continue
        limit = 15 + 4 * sum(seconds[test] for test in tests)
        code, output = worker.trial(mutant.module, mutant.site.name, tests, limit)
        if code == TIMEOUT:  # is it the mutant, or are other programs busy?
            begin = time.monotonic()
            worker.trial(mutant.module, None, tests, 20 * limit)
            limit = 15 + 5 * (time.monotonic() - begin)
            code, output = worker.trial(mutant.module, mutant.site.name, tests, limit)
        if code == TIMEOUT:
            return "timeout", ""
        if code == 5:
            raise RuntimeError(f"no test was found: {output}")
        if code != 0:
            failed = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
            return "killed", failed[0] if failed else f"exit {code}"
    return "survived", ""


def interval(killed: int, tried: int) -> tuple[float, float]:
    """Return the 95% confidence interval of a share (Wilson)."""
    z = 1.96
    share = killed / tried
    centre = (share + z * z / (2 * tried)) / (1 + z * z / tried)
    half = z * math.sqrt(share * (1 - share) / tried + z * z / (4 * tried * tried)) / (1 + z * z / tried)
    return centre - half, centre + half


def run(chosen: list[Mutant], found: measure.Measured, record: Record, processes: int, again: bool) -> None:
    """Try the mutants that have no result yet."""
    todo = [m for m in chosen if record.of(m) is None or (again and record.of(m) == "survived")]
    done = 0
    with tempfile.TemporaryDirectory() as name, record.path.open("a") as file:
        workers: queue.Queue[Worker] = queue.Queue()
        for i in range(min(processes, len(todo))):
            workers.put(Worker(Path(name) / str(i)))

        def one(mutant: Mutant) -> None:
            nonlocal done
            worker = workers.get()
            try:
                result, by = try_one(worker, mutant, tests_of(mutant, found), found.seconds)
            finally:
                workers.put(worker)
            record.add(file, mutant, result, by)
            done += 1
            if result == "survived":
                print(f"survived: {mutant.module}:{mutant.site.lines.start} {mutant.site.name}", flush=True)
            elif done % 50 == 0:
                print(f"{done} of {len(todo)}", file=sys.stderr, flush=True)

        try:
            with ThreadPoolExecutor(processes) as pool:
                list(pool.map(one, todo))
        finally:
            while not workers.empty():
                workers.get().close()


def summary(chosen: list[Mutant], record: Record, total: int) -> tuple[str, bool]:
    """Return the figures, and whether enough mutants were killed."""
    patterns = equivalents.load()
    alike = [m for m in chosen if record.of(m) == "survived" and equivalents.is_equivalent(m.name, patterns)]
    counts = Counter(record.of(m) for m in chosen)
    tried = len(chosen) - len(alike)
    killed = counts["killed"] + counts["timeout"]
    low, high = interval(killed, tried)
    by_folder: dict[str, list[bool]] = {}
    for m in chosen:
        if m not in alike:
            by_folder.setdefault(m.module.split("/")[1], []).append(record.of(m) != "survived")
    lines = [
        f"{folder:<10} {sum(were):>5} of {len(were):>5} killed" for folder, were in sorted(by_folder.items())
    ]
    lines.append(
        f"core       {killed:>5} of {tried:>5} killed: {100 * killed / tried:.1f}%"
        + (f" (95%: {100 * low:.1f} to {100 * high:.1f})" if len(chosen) < total else "")
    )
    lines.append(
        f"{len(chosen)} of {total} mutants tried; {counts['timeout']} of the killed took too long;"
        f" {len(alike)} behave like the original and do not count"
    )
    return "\n".join(lines), killed >= WANTED * tried


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sample", type=int, metavar="N", help="how many mutants are tried (default: all)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="which ones (default: 0)")
    parser.add_argument("--only", metavar="PATH", help="mutants of the modules whose path starts so")
    parser.add_argument("--state", type=Path, default=ROOT / "build/mutants", metavar="FOLDER")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="trials at once (2)")
    parser.add_argument("--again", action="store_true", help="try those again that survived")
    parser.add_argument("--measure", action="store_true", help="measure again which tests run which lines")
    options = parser.parse_args()

    if options.measure or not (options.state / "seconds.json").exists():
        print(f"measuring {', '.join(TESTS)}", file=sys.stderr)
        measure.measure(options.state, options.processes)
    found = measure.measured(options.state)
    every = all_mutants(found, options.only)
    chosen = every
    if options.sample is not None and options.sample < len(every):
        chosen = random.Random(options.seed).sample(every, options.sample)
    record = Record(options.state / "results.jsonl")
    record.load()
    run(chosen, found, record, options.processes, options.again)
    text, enough = summary(chosen, record, len(every))
    print(text)
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())

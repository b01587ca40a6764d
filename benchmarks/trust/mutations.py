"""Mutated bundles and sources: what a reader and a converter make of them.

    .venv/bin/python benchmarks/trust/mutations.py --seconds 60
    .venv/bin/python benchmarks/trust/mutations.py --seconds 7200 --state mutations.json    # continues
    .venv/bin/python benchmarks/trust/mutations.py --replay 0:123456
    .venv/bin/python benchmarks/trust/mutations.py --against javascript --seconds 60

Small bundles of every kind, and small sources of every file layout, are changed by programs that know their
structure, with checksums and hashes that fit and without. Whatever comes of it must be the right values or
an error that is documented: no other exception, no crash, no hang, no warning, no gigabyte of memory, no
value that has changed where values are verified, and no weights that an independent program reads otherwise.

Every trial follows from the seed and its number. The files of a trial that fails are kept, and `--replay`
runs it again.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from random import Random

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.trust.mutated.batches import Batch, Outcome, chance_of  # noqa: E402
from benchmarks.trust.mutated.bundles import Subject, make_bundles  # noqa: E402
from benchmarks.trust.mutated.javascript import compare  # noqa: E402
from benchmarks.trust.mutated.places import Place  # noqa: E402
from benchmarks.trust.mutated.source_trials import SourceTrials  # noqa: E402
from benchmarks.trust.mutated.sources import make_sources  # noqa: E402
from benchmarks.trust.mutated.tallies import Tally  # noqa: E402
from benchmarks.trust.mutated.trials import BundleTrials  # noqa: E402

BATCH = 2000
"""Trials of one process."""

MANY = 1000
"""Failures after which no new trials are begun."""


class Trials:
    """Trials of all kinds, in folders below `folder`. Each process needs one of its own."""

    def __init__(self, material: tuple[list[Subject], list[Subject]], folder: Path, share: float) -> None:
        self._share = share
        self._material = material
        self._folder = folder
        self._kinds: tuple[BundleTrials, SourceTrials] | None = None

    def __call__(self, chance: Random) -> Outcome:
        """Run one trial."""
        if self._kinds is None:
            bundles, sources = self._material
            folder = self._folder
            self._kinds = BundleTrials(bundles, folder / "bundles"), SourceTrials(sources, folder / "sources")
        draft, verdict = self._kinds[chance.random() < self._share].run(chance)
        fixed = f", {draft.level} fixed up" if draft.manifest else ""
        return Outcome(
            draft.subject.name,
            f"{'+'.join(draft.mutators) or 'nothing'}{fixed}",
            verdict.outcome,
            verdict.wrong,
            lambda folder: Place(folder).hold(draft.tree),
        )


def campaign(
    trials: list[Trials], tally: Tally, kept: Path, *, seconds: float, most: int, state: Path | None
) -> None:
    """Run trials in as many processes, until the time is over or `most` have been run, and add up."""
    begin, earlier = time.monotonic(), tally.seconds
    allowed = sorted(os.sched_getaffinity(0))
    free = list(range(len(trials)))
    running: dict[int, Batch] = {}
    while True:
        over = time.monotonic() > begin + seconds or len(tally.failures) > MANY
        while free and not over:
            job = free.pop()
            numbers = range(tally.after, min(tally.after + BATCH, most))
            if not numbers:
                break
            core = {allowed[job % len(allowed)]}
            running[job] = Batch(trials[job], tally.seed, numbers, kept, core, begin + seconds)
            tally.after = numbers.stop
        if not running:
            return
        time.sleep(0.02)
        for job, batch in list(running.items()):
            if (found := batch.poll()) is None:
                continue
            tally.add(found)
            rest = range(found.after, batch.trials.stop)
            if rest and not over:
                core = {allowed[job % len(allowed)]}
                running[job] = Batch(trials[job], tally.seed, rest, kept, core, begin + seconds)
            else:
                if batch.trials.stop == tally.after:
                    tally.after = found.after
                del running[job]
                free.append(job)
            for failure in found.failures:
                show(failure)
            tally.seconds = earlier + time.monotonic() - begin
            if state is not None:
                tally.write(state)


def against(subjects: list[Subject], tally: Tally, kept: Path, seconds: float, state: Path | None) -> None:
    """Compare the library with the reader in JavaScript until the time is over."""
    begin, earlier = time.monotonic(), tally.seconds
    while time.monotonic() < begin + seconds and len(tally.failures) < MANY:
        numbers = range(tally.after, tally.after + 500)
        found = compare(subjects, {number: chance_of(tally.seed, number) for number in numbers}, kept)
        tally.after = numbers.stop
        tally.add(found)
        tally.seconds = earlier + time.monotonic() - begin
        for failure in found.failures:
            failure["seed"] = tally.seed
            show(failure)
        if state is not None:
            tally.write(state)


def show(failure: dict[str, object]) -> None:
    """Print a failure, and how to see it again."""
    again = f"--replay {failure['seed']}:{failure['number']}"
    print(f"  {failure['wrong']} | {again} | {failure['files']}", flush=True)


def main() -> None:
    """Run the campaign, or one trial again, and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long new trials are begun")
    parser.add_argument(
        "--trials", type=int, default=2**40, help="the number of trials, over all instalments"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--state", type=Path, help="file in which counts add up over instalments")
    parser.add_argument("--kept", type=Path, help="folder for the files of trials that fail")
    parser.add_argument("--sources", type=float, default=0.15, help="share of the trials that are of sources")
    parser.add_argument("--against", choices=["javascript"], help="compare readers of bundles instead")
    parser.add_argument("--replay", help="run one trial again: SEED:NUMBER")
    options = parser.parse_args()
    kept = options.kept or Path(tempfile.gettempdir()) / "mutations-kept"
    kept.mkdir(parents=True, exist_ok=True)
    tally = Tally(options.seed)
    if options.state is not None and options.state.exists():
        tally = Tally.read(options.state)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing stays in memory
    shared = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=shared, prefix="mutations-") as name:
        folder = Path(name)
        material = make_bundles(folder / "material"), make_sources(folder / "material")
        trials = [Trials(material, folder / str(job), options.sources) for job in range(options.jobs)]
        if options.replay and options.against:
            seed, number = map(int, options.replay.split(":"))
            found = compare(material[0], {number: chance_of(seed, number)}, kept)
            print(*found.subjects, *found.failures or ["nothing wrong"], sep="\n")
            sys.exit(bool(found.failures))
        if options.replay:
            seed, number = map(int, options.replay.split(":"))
            outcome = trials[0](chance_of(seed, number))
            outcome.keep(kept / str(number))
            print(f"{outcome.subject}, {outcome.mutators}: {outcome.result}; files in {kept / str(number)}")
            print("\n".join(outcome.wrong) or "nothing wrong")
            sys.exit(bool(outcome.wrong))
        if options.against:
            against(material[0], tally, kept, options.seconds, options.state)
        else:
            more = {"seconds": options.seconds, "most": options.trials, "state": options.state}
            campaign(trials, tally, kept, **more)
    for title, column in (("subjects", 0), ("outcomes", 1)):
        print(f"{title}: " + ", ".join(f"{name} {count}" for name, count in tally.by(column).most_common()))
    print(tally.line())
    sys.exit(bool(tally.failures))


if __name__ == "__main__":
    main()

"""Parity with the authors' code: the same inputs through theirs and ours, one line for each comparison.

Get the references beside this repository, they are not part of it:

    git clone https://github.com/GeorgeCazenavette/mtt-distillation
    git clone https://github.com/Zhong0x29a/MCT

    python benchmarks/parity/run.py --mtt mtt-distillation [--mct MCT --expert replay_buffer_0.pt]

`--mtt` compares networks, augmentation, whitening, one outer iteration and the evaluation with MTT;
`--mct` with `--expert`, a buffer of one MTT expert with at least 8 timesteps, compares convexified
trajectories with MCT. Runs on a CPU, in float64 where it says nothing else, in about a minute. Errors are
relative to the largest expected value. The exit code is 1 if a line fails. `RESULTS.txt` is the output,
that of `loops.py`, which runs whole distillation loops of others on our files, that of `methods.py`, which
compares the outer steps of DATM, PAD, ATT and FTD, and that of `ranking.py`, which computes the scores of
DD-Ranking.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import convexified
import dsa
import forward
import kornia
import outer
import protocol
import reference
import torch
import whitening
from table import Line


def mtt(checkout: Path) -> Iterator[Line]:
    """Everything that MTT defines."""
    names = ("networks", "utils", "reparam_module")
    modules = dict(zip(names, reference.load(checkout, *names), strict=True))
    print("mtt-distillation", reference.fingerprint(checkout, *(f"{name}.py" for name in names)))
    yield from forward.check(modules["networks"])
    yield from dsa.check(modules["utils"])
    yield from whitening.check(modules["utils"])
    yield from outer.check(modules)
    yield from protocol.check(modules)


def mct(checkout: Path, expert: Path) -> Iterator[Line]:
    """Everything that MCT adds."""
    (converter,) = reference.load(checkout, "exps.trajectory_compression")
    print("MCT", reference.fingerprint(checkout, "exps/trajectory_compression.py", "convexify.py"))
    yield from convexified.check(converter, expert)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mtt", type=Path, metavar="PATH", required=True, help="checkout of MTT")
    parser.add_argument("--mct", type=Path, metavar="PATH", help="checkout of MCT")
    parser.add_argument("--expert", type=Path, metavar="FILE", help="replay_buffer_*.pt for --mct")
    options = parser.parse_args()
    if (options.mct is None) != (options.expert is None):
        parser.error("--mct and --expert belong together: give both or neither")
    warnings.filterwarnings("ignore", category=UserWarning, module="torch")  # about the references' calls
    print(f"torch {torch.__version__}, kornia {kornia.__version__}, Python {sys.version.split()[0]}")
    lines = mtt(options.mtt)
    if options.mct is not None:
        lines = itertools.chain(lines, mct(options.mct, options.expert))
    counts = {"failed": 0, "passed": 0, "skipped": 0}
    for line in lines:
        print(line, flush=True)
        counts["skipped" if line.error is None else "failed" if line.failed else "passed"] += 1
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())

"""Parity with the authors' code: the same inputs through theirs and ours, one line for each comparison.

Get the references beside this repository, they are not part of it:

    git clone https://github.com/GeorgeCazenavette/mtt-distillation
    git clone https://github.com/Zhong0x29a/MCT
    git clone https://github.com/AngusDujw/FTD-distillation
    git clone https://github.com/NUS-HPC-AI-Lab/PAD

    python benchmarks/parity/run.py [--mtt mtt-distillation] [--mct MCT --expert replay_buffer_0.pt]
                                    [--ftd FTD-distillation] [--pad PAD]

`--mtt` compares networks, augmentation, whitening, one outer iteration and the evaluation with MTT;
`--mct` with `--expert`, a buffer of one MTT expert with at least 8 timesteps, compares convexified
trajectories with MCT; `--ftd` compares sharpness-aware updates of experts with FTD, and `--pad` the images
of every epoch with PAD. Runs on a CPU, in float64 where it says nothing else, in about a minute. Errors are
relative to the largest expected value. The exit code is 1 if a line fails. `RESULTS.txt` is the output,
that of `loops.py`, which runs whole distillation loops of others on our files, that of `methods.py`, which
compares the outer steps of DATM, PAD, ATT and FTD, that of `condense.py`, which does so for DC, DSA,
DM and CAFE, that of `rat.py`, which compares those of RaT-BPTT, that of `ranking.py`, which computes the
scores of DD-Ranking, and that of `inner.py`, which compares gradients through optimisers with those of
higher.
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
import experts
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


def ftd(checkout: Path) -> Iterator[Line]:
    """How FTD trains experts."""
    print("FTD", reference.fingerprint(checkout, "buffer/gsam/gsam.py", "buffer/buffer_FTD.py"))
    yield from experts.check_updates(checkout)


def pad(checkout: Path) -> Iterator[Line]:
    """How PAD selects the images of its experts."""
    print("PAD", reference.fingerprint(checkout, "buffer/buffer_CL.py", "utils/utils_cl_scheduler.py"))
    yield from experts.check_images(checkout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mtt", type=Path, metavar="PATH", help="checkout of MTT")
    parser.add_argument("--mct", type=Path, metavar="PATH", help="checkout of MCT")
    parser.add_argument("--expert", type=Path, metavar="FILE", help="replay_buffer_*.pt for --mct")
    parser.add_argument("--ftd", type=Path, metavar="PATH", help="checkout of FTD")
    parser.add_argument("--pad", type=Path, metavar="PATH", help="checkout of PAD")
    options = parser.parse_args()
    if not (options.mtt or options.mct or options.ftd or options.pad):
        parser.error("give at least one of --mtt, --mct, --ftd and --pad")
    if (options.mct is None) != (options.expert is None):
        parser.error("--mct and --expert belong together: give both or neither")
    warnings.filterwarnings("ignore", category=UserWarning, module="torch")  # about the references' calls
    print(f"torch {torch.__version__}, kornia {kornia.__version__}, Python {sys.version.split()[0]}")
    parts = [
        mtt(options.mtt) if options.mtt else (),
        mct(options.mct, options.expert) if options.mct else (),
        ftd(options.ftd) if options.ftd else (),
        pad(options.pad) if options.pad else (),
    ]
    counts = {"failed": 0, "passed": 0, "skipped": 0}
    for line in itertools.chain(*parts):
        print(line, flush=True)
        counts["skipped" if line.error is None else "failed" if line.failed else "passed"] += 1
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())

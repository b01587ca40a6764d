"""Differences of means in the table of `mct_vs_mtt.py`, with their standard errors, as in docs/paper.md.

The records keep mean and population deviation over seeds of every arm, but not the runs, so that the errors
are those of means that are not paired: sqrt((s1^2 + s2^2) / (n - 1)) for n seeds.

    python benchmarks/differences.py [--records benchmarks/RECORDS.md]
"""

import argparse
import math
import re
from pathlib import Path
from typing import NamedTuple

PAIRS = (("mct4", "mtt"), ("mct2", "mtt"), ("mct4", "mct4-discrete"), ("mct2", "mct2-discrete"))
_ROW = re.compile(r"ipc (\d+)\s+(\S+)\s+\d+\s+(\d+)\s+([\d.]+) ± ([\d.]+)")


class Arm(NamedTuple):
    """Accuracy of the best images, in percent."""

    seeds: int
    mean: float
    deviation: float


def arms(records: str) -> dict[tuple[int, str], Arm]:
    """Return the rows of the table by images per class and method."""
    return {
        (int(ipc), method): Arm(int(seeds), float(mean), float(deviation))
        for ipc, method, seeds, mean, deviation in _ROW.findall(records)
    }


def difference(one: Arm, other: Arm) -> str:
    """Return the difference of two means, with its standard error."""
    error = math.hypot(one.deviation / math.sqrt(one.seeds - 1), other.deviation / math.sqrt(other.seeds - 1))
    return f"{one.mean - other.mean:+.1f} ± {error:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--records", type=Path, default=Path(__file__).with_name("RECORDS.md"))
    found = arms(parser.parse_args().records.read_text())
    for ipc in sorted({ipc for ipc, _ in found}):
        for one, other in PAIRS:
            shown = difference(found[ipc, one], found[ipc, other])
            print(f"ipc {ipc:<3} {one:>5} - {other:<14} {shown}")


if __name__ == "__main__":
    main()

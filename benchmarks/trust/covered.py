"""The share of the core's lines and branches that the tests of the core run, and what they do not run.

    python benchmarks/trust/covered.py [--processes N]

It exits with 1 below 100%. What runs only in a process that a test starts counts as not run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.trust.core import measure


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="processes of pytest (2)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        try:
            measure.measure(Path(name), options.processes)
        except measure.TestsFailedError as error:
            print(error)
            return 1
        table, complete = measure.report(Path(name))
    print(table)
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())

"""What trajectories cost on disk, against the MTT files they come from.

Converts a buffer to every encoding and prints bytes and ratio. Without a path it makes one of the paper's
shape (51 timesteps of the ConvNet with 320,010 parameters); random walks compress like real weights do not,
so give a real buffer to judge the codecs.

    python benchmarks/storage.py [replay_buffer_0.pt] [--knots 6,25]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from trajfmt.bundle.report import summarize
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("buffer", type=Path, nargs="?")
    parser.add_argument("--knots", default="6,25")
    options = parser.parse_args()
    knots = tuple(int(knot) for knot in options.knots.split(","))
    with tempfile.TemporaryDirectory() as folder:
        buffer = options.buffer
        if buffer is None:
            from convert import make_buffer

            buffer = Path(folder) / "replay_buffer_0.pt"
            make_buffer(buffer, 1)
        source = buffer.stat().st_size
        print(f"{'source .pt':<28}{source:>14,} bytes  100.00%")
        cases = {
            "two.mct": ("two endpoints", ConvertOptions()),
            "four.mct": (f"endpoints and {options.knots}", ConvertOptions(knots=knots)),
            "none.mtt": ("every timestep, none", ConvertOptions()),
            "zstd.mtt": ("every timestep, zstd", ConvertOptions(codec="zstd")),
            "archive.mtt": ("every timestep, archive", ConvertOptions(codec="archive")),
        }
        for name, (title, settings) in cases.items():
            convert(buffer, Path(folder) / name, settings)
            total = summarize(Path(folder) / name).storage.total
            print(f"{title:<28}{total:>14,} bytes  {100 * total / source:.2f}%")


if __name__ == "__main__":
    main()

"""Memory while a run of checkpoints is converted: none of it grows with the weights."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[3]

MEASURED = """
import sys, threading
from trajfmt.convert.run import convert

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024

idle = peak = anonymous()
done = threading.Event()
def watch():
    global peak
    while not done.wait(0.002):
        peak = max(peak, anonymous())
threading.Thread(target=watch).start()
convert(sys.argv[1], sys.argv[2])
done.set()
print(peak - idle)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="RssAnon is Linux's")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pickled_checkpoints_stay_in_their_files(tmp_path: Path, dtype: str) -> None:
    """Four checkpoints of 32 MB with optimizer states twice as large take less than one of them."""
    (tmp_path / "run").mkdir()
    kind = getattr(torch, dtype)
    for step in range(4):
        weights = torch.randn(2**25 // kind.itemsize, generator=torch.Generator().manual_seed(step)).to(kind)
        content = {"model": {"w": weights}, "optimizer": {"state": {0: {"m": torch.ones(2**24)}}}}
        torch.save(content, tmp_path / f"run/step={step}.pt")
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, tmp_path / "run", tmp_path / "out.mct"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert float(done.stdout) < 24


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="RssAnon is Linux's")
def test_the_benchmark_of_large_networks(tmp_path: Path) -> None:
    """On a small transformer it converts, extracts the last checkpoint bit for bit, and measures little."""
    command = [sys.executable, ROOT / "benchmarks/large.py", "--parameters", "2e5", "--timesteps", "3"]
    done = subprocess.run(
        [*command, "--shard-bytes", "200000", "--knots", "1", "--folder", tmp_path],
        check=True,
        capture_output=True,
        text=True,
    )
    assert re.search(r"run: [\d,]+ parameters in bfloat16, 3 timesteps in [2-9] shards each", done.stdout)
    assert "extracted at t = 2: the last checkpoint, bit for bit" in done.stdout
    peaks = re.findall(r"anonymous memory above it, (\w+): (\d+) MiB", done.stdout)
    assert [name for name, _ in peaks] == ["convert", "extract"]
    assert all(int(peak) < 32 for _, peak in peaks)
    assert not list(tmp_path.iterdir())

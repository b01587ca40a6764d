"""The histories: most seeds find nothing, and a fault that is planted in the library is found."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("aiohttp")

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None or sys.platform != "linux", reason="the library needs gcc and Linux"
)


def _histories(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/trust/histories.py"), *words],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_bundle_whose_manifest_comes_too_early_is_found() -> None:
    """One history stops an append between the two; another sees nothing wrong in the same library."""
    done = _histories("--plant", "early-manifest", "--seed", "11", "--count", "2")
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.findall(r"^seed (\d+): (.*) is missing in state", done.stdout, re.MULTILINE) == [
        ("11", "d.mtt/theta/00002.h5")
    ]
    assert "replay: python benchmarks/trust/histories.py --seed 11 --count 1" in done.stdout
    assert re.search(r"^2 histories, \d+ operations, \d+ kills, \d+ pauses, 1 failures;", done.stdout, re.M)

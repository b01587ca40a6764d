"""Readers during appends: they see published prefixes, and notice when they do not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="the readers need Linux")
@pytest.mark.parametrize(("plant", "wrong"), [("", 0), ("early-manifest", 4)])
def test_a_reader_sees_what_is_published(plant: str, wrong: int) -> None:
    """If the manifest comes before its files, readers of the files and of the address fail."""
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "benchmarks/trust/readers.py")),
            *("--readers", "4", "--appends", "6", "--plant", plant),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == bool(wrong), done.stdout + done.stderr
    found = re.search(r"^4 readers, 12 appends, (\d+) bundles opened, .* (\d+) failures;", done.stdout, re.M)
    assert found, done.stdout
    assert int(found[1]) >= 4
    assert (int(found[2]) > 0) == (wrong > 0)
    assert ("reader-" in done.stdout and "file_missing" in done.stdout) == (wrong > 0)

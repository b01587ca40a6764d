"""Kills at random moments: a few of them find nothing."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("aiohttp")
from benchmarks.trust import kills


@pytest.mark.skipif(
    shutil.which("gcc") is None or sys.platform != "linux", reason="the library needs gcc and Linux"
)
def test_an_append_and_the_cache_survive_kills(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are killed, and the next run gives what an undisturbed one gives."""
    monkeypatch.setenv("TRAJFMT_CACHE", "")  # it is set there, and restored after this
    tally = kills.campaign(4, 60, 0, {"append", "cache"}, tmp_path.resolve())
    said = capsys.readouterr().out
    assert not tally.wrong
    assert re.search(r"^append +2 kills in \d+ runs, 0 wrong", said, re.M), said
    assert re.search(r"^cache +2 kills in \d+ runs, 0 wrong", said, re.M), said
    assert re.search(r"^4 kills, 0 wrong; ", said, re.M), said

"""The processes of the campaigns: what the preloaded library does to one, and what it sees."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.trust import processes

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import json, os, sys
from pathlib import Path
from benchmarks.trust.processes import Child, Fault

folder = Path(sys.argv[1])

def write(sync):
    (folder / "b").mkdir()
    for name in ("b/data", "b/.manifest.partial", "b/x"):
        with open(folder / name, "wb") as file:
            file.write(b"1")
            file.flush()
            if sync or name != "b/data":
                os.fsync(file.fileno())
    os.rename(folder / "b/.manifest.partial", folder / "b/manifest.json")
    return 0

def ended(fault=Fault(2**14 - 1), **how):
    child = Child(lambda: write(**how), folder, folder.parent / "output", fault)
    done, pauses = child.wait(), 0
    while done is None:
        pauses += 1
        child.go_on()
        done = child.wait()
    there = sorted(path.name for path in (folder / "b").iterdir())
    for path in (folder / "b").iterdir():
        path.unlink()
    (folder / "b").rmdir()
    return [done.code, done.loose, pauses, there]

MKDIR, KILL_AFTER, PAUSE, RENAME = 64, 3, 6, 16
print(json.dumps([
    ended(sync=True),
    ended(sync=False),
    ended(Fault(MKDIR, 1, KILL_AFTER), sync=True),
    ended(Fault(RENAME, 1, PAUSE), sync=True),
]))
"""


@pytest.mark.skipif(
    shutil.which("gcc") is None or sys.platform != "linux", reason="the library needs gcc and Linux"
)
def test_what_the_library_does_and_sees(tmp_path: Path) -> None:
    """A manifest beside bytes that are not synced is counted; a kill and a pause come where they must."""
    (tmp_path / "work").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "work")],
        env=processes.environment(processes.compiled(tmp_path)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    whole = ["data", "manifest.json", "x"]
    assert json.loads(done.stdout) == [[0, 0, 0, whole], [0, 1, 0, whole], [-9, 0, 0, []], [0, 0, 1, whole]]

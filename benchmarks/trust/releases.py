"""Read bundles of every frozen format with every released library, and today's bundles as well.

For each tag `v*` of this repository, the release is installed in an empty virtual environment. It then reads
the bundles in `tests/archives`, and the same kinds of bundles as today's code writes them, and must find the
values that the `holds.json` of each folder states.

    python benchmarks/trust/releases.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ARCHIVES = ROOT / "tests" / "archives"


def main() -> int:
    """Try every release, print a line for each, and return the exit code."""
    tags = run("git", "-C", str(ROOT), "tag", "--list", "v*").split()
    wrong = 0
    with tempfile.TemporaryDirectory() as scratch:
        today = Path(scratch) / "today"
        run(sys.executable, str(ARCHIVES / "make.py"), str(today))
        folders = [*sorted(path.parent for path in ARCHIVES.glob("*/holds.json")), today]
        for name, python in [("this checkout", sys.executable), *installed(tags, Path(scratch))]:
            for folder in folders:
                said = compare(python, folder)
                wrong += said != "the same"
                print(f"{name:<16} reads {folder.name:<8} {said}", flush=True)
    print(f"{len(tags)} releases and this checkout, {len(folders)} folders of bundles: {wrong} differ")
    return min(wrong, 1)


def installed(tags: list[str], scratch: Path) -> list[tuple[str, str]]:
    """Install releases, and return the name and the interpreter of each."""
    found = []
    for tag in tags:
        source, environment = scratch / f"{tag}-source", scratch / tag
        run("git", "-C", str(ROOT), "worktree", "add", "--detach", str(source), tag)
        try:
            run(sys.executable, "-m", "venv", str(environment))
            python = str(environment / "bin" / "python")
            run(python, "-m", "pip", "install", "-q", "-c", str(source / "constraints.txt"), str(source))
        finally:
            run("git", "-C", str(ROOT), "worktree", "remove", "--force", str(source))
        found.append((tag, python))
    return found


def compare(python: str, folder: Path) -> str:
    """Return `the same`, or how what a library reads in a folder differs from what the folder states."""
    expected: dict[str, Any] = json.loads((folder / "holds.json").read_bytes())
    done = subprocess.run(
        [python, str(ARCHIVES / "read.py"), str(folder)], capture_output=True, text=True, cwd="/"
    )
    if done.returncode:
        return f"fails: {done.stderr.strip().splitlines()[-1]}"
    found = json.loads(done.stdout)
    names = [name for name in expected if found.get(name) != expected[name]]
    return f"differs in {', '.join(names)}" if names else "the same"


def run(*command: str) -> str:
    """Run a command, and return what it prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())

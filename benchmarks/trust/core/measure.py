"""Which lines and branches the tests of the core run, and which test runs which line."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.trust.core import FOLDERS, ROOT, TESTS

OPTIONS = ("-q", "-p", "no:cacheprovider", "-p", "benchmarks.trust.core.selection")


EXCLUDED = ("if TYPE_CHECKING:", "raise NotImplementedError", r"^ *\.\.\.$")
"""Lines that nothing can run, as in `pyproject.toml`."""


class TestsFailedError(Exception):
    """The unchanged tests do not pass."""


@dataclass
class Measured:
    """What a run of the tests left in a folder.

    Attributes:
        lines: for each module, the tests that run each of its lines.
        seconds: what each test took.
    """

    lines: dict[str, dict[int, set[str]]]
    seconds: dict[str, float]


def configuration(folder: Path) -> Path:
    """Write the settings of coverage for the core into a folder, and return their path."""
    path = folder / "coverage.ini"
    sources = "\n" + "\n".join(f"trajfmt/{name}" for name in FOLDERS)
    own = configparser.ConfigParser(interpolation=None)
    own["run"] = {
        "branch": "true",
        "relative_files": "true",
        "data_file": str(folder / "coverage.data"),
        "source": sources,
    }
    own["report"] = {"precision": "2", "exclude_also": "\n" + "\n".join(EXCLUDED)}
    with path.open("w") as file:
        own.write(file)
    return path


def measure(folder: Path, processes: int = 1) -> None:
    """Run the tests of the core under coverage; what it finds is kept in a folder.

    Raises:
        TestsFailedError: if a test fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = configuration(folder)
    (folder / "coverage.data").unlink(missing_ok=True)
    several = ("-n", str(processes)) if processes > 1 else ()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", *OPTIONS, *several),
            *("--cov", f"--cov-config={settings}", "--cov-context=test", "--cov-report="),
            *TESTS,
        ],
        cwd=ROOT,
        env=os.environ | {"TEST_SECONDS": str(folder / "seconds.json")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise TestsFailedError(done.stdout[-4000:] + done.stderr[-2000:])


def report(folder: Path) -> tuple[str, bool]:
    """Return coverage's table of what was measured, and whether it is complete."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "coverage", "report", f"--rcfile={folder / 'coverage.ini'}"),
            *("-m", "--skip-covered", "--fail-under=100"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr, done.returncode == 0


def measured(folder: Path) -> Measured:
    """Return what `measure` left in a folder."""
    import coverage

    data = coverage.CoverageData(str(folder / "coverage.data"))
    data.read()
    lines: dict[str, dict[int, set[str]]] = {}
    for file in data.measured_files():
        contexts = data.contexts_by_lineno(file)
        lines[file] = {
            line: {name.rpartition("|")[0] for name in names if name} for line, names in contexts.items()
        }
    return Measured(lines, json.loads((folder / "seconds.json").read_text()))

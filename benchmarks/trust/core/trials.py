"""Mutants tried in forked processes.

A worker is a process with a copy of the repository. It imports the libraries that the tests need, but
neither trajfmt nor any test, and then forks once for each trial: the child imports the mutated module as it
lies in the copy, and runs the selected tests up to the first failure. Processes that a test starts import
the mutant, too. A child that takes much longer than its tests took is killed with all its processes.

    python -m benchmarks.trust.core.trials

It reads one trial for each line of its input, as JSON (`tests`, `seconds`), and answers each with a line
(`code`, `output`). It is started in the copy.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from benchmarks.trust.core import ROOT
from benchmarks.trust.core.measure import OPTIONS
from benchmarks.trust.core.sites import mutant

LIBRARIES = (
    "h5py",
    "msgspec",
    "numpy",
    "pytest",
    "safetensors.numpy",
    "torch",
    "zstandard",
    "zlib_ng.zlib_ng",
)
LIBRARIES += ("aiohttp", "aiohttp.web", "fsspec", "hypothesis", "jsonschema", "ml_dtypes", "threadpoolctl")
MEMORY = 6 << 30
TIMEOUT = -1


class Worker:
    """A copy of the repository and the process that runs trials in it.

    Args:
        folder: where the copy will be.
        root: the repository.
    """

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        self.folder = folder
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\0")
        for name in filter(None, names):
            if (root / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, folder / name)
        (folder / "traj_cli").symlink_to("cli")
        (folder / ".git").mkdir()
        (folder / "tmp").mkdir()
        own = {
            "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
            "TMPDIR": str(folder / "tmp"),
            "OMP_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.trust.core.trials"],
            cwd=folder,
            env=os.environ | own,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def trial(self, module: str, name: str | None, tests: list[str], seconds: float) -> tuple[int, str]:
        """Run tests on a mutant, or on the original without a name.

        Args:
            module: the path of the module, relative to the repository.
            name: the change.
            tests: the tests to run, in this order.
            seconds: the time limit.

        Returns:
            The exit code of pytest, or TIMEOUT, and the end of what it printed.
        """
        path = self.folder / module
        source = path.read_text()
        if name is not None:
            path.write_text(mutant(source, name))
            for stale in path.parent.glob(f"__pycache__/{path.stem}.*"):
                stale.unlink()
        try:
            return self._ask({"tests": tests, "seconds": seconds})
        finally:
            path.write_text(source)
            for left in (self.folder / "tmp").iterdir():
                shutil.rmtree(left, ignore_errors=True)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, trial: dict[str, Any]) -> tuple[int, str]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(trial) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return answer["code"], answer["output"]


def serve() -> None:
    """Answer trials until the input ends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in LIBRARIES:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    if any(name.partition(".")[0] in ("trajfmt", "tests") for name in sys.modules):
        raise RuntimeError("a library imported the code that is to be mutated")
    for line in sys.stdin:
        trial = json.loads(line)
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            child = os.fork()
            if child == 0:
                os._exit(_run(trial, output.fileno()))
            code = _wait(child, trial["seconds"])
            output.seek(0)
            print(json.dumps({"code": code, "output": output.read()[-2000:]}), flush=True)


def _run(trial: dict[str, Any], output: int) -> int:
    """Run the tests of a trial, in a session of their own."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    with tempfile.NamedTemporaryFile("w", suffix=".json") as selected:
        json.dump(trial["tests"], selected)
        selected.flush()
        os.environ["SELECTED_TESTS"] = selected.name
        files = dict.fromkeys(name.partition("::")[0] for name in trial["tests"])
        import pytest

        try:
            return int(
                pytest.main(
                    [
                        *(*OPTIONS, "-x", "--tb=line", "-p", "no:pytest_cov", "-p", "no:xdist"),
                        *("-W", "ignore::pytest.PytestAssertRewriteWarning", *files),
                    ]
                )
            )
        finally:
            sys.stdout.flush()
            sys.stderr.flush()


def _wait(child: int, seconds: float) -> int:
    """Return how a child ended; end it and its processes after some seconds."""
    end = time.monotonic() + seconds
    code: int | None = None
    while code is None and time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
        else:
            time.sleep(0.005)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if code is None:
        os.waitpid(child, 0)
        return TIMEOUT
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    serve()

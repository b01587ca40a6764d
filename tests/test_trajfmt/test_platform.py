"""A system without POSIX file locks."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["trajfmt", "trajfmt.errors", "trajfmt.storage.cache"])
def test_without_file_locks_the_import_says_what_is_supported(module: str) -> None:
    """The last line of the error names the systems and the way out."""
    code = f"import sys; sys.modules['fcntl'] = None; import {module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: trajfmt runs on Linux, macOS and other POSIX systems")
    assert last.endswith("on Windows, use it in WSL")


def test_the_commands_say_it_in_one_line() -> None:
    """Without a traceback."""
    code = (
        "import sys; sys.modules['fcntl'] = None; sys.argv[0] = 'traj'\n"
        "from importlib.metadata import entry_points\n"
        "(script,) = entry_points(group='console_scripts', name='traj')\n"
        "script.load()(['validate', 'out.mct'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: trajfmt runs on Linux")
    assert done.stderr.count("\n") == 1

"""Ctrl-C at a chosen moment of a process: one line and exit code 130, or the code of what is finished."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

(ENTRY,) = entry_points(group="console_scripts", name="traj")
PACKAGE = ENTRY.module.rpartition(".")[0]
PRESS = "os.kill(os.getpid(), signal.SIGINT)"
WORK = f"""
from {PACKAGE} import commands
import click
@click.group(cls=commands.Group)
def main(): pass
@main.command()
def work():
    WORK
"""


def python(code: str, program: str = "traj") -> tuple[int, str, str]:
    """Run code as a process that was started as a program; return its exit code and what it printed."""
    start = f"import os, signal, sys; sys.argv[0] = {program!r}; PRESS = lambda: {PRESS}\n"
    start += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    command = [sys.executable, "-c", start + code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def work(body: str, rest: str = "main(['work'])") -> tuple[int, str, str]:
    """Run a command with some body."""
    return python(WORK.replace("WORK", body.replace("\n", "\n    ")) + rest)


STOPPED = (130, "", "error: interrupted\n")


def test_while_modules_are_imported() -> None:
    """Nothing can be lost yet, so the process ends at once."""
    assert python(f"import {PACKAGE}; PRESS(); print('went on')") == STOPPED


def test_while_options_are_parsed() -> None:
    """The same holds in the code of click."""
    option = "click.Option(['--stop'], is_flag=True, callback=lambda *_: PRESS())"
    rest = f"main.params.append({option}); main(['--stop', 'work'])"
    assert work("print('went on')", rest) == STOPPED


def test_while_a_command_works() -> None:
    """The command can clean up, and may say how to continue."""
    assert work("try: PRESS()\nfinally: print('cleaned')") == (130, "cleaned\n", "error: interrupted\n")
    told = "try: PRESS()\nexcept KeyboardInterrupt: raise KeyboardInterrupt('stopped; continue so') from None"
    assert work(told) == (130, "", "error: stopped; continue so\n")


def test_where_python_drops_every_exception() -> None:
    """An interruption within `__del__` is repeated until it takes effect."""
    body = "import time\nclass Noisy:\n    def __del__(self): PRESS()\nNoisy()\ntime.sleep(50)"
    assert work(body) == STOPPED


@pytest.mark.parametrize("error", ["ImportError('numpy failed')", "RuntimeError('odd')"])
def test_where_a_library_makes_another_error_of_it(error: str) -> None:
    """An extension module that is interrupted while it loads may raise something else."""
    assert work(f"try: PRESS()\nexcept KeyboardInterrupt: raise {error} from None") == STOPPED


def test_after_the_work() -> None:
    """The exit code of what is finished stays, and nothing more is printed."""
    late = "import atexit; atexit.register(PRESS); main(['work'])"
    assert work("print('done')", late) == (0, "done\n", "")
    failing = "raise FileNotFoundError(2, 'absent', 'a.mct')"
    assert work(failing, late) == (1, "", "error: a.mct: absent\n")


def test_a_program_that_imports_the_commands_keeps_its_own_handler() -> None:
    """Only processes that were started as traj or mct are changed."""
    code = f"import {PACKAGE}\ntry: PRESS()\nexcept KeyboardInterrupt: print('mine')"
    assert python(code, "notebook") == (0, "mine\n", "")

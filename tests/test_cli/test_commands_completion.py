"""Shells complete commands and options."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


def _completed(words: str, number: str, shell: str) -> str:
    """Return what `traj` answers to a shell that completes a word."""
    environment = {"COMP_WORDS": words, "COMP_CWORD": number, "_TRAJ_COMPLETE": f"{shell}_complete"}
    return subprocess.run([BIN / "traj"], env=environment, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("shell", "number", "found"),
    [("bash", "1", "plain,convert\n"), ("zsh", "1", "plain\nconvert\n"), ("fish", "conv", "plain,convert\t")],
)
def test_every_shell_completes_a_command(shell: str, number: str, found: str) -> None:
    """The answer has the form that the script of the shell reads."""
    assert _completed("traj conv", number, shell).startswith(found)


def test_bash_completes_an_option() -> None:
    """A real bash, which evaluates the line of the documentation, completes `--cod` to `--codec`."""
    script = (
        'eval "$(_TRAJ_COMPLETE=bash_source traj)"; COMP_WORDS=(traj convert --cod); COMP_CWORD=2; '
        '_traj_completion traj; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script],
        env={"PATH": f"{BIN}:/usr/bin:/bin"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "--codec\n", done.stderr

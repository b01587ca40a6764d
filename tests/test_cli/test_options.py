"""Inputs that are neither a file nor a folder: one rule for both programs."""

from __future__ import annotations

import os
import socket
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from click.testing import CliRunner

CASES = [
    "traj inspect X", "traj validate X", "traj convert X out.mct", "traj extract X --t 1 -o a.safetensors",
    "traj export X out", "mct distill --traj X", "mct experts --dataset X --out out.mct", "mct evaluate X",
    "mct convert-images X out.npz", "mct plot curve X -o a.png", "mct plot along X -o a.png",
    "mct plot images X -o a.png", "traj plot path X -o a.png", "traj plot storage X -o a.csv",
    "mct evaluate images.pt --dataset X", "mct distill --traj out.mct --dataset X",
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("suffix", ["", ".mct", ".npz", ".safetensors", ".pt"])
def test_what_is_no_file_and_no_folder_exits_5(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, suffix: str
) -> None:
    """A pipe does not block, and a device is not read, whatever the name."""
    monkeypatch.chdir(tmp_path)
    pipe, device = f"pipe{suffix}", f"device{suffix}"
    os.mkfifo(pipe)
    os.symlink("/dev/zero", device)
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(f"socket{suffix}")
    bound.close()
    for name in (pipe, device, f"socket{suffix}"):
        program, *words = case.replace("X", name).split()
        (script,) = entry_points(group="console_scripts", name=program)
        result = CliRunner().invoke(script.load(), words)
        assert result.exit_code == 5, result.output
        assert result.stderr.startswith(f"error: {name}: expected a regular file or a folder, found a pipe")
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""

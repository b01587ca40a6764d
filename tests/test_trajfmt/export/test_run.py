"""`export --to`: what DATM's, the MCT authors' and checkpoint-reading code expects; stubs; refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from traj_cli.traj import main

import trajfmt
from trajfmt import ParamLayout, UsageError
from trajfmt.convert.run import convert

torch = pytest.importorskip("torch")

import trajfmt.torch  # noqa: E402  # needs torch
from trajfmt.export.run import TARGETS, export  # noqa: E402

Array = NDArray[np.generic]


# --- all --------------------------------------------------------------------------------------------------


def test_targets_have_names(hundred: Path, tmp_path: Path) -> None:
    """The table is what --to offers; another name is one line."""
    assert [target.name for target in TARGETS] == ["mtt", "datm", "towers", "mct-authors", "checkpoints"]
    with trajfmt.open(hundred) as bundle, pytest.raises(UsageError, match="`to` must be one of mtt, datm"):
        export(bundle, tmp_path / "out", to="numpy")


def test_trajectories_of_a_file_are_no_option_of_checkpoints(hundred: Path, tmp_path: Path) -> None:
    """No file of theirs has several: the option is refused, and nothing is written."""
    with trajfmt.open(hundred) as bundle:
        for wrong, to in ((1, "checkpoints"), (10, "checkpoints"), (0, "mtt")):
            with pytest.raises(UsageError, match="`per_file`"):
                export(bundle, tmp_path / "out", to=to, per_file=wrong)
    done = CliRunner().invoke(
        main, ["export", str(hundred), str(tmp_path / "out"), "--to", "checkpoints", "--per-file", "10"]
    )
    assert done.exit_code == 2
    assert os.listdir(tmp_path) == [hundred.name]


@pytest.mark.parametrize("to", ["mtt", "mct-authors", "checkpoints"])
@pytest.mark.parametrize("in_place", [False, True])
def test_stopped_in_the_middle_leaves_nothing(
    to: str,
    in_place: bool,
    layout: ParamLayout,
    walk: Callable[..., Array],
    write_bundle: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Ctrl-C after the first trajectory: no destination, no rest of it."""
    if in_place and to == "checkpoints":
        return

    def stop(number: int) -> None:
        if number == 1:
            raise KeyboardInterrupt

    number = None if to == "checkpoints" else 1
    path = write_bundle(layout, *(walk(layout, 5, seed) for seed in range(3)))
    with trajfmt.open(path) as bundle, pytest.raises(KeyboardInterrupt):
        export(bundle, tmp_path / "out", to=to, in_place=in_place, per_file=number, on_trajectory=stop)
    assert os.listdir(tmp_path) == [path.name]


def test_the_command_is_interrupted_cleanly(hundred: Path, tmp_path: Path) -> None:
    """SIGINT in the middle of a long export: exit code 130, one line, nothing at the destination."""
    code = (
        "import sys, time; from importlib.metadata import entry_points\n"
        "import trajfmt.export.checkpoints as target\n"
        "plain = target._checkpoint\n"
        "def slow(*a, **k): print('.', flush=True); time.sleep(0.05); plain(*a, **k)\n"
        "target._checkpoint = slow\n"
        "sys.argv = ['traj', 'export', *sys.argv[1:]]\n"
        "(script,) = entry_points(group='console_scripts', name='traj'); sys.exit(script.load()())"
    )
    arguments = [hundred, tmp_path / "out", "--to", "checkpoints"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in told
    assert os.listdir(tmp_path) == [hundred.name]


@pytest.mark.parametrize("to", ["mtt", "datm", "mct-authors", "checkpoints"])
def test_the_command_exports(to: str, hundred: Path, tmp_path: Path) -> None:
    """All targets from the command line, in place where that is possible; notes go to stderr."""
    source = hundred
    if to == "mct-authors":
        source = tmp_path / "a.mct"
        convert(hundred, source)
    ways: list[list[str]] = [[]] if to == "checkpoints" else [[], ["--in-place"]]
    for number, way in enumerate(ways):
        target = tmp_path / f"out{number}"
        done = CliRunner().invoke(main, ["export", str(source), str(target), "--to", to, *way])
        assert done.exit_code == 0, done.output
        assert "100 trajectories" in done.stdout
        assert ("trajfmt.torch.load" in done.stdout) == bool(way)
        assert any(target.iterdir())


def test_stub_text_is_small_and_plain(hundred: Path, tmp_path: Path) -> None:
    """One line of JSON with a relative path: no pickle, nothing to run."""
    with trajfmt.open(hundred) as bundle:
        export(bundle, tmp_path / hundred.name / ".." / "out", in_place=True)
    text = (tmp_path / "out" / "replay_buffer_3.pt").read_text()
    stub = json.loads(text)
    assert text.count("\n") == 1
    assert stub == {
        "trajfmt_buffer": 1,
        "kind": "trajectories",
        "bundle": f"../{hundred.name}",
        "first": 30,
        "count": 10,
        "digest": stub["digest"],
    }
    assert msgspec.json.decode(text)["first"] == 30

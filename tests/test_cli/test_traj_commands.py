"""What every command of `traj` does alike: help, usage, exit codes, pipes, start-up without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.sealing import edited

COMMANDS = ("convert", "inspect", "extract", "validate", "export")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_every_command(traj: Any, command: str, flag: str) -> None:
    """Every command explains itself and its options, and exits 0."""
    done = traj(command, flag)
    assert done.code == 0
    assert done.out.startswith(f"Usage: traj {command}")
    assert "--help" in done.out
    assert done.err == ""


def test_help_of_the_group_names_every_command_and_exit_code(traj: Any) -> None:
    """`traj --help` lists the commands and what the exit codes mean."""
    done = traj("--help")
    assert done.code == 0
    for word in (*COMMANDS, "0 success", "2 wrong usage", "4 damaged", "130 interrupted"):
        assert word in " ".join(done.out.split())


def test_version(traj: Any) -> None:
    """`--version` says the package's version."""
    import trajfmt

    assert trajfmt.__version__ in traj("--version").out


@pytest.mark.parametrize(
    "arguments",
    [
        "nonsense",
        "convert",
        "convert a",
        "convert a b c",
        "convert a out.zip",
        "convert a out.mct --layers tensors",
        "convert a out.mct --codec gzip",
        "convert a out.mct --knots 6;25",
        "convert a out.mct --knots 25,6",
        "convert a out.mct --knots 0,6",
        "convert a out.mct --knots 6,6",
        "convert a out.mct --knots -3",
        "convert a out.mct --knots 1.5",
        "convert a out.mct --timesteps 5",
        "convert a out.mct --timesteps 5:5",
        "convert a out.mct --timesteps 5:3",
        "convert a out.mct --timesteps -5:-1",
        "convert a out.mct --timesteps 0:9:2",
        "convert nowhere out.mct",
        "convert nowhere out.mct --dry-run",
        "inspect",
        "inspect nowhere",
        "inspect nowhere.pt",
        "inspect a --trajectory -1",
        "inspect a --trajectory one",
        "extract a",
        "extract a --t one -o x.safetensors",
        "extract nowhere --t 1 -o x.safetensors",
        "validate",
        "validate nowhere",
        "export a",
        "export nowhere back",
        "export a back --per-file 0",
    ],
)
def test_wrong_usage_exits_2(
    traj: Any, tmp_path: Path, arguments: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong argument is exit 2, says something, shows no traceback and creates nothing."""
    monkeypatch.chdir(tmp_path)
    done = traj(*arguments.split())
    assert done.code == 2
    assert done.err
    assert "Traceback" not in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("convert SOURCE new.mct --codec none", "--codec is for a .mtt"),
        ("convert SOURCE new.mtt --knots 1", "for convexified bundles"),
        ("convert SOURCE new.mtt --buffers drop", "--buffers drop is for checkpoints"),
        ("convert SOURCE new.mtt --buffer x", "--buffer is for checkpoints"),
        ("convert SOURCE new.mtt --key model", "--key is for checkpoints"),
        ("convert SOURCE new.mtt --trust-pickle", "--trust-pickle is for pickles"),
        ("convert memory://gone.mct new.mtt --select x", "--select is for checkpoints"),
        ("convert memory://gone.mct new.mtt --trust-pickle", "--trust-pickle is for pickles"),
        ("inspect SOURCE --key model", "are not for bundles"),
        ("export SOURCE new --to checkpoints --per-file 10", "--per-file does not apply to checkpoints"),
        ("export SOURCE new --to checkpoints --in-place", "only files for torch.load"),
        ("export SOURCE new --to datm --per-file 9", "requires 10 trajectories in each file"),
    ],
)
def test_options_that_do_not_apply_are_refused(
    traj: Any, tmp_path: Path, bundle: Any, arguments: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is ignored: exit 2, the option is named, and nothing is written."""
    source = bundle()
    monkeypatch.chdir(tmp_path)
    done = traj(*(source if word == "SOURCE" else word for word in arguments.split()))
    assert done.code == 2
    assert told in done.err
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    "command", ["inspect", "inspect --json", "validate", "export", "extract", "inspect --layers"]
)
@pytest.mark.parametrize("what", ["empty folder", "file", "other manifest", "future"])
def test_not_a_bundle_exits_3(traj: Any, tmp_path: Path, bundle: Any, command: str, what: str) -> None:
    """What is no bundle, or one of a later version, is exit 3 from every command."""
    path = tmp_path / "thing"
    if what == "file":
        path.write_bytes(b"text")
    elif what == "future":
        manifest = bundle() / "manifest.json"
        path = manifest.parent
        plain = json.loads(manifest.read_bytes())
        manifest.write_text(json.dumps({**plain, "version": {"major": 2, "minor": 0}, "new_key": 1}))
    else:
        path.mkdir()
        if what == "other manifest":
            (path / "manifest.json").write_text('{"manifest_version": 3}')
    extra = {"export": [tmp_path / "back"], "extract": ["--t", 1, "-o", tmp_path / "x.safetensors"]}
    done = traj(*command.split(), path, *extra.get(command, []))
    assert done.code == 3
    if command != "validate":
        assert done.error
        assert done.out == ""
    assert not (tmp_path / "back").exists()
    assert not (tmp_path / "x.safetensors").exists()


def test_damaged_bundle_exits_4(traj: Any, tmp_path: Path, bundle: Any) -> None:
    """A cut file is exit 4 where it is read, in one line."""
    path = bundle()
    victim = next((path / "knots").iterdir())
    os.truncate(victim, victim.stat().st_size - 1)
    done = traj("extract", path, "--t", 1, "-o", tmp_path / "x.safetensors")
    assert (done.code, "file_size_mismatch" in done.error) == (4, True)
    assert traj("inspect", path, "--layers").code == 4
    assert traj("validate", path).code == 4
    assert not (tmp_path / "x.safetensors").exists()


def test_unsafe_bundle_exits_5(traj: Any, tmp_path: Path, bundle: Any) -> None:
    """A manifest that points out of its folder is exit 5 from every command."""
    path = bundle()
    edited(path, b"knots/00000", b"../../etc/passwd")
    for arguments in (
        ("inspect", path),
        ("validate", path),
        ("export", path, tmp_path / "back"),
        ("extract", path, "--t", 1, "-o", tmp_path / "x.safetensors"),
    ):
        assert traj(*arguments).code == 5
    assert not (tmp_path / "back").exists()


def test_unsafe_pickle_exits_5_and_does_not_run(traj: Any, tmp_path: Path, buffer: Any) -> None:
    """A hostile .pt is exit 5 from convert, its dry run and inspect; the code in it does not run."""
    trap = tmp_path / "trap"

    class Touch:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (trap,))

    folder = buffer(content=[[[Touch()]]])
    for arguments in (
        ("convert", folder, tmp_path / "out.mct"),
        ("convert", folder, tmp_path / "out.mct", "--dry-run"),
        ("convert", folder, tmp_path / "out.mct", "--skip-bad"),
        ("inspect", folder),
    ):
        done = traj(*arguments)
        assert done.code == 5
        assert "--trust-pickle" in done.error
    assert not trap.exists()
    assert not (tmp_path / "out.mct").exists()


NO_TORCH = """
import sys
from importlib.metadata import entry_points
(script,) = entry_points(group="console_scripts", name="traj")
try:
    script.load().main(sys.argv[1:], prog_name="traj")
except SystemExit as exc:
    assert not exc.code, exc.code
loaded = sorted(name for name in ("torch", "click", "h5py", "rich") if name in sys.modules)
print("LOADED", *loaded, file=sys.stderr)
"""


@pytest.mark.parametrize(
    "case",
    ["--help", "convert --help", "inspect", "inspect --json", "inspect --layers", "validate", "extract"],
)
def test_commands_on_bundles_do_not_import_torch(tmp_path: Path, bundle: Any, case: str) -> None:
    """Help, and everything that reads a bundle, loads no torch, and rich where tables are shown only."""
    arguments = case.split()
    if "--help" not in arguments:
        arguments.append(str(bundle()))
    if case == "extract":
        arguments += ["--t", "1.5", "-o", str(tmp_path / "x.safetensors")]
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    loaded = done.stderr.rpartition("LOADED")[2].split()
    assert done.returncode == 0, done.stderr
    assert "torch" not in loaded
    if case not in ("inspect", "inspect --layers"):
        assert "rich" not in loaded


def test_module_and_console_script_are_the_same_command(tmp_path: Path) -> None:
    """`python -m traj_cli.traj` is `traj`."""
    done = subprocess.run(
        [sys.executable, "-m", "traj_cli.traj", "inspect", str(tmp_path / "nowhere")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")


@pytest.mark.parametrize(
    "case",
    [
        ["--help"],
        ["inspect", "B", "B", "B"],
        ["inspect", "B", "--json"],
        ["inspect", "B", "--layers"],
        ["validate", "B", "B"],
        ["validate", "B", "--json"],
    ],
    ids=" ".join,
)
def test_reader_that_goes_away_causes_no_traceback(process: Any, bundle: Any, case: list[str]) -> None:
    """As in `traj … | head -1`: a closed pipe ends the command quietly."""
    reader, writer = os.pipe()
    os.close(reader)
    path = bundle()
    running = process(*(path if word == "B" else word for word in case), stdout=writer)
    os.close(writer)
    _, err = running.communicate(timeout=60)
    assert running.returncode in (0, 1)
    assert b"Traceback" not in err
    assert b"BrokenPipe" not in err


def test_output_into_a_pipe_has_no_escape_codes(process: Any, bundle: Any) -> None:
    """Without a terminal there are neither colours nor cursor movements, and lines are whole."""
    path = bundle()
    for arguments in (("inspect", path), ("inspect", path, "--layers"), ("validate", path)):
        out, err = process(*arguments).communicate(timeout=60)
        assert b"\x1b" not in out + err
        assert out.strip()
        assert err == b""


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(["--json"], id="json"),
        pytest.param([], id="table"),
        pytest.param(["--layers"], id="layers"),
    ],
)
def test_output_in_a_plain_locale(process: Any, bundle: Any, form: list[str]) -> None:
    """In an ASCII locale JSON stays UTF-8, and tables lose characters rather than the command its life."""
    path = bundle(dataset="Zürich")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    running = process("inspect", path, *form, env=environment)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    assert err == b""
    if form == ["--json"]:
        assert json.loads(out)["provenance"]["dataset"] == "Zürich"

"""Options in a file: what it may state, what overrides it, and what is refused, with its place."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

(SCRIPT,) = entry_points(group="console_scripts", name="traj")
PACKAGE = SCRIPT.module.rpartition(".")[0]
commands = import_module(f"{PACKAGE}.commands")
configs = import_module(f"{PACKAGE}.configs")
values = import_module(f"{PACKAGE}.values")


@click.group(cls=commands.Group)
def main() -> None:
    """Commands with an option of every kind."""


@main.group(cls=commands.Group)
def plot() -> None:
    """Return a group inside the group."""


@plot.command()
@click.argument("source", required=False)
@click.argument("rest", nargs=-1, metavar="MORE…")
@click.option("--count", "number", type=int)
@click.option("--rate", type=float)
@click.option("--kind", type=click.Choice(["one", "two"]))
@click.option("--flag", is_flag=True)
@click.option("--zca/--no-zca", default=None)
@click.option("--knots", type=values.INTEGERS, default=())
@click.option("--name", multiple=True)
@click.option("-o", "--output", type=values.PATH, required=True)
def curve(**given: Any) -> None:
    """Print what was given."""
    click.echo(json.dumps(given, default=str))


WHOLE = """
[plot.curve]
source = "a b"
more = ["-c", "d"]
count = 500
rate = 1e-7
kind = "two"
flag = true
zca = false
knots = [6, 25]
name = ["x", "y"]
output = "out.png"

[distill]
ipc = 10
"""
PARSED = {
    "source": "a b",
    "rest": ["-c", "d"],
    "number": 500,
    "rate": 1e-7,
    "kind": "two",
    "flag": True,
    "zca": False,
    "knots": [6, 25],
    "name": ["x", "y"],
    "output": "out.png",
}


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Return a function that writes a file and runs the command with it."""

    def start(text: str, *more: str) -> Result:
        path = tmp_path / "options.toml"
        path.write_text(text)
        return CliRunner().invoke(main, ["plot", "curve", "--config", str(path), *more])

    return start


def test_every_kind_of_option_and_argument_is_read(run: Any) -> None:
    """Each by its long name, with the value that the command line would give; other tables are left alone."""
    result = run(WHOLE)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == PARSED


def test_the_command_line_wins(run: Any) -> None:
    """Option by option, whatever their order; arguments that may be several are replaced together."""
    result = run(WHOLE, "--count", "3", "--no-zca", "--name", "z", "--knots=7", "q", "r")
    changed = {"number": 3, "zca": False, "name": ["z"], "knots": [7], "source": "q", "rest": ["r"]}
    assert json.loads(result.stdout) == {**PARSED, **changed}


def test_one_value_is_a_list_of_one(run: Any) -> None:
    """For an option that may be repeated, and for an argument that may be several."""
    found = json.loads(run("[plot.curve]\nname = 'x'\nmore = 'y'\noutput = 'z'").stdout)
    assert (found["name"], found["rest"]) == (["x"], ["y"])


def test_dump_config_prints_a_file_that_gives_the_same(run: Any) -> None:
    """From the command line and from a file, and the command itself does not run."""
    dumped = run(WHOLE, "--count", "3", "--dump-config").stdout
    again = json.loads(run(dumped).stdout)
    assert again == {**PARSED, "number": 3}
    words = ["plot", "curve", "-o", "x.png", "--rate", "0.5", "--flag", "--dump-config"]
    result = CliRunner().invoke(main, words)
    assert result.stdout == '[plot.curve]\nrate = 0.5\nflag = true\noutput = "x.png"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[plot.curve]\ncuont = 3", "[plot.curve] has no option 'cuont'; did you mean 'count'?"),
        ("[plot.curve]\nnumber = 3", "[plot.curve] has no option 'number'"),
        ("[plot.curve]\nconfig = 'x'", "[plot.curve] has no option 'config'"),
        ("[plot.curve]\nflag = 1", "`flag` in [plot.curve] must be true or false, got 1"),
        ("[plot.curve]\ncount = true", "`count` in [plot.curve] must be a string or a number, got True"),
        ("[plot.curve]\nname = [['x']]", "`name` in [plot.curve] must be a string or a number, got [['x']]"),
        ("[plot.curve]\nrate = [1]", "`rate` in [plot.curve] must be a string or a number, got [1]"),
        ("[plot.curve]\noutput = {a = 1}", "`output` in [plot.curve] must be a string or a number"),
        ("count = 3", "`count` is in no table; put it below [plot.curve]"),
        ("[plto.curve]\ncount = 3", "there is no command 'plto'; did you mean 'plot'?"),
        ("[distill]\nipc = 1", "there is no table [plot.curve] for this command; add it"),
        ("[plot]\nx = 1", "there is no table [plot.curve] for this command; add it"),
        ("[plot.curve\n", "is not valid TOML: "),
    ],
)
def test_what_is_not_understood_is_refused(run: Any, tmp_path: Path, text: str, message: str) -> None:
    """In one line with the file, the table and the nearest name, and exit code 2."""
    result = run(text)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {tmp_path / 'options.toml'}: {message}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("count = 1.5", "'1.5' is not a valid integer"),
        ("kind = 'three'", "'three' is not one of 'one', 'two'"),
    ],
)
def test_the_type_of_the_option_checks_a_value(run: Any, tmp_path: Path, line: str, message: str) -> None:
    """The message is that of the command line, with the file."""
    result = run(f"[plot.curve]\noutput = 'x'\n{line}")
    assert result.exit_code == 2
    assert message in result.stderr
    assert f"(in {tmp_path / 'options.toml'})" in result.stderr


def test_help_and_a_missing_file(tmp_path: Path) -> None:
    """Help does not need the file; a command does."""
    words = ["plot", "curve", "--config", str(tmp_path / "absent.toml")]
    assert CliRunner().invoke(main, [*words, "--help"]).exit_code == 0
    result = CliRunner().invoke(main, words)
    assert (result.exit_code, result.stderr) == (
        2,
        f"error: {tmp_path / 'absent.toml'}: no such file; --config needs a TOML file\n",
    )


def test_a_real_command_is_repeated_by_its_file(traj: Any, bundle: Any, tmp_path: Path) -> None:
    """`traj extract` with everything in the file writes the same bytes."""
    target = tmp_path / "a.safetensors"
    words = ["extract", bundle(), "--t", "1.5", "--trajectory", "1", "-o", target]
    dumped = traj(*words, "--dump-config")
    assert (dumped.code, target.exists()) == (0, False)
    assert traj(*words).code == 0
    file = tmp_path / "extract.toml"
    file.write_text(dumped.out)
    again = tmp_path / "b.safetensors"
    assert traj("extract", "--config", file, "-o", again).code == 0
    assert again.read_bytes() == target.read_bytes()


def test_a_file_of_the_user_is_not_replaced(tmp_path: Path) -> None:
    """Only one that a run has written, by its first line."""
    ctx = click.Context(curve, info_name="curve", parent=click.Context(main, info_name="main"))
    path = tmp_path / "run.toml"
    assert configs.write(path, ctx, {"count": 3}, "a remark")
    first, second, *rest = path.read_text().splitlines()
    assert first == "# Written by mct curve. To repeat the run: mct curve --config run.toml --out OTHER"
    assert (second, rest) == ("# a remark", ["[curve]", "count = 3"])
    assert configs.write(path, ctx, {"count": 4})
    path.write_text("[curve]\ncount = 5\n")
    assert not configs.write(path, ctx, {"count": 6})
    assert path.read_text() == "[curve]\ncount = 5\n"

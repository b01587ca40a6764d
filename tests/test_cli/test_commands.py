"""Options given twice are refused, by every command of both programs."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

SCRIPTS = entry_points(group="console_scripts")
PROGRAMS = {script.name: script for script in SCRIPTS if script.name in ("traj", "mct")}
PACKAGE = PROGRAMS["traj"].module.rpartition(".")[0]


def leaves(group: click.Group, *words: str) -> Iterator[tuple[list[str], click.Command]]:
    """Yield every command of a group that is no group itself, with the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, *words, name)
        else:
            yield [*words, name], command


def run(program: str, *arguments: object) -> Result:
    """Run a program in this process."""
    return CliRunner().invoke(PROGRAMS[program].load(), list(map(str, arguments)))


@pytest.mark.parametrize("program", ["traj", "mct"])
def test_every_option_with_a_value_is_given_once(program: str) -> None:
    """The error names the option and both values, in one line, whatever else is given."""
    tried = 0
    for words, command in leaves(PROGRAMS[program].load()):
        assert isinstance(command, import_module(f"{PACKAGE}.commands").Command), words
        for option in command.params:
            if not isinstance(option, click.Option) or option.is_flag or option.multiple:
                continue
            first, last = option.opts[0], option.opts[-1]
            result = run(program, *words, first, "one", last, "two")
            said = f"error: {max(option.opts, key=len)} was given twice: one, then two; give it once\n"
            assert (result.exit_code, result.stderr) == (2, said)
            tried += 1
    assert tried > 9


@pytest.mark.parametrize("words", ["--knots=1 --knots 2", "--knots 2 --smooth --knots 2"])
def test_other_spellings_and_equal_values_are_refused_too(words: str) -> None:
    """Neither the form of the option nor what lies between matters."""
    result = run("traj", "convert", "a", "b.mct", *words.split())
    assert result.exit_code == 2
    assert "--knots was given twice: " in result.stderr


def test_a_flag_may_be_repeated_and_not_contradicted() -> None:
    """The same flag says the same twice; its opposite says something else."""
    assert run("traj", "sources", "--json", "--json").exit_code == 0
    result = run("traj", "convert", "a", "b.mct", "--zca", "--no-zca")
    assert result.exit_code == 2
    assert result.stderr == "error: --zca and --no-zca contradict each other; give one of them\n"


@pytest.mark.parametrize("words", [["absent"], ["inspect", "--\x1b[31mred"], ["inspect", "x" * 70_000]])
def test_what_was_typed_is_shown_short_and_escaped(words: list[str]) -> None:
    """Neither a control character nor 70 kB reach the terminal."""
    result = run("traj", *words)
    assert result.exit_code in (1, 2)
    assert "\x1b" not in result.stderr
    assert words[-1][:4] in result.stderr.replace("\\x1b", "\x1b")
    assert max(map(len, result.stderr.splitlines())) < 2100


@pytest.mark.parametrize("program", ["traj", "mct"])
def test_every_command_has_the_short_option_of_its_help(program: str) -> None:
    """`-h` works for groups and their commands, and the reference names it."""
    reference = (Path(__file__).parents[2] / "docs/commands.md").read_text()
    group = PROGRAMS[program].load()
    paths = {tuple(words[:count]) for words, _ in leaves(group) for count in range(len(words) + 1)}
    for words in paths:
        shown = CliRunner().invoke(group, [*words, "-h"], prog_name=program)
        assert shown.output.startswith(f"Usage: {' '.join([program, *words])} [OPTIONS]")
        section = reference.split(f"# {' '.join([program, *words])}\n", 1)[1].split("\n#", 1)[0]
        assert "-h, --help" in section

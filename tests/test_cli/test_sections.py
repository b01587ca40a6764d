"""The help of a command with many options lists each of them once, below the heading where a reader looks."""

from __future__ import annotations

import re

import click
import pytest
from click.testing import CliRunner
from traj_cli import sections
from traj_cli.mct import main

DIVIDED = {"distill": sections.DISTILL, "experts": sections.EXPERTS, "evaluate": sections.EVALUATE}
COMMON = ["--config", "--dump-config", "--help"]


@pytest.mark.parametrize("name", DIVIDED)
def test_every_option_is_in_one_section(name: str) -> None:
    """A new option is given a place: only the options of all commands are left for the last heading."""
    command = main.commands[name]
    found = list(sections.divided(DIVIDED[name], command.get_params(click.Context(command))))
    assert [heading for heading, _ in found] == [*DIVIDED[name], sections.OTHER]
    assert [option.opts[-1] for option in found[-1][1]] == COMMON


@pytest.mark.parametrize("name", DIVIDED)
def test_the_help_has_the_headings_in_order(name: str) -> None:
    """Each is followed by its options, whose texts begin in one column."""
    shown = CliRunner().invoke(main, [name, "--help"]).output
    assert re.findall(r"^(\S.*):$", shown, re.MULTILINE) == [*DIVIDED[name], sections.OTHER]
    flags = re.findall(r"^  (?:-\w, )?(--[\w-]+)", shown, re.MULTILINE)
    assert flags == [*(flag for each in DIVIDED[name].values() for flag in each), *COMMON]
    columns = {len(start) for start in re.findall(r"^(  --[\w-]+(?: \w+)?  +)\w", shown, re.MULTILINE)}
    assert columns == {34}


def test_a_command_without_sections_has_options() -> None:
    """It lists them in the order of their declaration."""
    command = main.commands["presets"]
    ((heading, options),) = sections.divided({}, command.get_params(click.Context(command)))
    assert heading == "Options"
    assert [option.opts[-1] for option in options][-3:] == COMMON

"""Errors in the words of the command that failed."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from trajfmt.errors import CorruptError, UsageError

(SCRIPT,) = entry_points(group="console_scripts", name="traj")
PACKAGE = SCRIPT.module.rpartition(".")[0]
commands = import_module(f"{PACKAGE}.commands")
failures = import_module(f"{PACKAGE}.failures")


def said(error: Exception) -> str:
    """Return what a command prints that fails with an error, without `error: `."""

    @click.group(cls=commands.Group)
    def main() -> None:
        """Have one command."""

    @main.command()
    @click.option("--steps", "inner_steps", type=int)
    def work(**_given: Any) -> None:
        """Fail."""
        raise error

    result = CliRunner().invoke(main, ["work", "--steps", "3"])
    assert result.exit_code == getattr(error, "exit_code", 1)
    return result.stderr.removeprefix("error: ").removesuffix("\n")


def test_a_setting_is_called_as_its_option() -> None:
    """Whatever the library calls it; other names stay as they are."""
    assert said(UsageError("`inner_steps` must be > 0, `x` too")) == "--steps must be > 0, `x` too"


def test_a_key_of_a_damaged_file_is_not_an_option() -> None:
    """Even if it has the same name."""
    text = said(CorruptError("manifest_invalid", "`inner_steps` must be a number"))
    assert text.startswith("`inner_steps` must be a number")


@pytest.mark.parametrize(
    ("program", "package", "extra"),
    [
        ("traj", "torch", "torch"),
        ("mct", "torch", "mct"),
        ("mct", "kornia.enhance", "mct"),
        ("traj", "matplotlib.pyplot", "plot"),
        ("traj", "fsspec", "remote"),
        ("mct", "tensorboard", "tensorboard"),
    ],
)
def test_a_missing_package_is_said_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, program: str, package: str, extra: str
) -> None:
    """The extra depends on the program: `mct` needs more of the same package."""
    monkeypatch.setattr(sys, "argv", [program])
    text = said(ModuleNotFoundError("no", name=package))
    wanted = f"the package {package!r} is needed and not installed; install it with: pip install"
    assert text == f"{wanted} 'trajfmt[{extra}]'"


def test_a_package_of_the_user_has_no_extra() -> None:
    """Such as the module of a network of their own."""
    text = said(ModuleNotFoundError("no", name="mynets"))
    assert text == "the package 'mynets' is needed and not installed"


def test_the_extras_are_those_of_the_project() -> None:
    """Every one that a message names exists."""
    project = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text()
    named = {extra for extras in failures._EXTRAS.values() for extra in extras}
    assert {extra for extra in named if f"\n{extra} = [" not in project} == set()

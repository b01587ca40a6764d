"""What is printed cannot control a terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

NASTY = "a\x9b31mb\u202ec\x7fd\x1b]0;e\x07"


@pytest.mark.parametrize("command", ["inspect", "validate"])
def test_json_is_ascii_and_keeps_every_character(
    traj: Any, bundle: Any, tmp_path: Path, command: str
) -> None:
    """C1 controls, DEL and overrides of the writing direction are escaped, and come back when parsed."""
    path = tmp_path / f"{NASTY}é.mct"
    bundle(dataset=NASTY).rename(path)
    done = traj(command, "--json", path)
    assert done.code == 0
    assert all(" " <= character <= "~" for character in done.out.rstrip("\n"))
    facts = json.loads(done.out)
    assert facts["path"] == str(path)
    if command == "inspect":
        assert facts["provenance"]["dataset"] == NASTY


def test_json_of_layers(traj: Any, bundle: Any) -> None:
    """The names of layers come from the file, too."""
    done = traj("inspect", "--json", "--layers", bundle(parameter="w\x85\u2066x"))
    assert done.code == 0
    assert done.out.isascii()
    assert "w\x85\u2066x" in json.loads(done.out.splitlines()[0])["name"]


@pytest.mark.parametrize("arguments", [["inspect"], ["inspect", "--layers"], ["validate"]])
def test_tables_and_lines_have_no_control_characters(
    traj: Any, bundle: Any, tmp_path: Path, arguments: list[str]
) -> None:
    """All of it is printable."""
    path = tmp_path / f"{NASTY}.mct"
    bundle(dataset=NASTY, parameter="w\x9bx\u202e").rename(path)
    done = traj(*arguments, path)
    assert done.code == 0
    assert all(line.isprintable() for line in (done.out + done.err).splitlines())


def test_only_few_modules_print() -> None:
    """All others hand their lines to these, which escape them."""
    from importlib.metadata import entry_points
    from importlib.util import find_spec

    (script,) = entry_points(group="console_scripts", name="traj")
    spec = find_spec(script.module)
    assert spec is not None
    assert spec.origin is not None
    printing = {
        file.name
        for file in Path(spec.origin).parent.glob("*.py")
        if any(word in file.read_text() for word in ("print(", "click.echo", "secho", "stdout.write"))
    }
    assert printing == {"demo.py", "lines.py", "meters.py", "sharing.py", "streams.py", "tables.py"}

"""The tutorials do what they say: their blocks run in order, and print what stands below them."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from click.testing import CliRunner

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "tutorials"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def _commands(text: str) -> Iterator[str]:
    """Run `traj` and `mct` in this process, and yield what each of them prints."""
    for line in text.splitlines():
        program, *arguments = shlex.split(line)
        (entry,) = entry_points(group="console_scripts", name=program)
        result = CliRunner().invoke(entry.load(), arguments)
        assert result.exit_code == 0, f"{line}: {result.output}"
        yield result.stdout


def _shape(line: str) -> str:
    """Return a line without the digits of measured numbers, and with single spaces."""
    return " ".join(re.sub(r"\d+(?:\.\d+)?(?=%)", "#", line).split())


@pytest.mark.parametrize("page", sorted(FOLDER.glob("*.md")), ids=lambda page: page.stem)
def test_blocks_run_and_print_what_they_say(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every line of an output block is in the output of the block before it, percentages aside."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    printed, kinds = "", []
    for language, text in BLOCK.findall(page.read_text()):
        kinds.append(language)
        if language == "sh":
            printed = "".join(_commands(text))
        elif language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(text, page.name, "exec"), names)
            printed = out.getvalue()
        else:
            found = {_shape(line) for line in printed.splitlines()}
            assert [line for line in text.splitlines() if _shape(line) not in found] == [], printed
    assert {"sh", "python", ""} <= set(kinds)

"""`mct report`: the files that it writes, and what it refuses."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("click")

from click.testing import CliRunner, Result

from tests.helpers import run_folders
from tests.helpers.pages import assert_sound


def run(*arguments: object) -> Result:
    """Run `mct report` in this process."""
    (entry,) = entry_points(group="console_scripts", name="mct")
    return CliRunner().invoke(entry.load(), ["report", *map(str, arguments)])


def test_page_and_numbers(tmp_path: Path) -> None:
    """Both files of two runs."""
    runs = [run_folders.write(tmp_path / name, run_folders.origin()) for name in ("one", "two")]
    page, numbers = tmp_path / "r.html", tmp_path / "r.json"
    done = run(*runs, "-o", page, "-o", numbers)
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"{page}\n{numbers}\n", "")
    assert len(assert_sound(page.read_bytes()).all("img")) == 4
    assert [found["path"] for found in json.loads(numbers.read_text())["runs"]] == list(map(str, runs))


def test_folders_that_are_no_run(tmp_path: Path) -> None:
    """One line that says which folder to give, and no file."""
    (tmp_path / "empty").mkdir()
    for name in ("empty", "absent"):
        done = run(tmp_path / name, "-o", tmp_path / "r.html")
        assert done.exit_code == 2
        assert done.stderr.startswith(f"error: {tmp_path / name}: ")
        assert "give the folder of a run" in done.stderr
    assert not (tmp_path / "r.html").exists()


def test_an_existing_file_stays(tmp_path: Path) -> None:
    """Unless --force is given."""
    folder = run_folders.write(tmp_path / "one", run_folders.origin())
    (tmp_path / "r.html").write_text("mine")
    assert run(folder, "-o", tmp_path / "r.html").exit_code == 2
    assert (tmp_path / "r.html").read_text() == "mine"
    assert run(folder, "-o", tmp_path / "r.html", "--force").exit_code == 0
    assert_sound((tmp_path / "r.html").read_bytes())

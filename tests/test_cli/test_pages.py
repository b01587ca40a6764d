"""`traj report`: the files that it writes, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.pages import assert_sound


def test_page_and_numbers(traj: Any, bundle: Any, tmp_path: Path) -> None:
    """Both files of one bundle, and of several; each path is printed."""
    one, two = bundle(gram=True), bundle("full.mtt")
    page, numbers = tmp_path / "r.html", tmp_path / "r.json"
    done = traj("report", one, two, "-o", page, "-o", numbers)
    assert (done.code, done.out, done.err) == (0, f"{page}\n{numbers}\n", "")
    assert "Comparison" in assert_sound(page.read_bytes()).text
    assert [found["shown"] for found in json.loads(numbers.read_text())["bundles"]] == [0, 0]
    done = traj("report", one, "-o", numbers, "--force", "--trajectory", 1, "--verify")
    assert done.code == 0
    (found,) = json.loads(numbers.read_text())["bundles"]
    assert (found["shown"], found["verified"]) == (1, True)


def test_nothing_is_written_over_or_elsewhere(traj: Any, bundle: Any, tmp_path: Path) -> None:
    """An existing file, another suffix, a missing folder and a folder are refused before any work."""
    path = bundle()
    (tmp_path / "mine.html").write_text("mine")
    (tmp_path / "folder.html").mkdir()
    for name, said in (
        ("mine.html", "exists; choose another name with -o, or pass --force"),
        ("folder.html", "exists; choose another name"),
        ("r.pdf", "end its name in .html for the page, or in .json for its numbers"),
        ("absent/r.html", "no such folder; create it first"),
    ):
        done = traj("report", path, "-o", tmp_path / "new.html", "-o", tmp_path / name)
        assert done.code == 2
        assert said in done.error
    assert (tmp_path / "mine.html").read_text() == "mine"
    assert not (tmp_path / "new.html").exists()


@pytest.mark.parametrize("damaged", ["absent", "no_bundle", "flipped"])
def test_bundles_that_cannot_be_read(traj: Any, bundle: Any, tmp_path: Path, damaged: str) -> None:
    """One line, the usual exit code, and no file, also if other bundles are sound."""
    sound, path = bundle(), tmp_path / "other.mct"
    code = 2
    if damaged == "no_bundle":
        path.mkdir()
        code = 3
    if damaged == "flipped":
        path = bundle("other.mct")
        file = path / "tables" / "00000.h5"
        file.write_bytes(file.read_bytes()[:-1] + b"x")
        code = 4
    done = traj("report", sound, path, "-o", tmp_path / "r.html")
    assert done.code == code
    assert str(path) in done.error
    assert not (tmp_path / "r.html").exists()


def test_neither_torch_nor_matplotlib_is_imported(bundle: Any, tmp_path: Path, python: Any) -> None:
    """A report needs numpy and the readers, and nothing that takes long to import."""
    code = (
        "import sys; from importlib.metadata import entry_points\n"
        "(entry,) = entry_points(group='console_scripts', name='traj')\n"
        "try: entry.load().main(['report', *sys.argv[1:]], prog_name='traj')\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert not {'torch', 'matplotlib', 'rich', 'h5py'} & set(sys.modules), sys.modules\n"
    )
    assert python(code, bundle(gram=True), "-o", tmp_path / "r.html") == f"{tmp_path / 'r.html'}\n"


def test_interrupted_it_leaves_nothing(bundle: Any, tmp_path: Path, process: Any) -> None:
    """Ctrl-C is exit code 130, and no part of a page is left."""
    paths = [bundle(f"b{n}.mct", gram=True) for n in range(2)] * 400
    running = process("report", *paths, "-o", tmp_path / "r.html")
    time.sleep(1.2)
    os.kill(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert err.decode() == "error: interrupted\n"
    assert [entry.name for entry in tmp_path.iterdir() if "r.html" in entry.name] == []

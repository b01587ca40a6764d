"""The commands `traj plot`: figures of bundles, and what is refused before anything is drawn."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

PNG = b"\x89PNG\r\n\x1a\n"


def test_one_figure_in_every_format(bundle, traj, tmp_path: Path) -> None:
    """Each file has the format of its suffix, and its path is printed; torch is not imported for it."""
    path = bundle(gram=True)
    files = [tmp_path / f"path.{suffix}" for suffix in ("png", "SVG", "pdf", "csv")]
    words = [word for file in files for word in ("-o", file)]
    result = traj("plot", "path", path, *words, "--size", "3,2", "--dpi", "50", "--title", "$mine")
    assert (result.code, result.err) == (0, "")
    assert result.out == "".join(f"{file}\n" for file in files)
    starts = [file.read_bytes()[:5] for file in files]
    assert starts == [PNG[:5], b"<?xml", b"%PDF-", b"traje"]
    assert b"<title>$mine</title>" in files[1].read_bytes()


def test_betas_and_storage(bundle, traj, tmp_path: Path) -> None:
    """Their numbers: u is 1 at the last timestep, and a bundle is as large as its files."""
    path = bundle()
    curves, sizes = tmp_path / "betas.csv", tmp_path / "sizes.csv"
    assert traj("plot", "betas", path, "--trajectory", "1", "-o", curves).code == 0
    rows = list(csv.DictReader(curves.read_text().splitlines()))
    assert {row["u"] for row in rows if row["timestep"] == "5"} == {"1.0"}
    assert traj("plot", "storage", path, path, "-o", sizes).code == 0
    total = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    assert [row["bundle_bytes"] for row in csv.DictReader(sizes.read_text().splitlines())] == [f"{total}"] * 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["-o", "a.jpg"],
            "a.jpg: end its name in .png, .svg or .pdf for the figure, or in .csv for its numbers",
        ),
        (["-o", "a"], "a: end its name in .png"),
        (["-o", "a.png", "-o", "mine.svg"], "mine.svg exists; choose another name with -o, or pass --force"),
        (["-o", "absent/a.png"], "no such folder; create it first"),
        (["-o", "a.png", "--size", "3"], "must be the width and the height in inches"),
        (["-o", "a.png", "--dpi", "1"], "30 to 2400 dots per inch, got 1"),
        (
            ["-o", "a.svg", "-o", "a.csv"],
            "trajectory 0 has no Gram matrix, from which its path is drawn; convert",
        ),
        (["-o", "a.svg", "--trajectory", "2"], "trajectory must lie in [0, 1], got 2"),
    ],
)
def test_refused_in_one_line(bundle, traj, tmp_path: Path, monkeypatch, words, message) -> None:
    """Exit code 2, and nothing is written, also not the files that could be."""
    monkeypatch.chdir(tmp_path)
    path = bundle()
    Path("mine.svg").write_text("mine")
    result = traj("plot", "path", path, *words)
    assert result.code == 2
    assert message in result.error
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine.svg", path.name]
    assert Path("mine.svg").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "a.svg", "--dpi", "100"], "--dpi is for .png files"),
        (["-o", "a.csv", "--title", "x"], "--size and --title are for figures"),
        ([], "Missing option '-o'"),
    ],
)
def test_options_without_an_effect(bundle, traj, words: list[str], message: str) -> None:
    """They are refused instead of ignored."""
    result = traj("plot", "betas", bundle(), *words)
    assert result.code == 2
    assert message in result.err


def test_force_replaces_a_file(bundle, traj, tmp_path: Path) -> None:
    """Only if it is given, and never a folder."""
    file = tmp_path / "a.csv"
    file.write_text("mine")
    (tmp_path / "b.csv").mkdir()
    assert traj("plot", "betas", bundle(), "-o", file, "--force").code == 0
    assert file.read_text().startswith("trajectory,layer_number,")
    assert (
        "b.csv exists"
        in traj("plot", "betas", tmp_path / "out.mct", "-o", tmp_path / "b.csv", "--force").error
    )


def test_missing_matplotlib_is_one_line(bundle, traj, tmp_path: Path, monkeypatch) -> None:
    """Before the bundle is read, with the command that installs it; numbers need none."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    result = traj("plot", "path", tmp_path / "absent.mct", "-o", tmp_path / "a.png")
    assert (result.code, result.out) == (1, "")
    assert "pip install 'trajfmt[plot]'" in result.error
    assert traj("plot", "betas", bundle(), "-o", tmp_path / "a.csv").code == 0


def test_drawing_imports_no_torch(bundle, tmp_path: Path, python) -> None:
    """In a process of its own, in which torch cannot be imported."""
    code = """
import sys
sys.modules["torch"] = None
from importlib.metadata import entry_points
(script,) = entry_points(group="console_scripts", name="traj")
script.load().main(["plot", "path", sys.argv[1], "-o", sys.argv[2], "--dpi", "50"], prog_name="traj")
"""
    file = tmp_path / "a.png"
    assert python(code, bundle(gram=True), file) == f"{file}\n"
    assert file.read_bytes().startswith(PNG)

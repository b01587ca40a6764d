"""`mct evaluate`, `mct convert-images` and `mct sets` as processes, on files of other codebases."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("click")

from click.testing import CliRunner  # noqa: E402

from tests.foreign_sets import writers  # noqa: E402  # the generators need torch

SCRIPT = (
    "import sys; from importlib.metadata import entry_points; sys.argv[0] = 'mct';"
    "(script,) = entry_points(group='console_scripts', name='mct'); sys.exit(script.load()())"
)
IMAGES = writers.images_of(20)
HARD = writers.classes_of(10, 2)
LOGITS = writers.logits_of(20, 10)
FACTS = ["--dataset", "digits", "--preprocessing", "normalize", "--model", "ConvNetD2W4"]
SHORT = ["--networks", "1", "--epochs", "1", "--no-baseline", "--json"]


def run(*words: object) -> subprocess.CompletedProcess[str]:
    """Run `mct` in a process of its own."""
    command = [sys.executable, "-W", "error", "-c", SCRIPT, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def run_here(*words: object) -> subprocess.CompletedProcess[str]:
    """Run `mct` in this process, which saves the seconds of importing torch."""
    (script,) = entry_points(group="console_scripts", name="mct")
    done = CliRunner().invoke(script.load(), list(map(str, words)), prog_name="mct")
    return subprocess.CompletedProcess([], done.exit_code, done.stdout, done.stderr)


def lines_of(done: subprocess.CompletedProcess[str], prefix: str) -> list[str]:
    """Return lines on stderr, of which there may be no other kind than notes and one error."""
    lines = done.stderr.splitlines()
    assert all(line.startswith(("note: ", "error: ")) for line in lines), done.stderr
    return [line for line in lines if line.startswith(prefix)]


MAKERS: dict[str, Callable[[Path], Path]] = {
    "mtt": lambda f: writers.mtt(f, IMAGES, HARD),
    "tesla": lambda f: writers.tesla(f, IMAGES, LOGITS),
    "ftd-ema": lambda f: writers.ftd(f, IMAGES, HARD),
    "mct-authors": lambda f: writers.mct_authors(f, IMAGES, HARD, 2),
    "datm": lambda f: writers.datm(f, IMAGES, LOGITS, 0.02),
    "seqmatch": lambda f: writers.seqmatch(f, [(IMAGES, HARD, 0.03)]) / "S_0",
    "mtt-parts": lambda f: writers.parts(f, IMAGES, HARD),
    "ddranking": lambda f: writers.ddranking(f, IMAGES, LOGITS, 0.04),
    "condensation": lambda f: writers.condensation(
        f, "res_DM_digits_ConvNetD2W4_2ipc.pt", [(IMAGES, HARD)] * 2
    ),
}
SAID = {"datm": 0.02, "seqmatch": 0.03, "ddranking": 0.04}


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_every_layout_evaluates_by_one_protocol(tmp_path: Path, name: str) -> None:
    """One JSON object, notes of what was recognised and where it runs, the step size of the file or --lr."""
    facts = [*FACTS, *([] if name in SAID else ["--lr", "0.05"])]
    if name == "condensation":  # the name says data set and network
        facts = ["--preprocessing", "normalize", "--lr", "0.05", "--experiment", "1"]
    mct = run if name == "condensation" else run_here
    done = mct("evaluate", MAKERS[name](tmp_path / "set"), *facts, *SHORT)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["dataset"], found["ipc"], found["images"]) == ("digits", 2, 20)
    assert (found["model"], found["outer_step"], found["selected"]) == ("ConvNetD2W4", None, None)
    assert all(len(file["sha256"]) == 64 for file in found["files"])
    assert found["config"]["momentum"] == 0.9
    assert found["distilled"]["learning_rate"] == pytest.approx(SAID.get(name, 0.05), rel=1e-6)
    note, device = lines_of(done, "note: ")
    assert device.startswith("note: computing on the CPU, ")
    assert f"recognised as {'mtt' if name == 'tesla' else name} (" in note
    assert not lines_of(done, "error: ")


def _long(folder: Path) -> Path:
    writers.mtt(folder, IMAGES, HARD)
    torch.save(HARD[:5], folder / "labels_best.pt")
    return folder


def _nan(folder: Path) -> Path:
    return writers.mtt(folder, torch.full_like(IMAGES, float("nan")), HARD)


def _buffer(folder: Path) -> Path:
    writers.mtt(folder, IMAGES, HARD)
    writers.buffer(folder / "images_best.pt")
    return folder


def _class(folder: Path) -> Path:
    writers.mtt(folder, IMAGES, HARD)
    torch.save({"images": subprocess.Popen}, folder / "images_best.pt")
    return folder


def _lonely(folder: Path) -> Path:
    writers.mtt(folder, IMAGES, HARD)
    (folder / "labels_best.pt").unlink()
    return folder


REFUSED: dict[str, tuple[Callable[[Path], Path], int, str]] = {
    "a buffer": (_buffer, 4, "perhaps a buffer of trajectories"),
    "labels of another length": (_long, 4, "expected labels of 20 images"),
    "no labels": (_lonely, 2, "labels_best.pt: no such file"),
    "NaN": (_nan, 4, "are NaN or infinite"),
    "a class": (_class, 5, "--trust-pickle"),
    "another size": (lambda f: writers.mtt(f, writers.images_of(20, 3, 32), HARD), 1, "those of 'digits'"),
    "representations": (lambda f: writers.mkdt(f, IMAGES, LOGITS, 0.1), 1, "not classes"),
    "HaBa": (lambda f: writers.haba(f, IMAGES), 3, "combined with styles"),
    "nothing": (lambda f: f, 2, "no such file or folder"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_wrong_inputs_end_with_one_line(tmp_path: Path, case: str) -> None:
    """Exit code and line for each, in this process; nothing on stdout."""
    make, code, words = REFUSED[case]
    (entry,) = entry_points(group="console_scripts", name="mct")
    path = make(tmp_path / "set")
    result = CliRunner().invoke(entry.load(), ["evaluate", str(path), *FACTS, "--lr", "0.05", *SHORT])
    assert isinstance(result.exception, SystemExit), result.output
    done = subprocess.CompletedProcess([], result.exit_code, result.stdout, result.stderr)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    (line,) = lines_of(done, "error: ")
    assert words in line


def test_what_is_not_known_is_asked_for(tmp_path: Path) -> None:
    """One line with all options; nothing is trained."""
    done = run_here("evaluate", MAKERS["mtt"](tmp_path / "set"), *SHORT)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = lines_of(done, "error: ")
    assert all(option in line for option in ("--dataset", "--preprocessing", "--model", "--lr"))


def test_convert_evaluate_and_go_back(tmp_path: Path) -> None:
    """DATM's files as ours, evaluated without a flag, and as DATM's again."""
    source, ours = MAKERS["datm"](tmp_path / "set"), tmp_path / "ours.safetensors"
    done = run("convert-images", source, ours, *FACTS)
    assert (done.returncode, done.stdout) == (0, f"{ours}\n"), done.stderr
    table = run_here("evaluate", ours, "--networks", "1", "--epochs", "1")
    assert table.returncode == 0, table.stderr
    assert "2 images per class, 1 fresh network" in table.stdout
    assert "random real" in table.stdout
    assert run_here("convert-images", ours, tmp_path / "back", "--to", "datm").returncode == 0
    back = torch.load(tmp_path / "back" / "labels_best.pt")
    assert torch.allclose(back.softmax(1), LOGITS.softmax(1), rtol=1e-5, atol=1e-7)
    again = run_here("convert-images", ours, tmp_path / "back", "--to", "datm")
    assert (again.returncode, again.stdout) == (2, "")
    assert "exists; use another name" in lines_of(again, "error: ")[0]
    lost = run_here("convert-images", source, tmp_path / "mtt", "--to", "mtt")
    assert lost.returncode == 0
    assert any(
        "this layout cannot store the learning rate, 0.02" in line for line in lines_of(lost, "note: ")
    )


def test_the_table_of_layouts() -> None:
    """One JSON object a layout."""
    done = run_here("sets", "--json")
    names = [json.loads(line)["name"] for line in done.stdout.splitlines()]
    assert {*MAKERS, "mkdt", "npz", "mct", "haba"} - {"tesla"} <= set(names)
    assert "images_{it|best}.pt" in run_here("sets").stdout

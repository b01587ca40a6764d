"""`mct evaluate --protocol dd-ranking`, and the baseline with a teacher's labels, as users meet them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("click")

from tests.foreign_sets import writers
from tests.test_cli.test_images import FACTS, HARD, IMAGES, LOGITS, run_here

FEW = ["--networks", "1", "--epochs", "1", "--reference-epochs", "1"]


def lines_of(done: subprocess.CompletedProcess[str], prefix: str) -> list[str]:
    """Return lines on stderr, where there may also be progress."""
    return [line for line in done.stderr.splitlines() if line.startswith(prefix)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> Path:
    """Return an empty cache folder."""
    monkeypatch.setenv("TRAJFMT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_four_scores_of_a_set_with_soft_labels(tmp_path: Path) -> None:
    """A table for people, and JSON for programs: the same scores, and the reference from its file."""
    ours, file = writers.datm(tmp_path / "set", IMAGES, LOGITS, 0.02), tmp_path / "reference.safetensors"
    words = ("evaluate", ours, *FACTS, *FEW, "--protocol", "dd-ranking", "--reference", file)
    done = run_here(*words, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["protocol"], found["labels"], found["ipc"]) == ("dd-ranking", "soft", 2)
    assert found["learning_rate"] == pytest.approx(0.02)
    (run,), mean = found["runs"], found["scores"]["mean"]
    assert mean["hlr"] == pytest.approx(found["reference"]["accuracy"] - run["hard"])
    assert mean["ior"] == pytest.approx(run["own"] - run["random"])
    written = file.read_bytes()
    table = run_here(*words)
    assert table.returncode == 0, table.stderr
    assert file.read_bytes() == written
    lines = table.stdout.splitlines()
    assert lines[0] == "DD-Ranking on digits: 2 images per class, 1 run"
    assert [line.split()[0] for line in lines[-4:]] == ["HLR", "IOR", "LRS", "ARS"]
    assert f" {100 * mean['hlr']:.1f}  (points" in lines[-4]
    assert f" {mean['ars']:.3f}  (augmentation" in lines[-1]
    assert found["scores"]["std"] is None
    assert "±" not in table.stdout
    assert len(lines) == 12


def test_a_set_with_hard_labels_has_a_shorter_table(tmp_path: Path, cache: Path) -> None:
    """Hard labels are its own. The reference is kept in the cache, and a missing augmentation is noted."""
    ours = writers.seqmatch(tmp_path / "set", [(IMAGES, HARD, 0.03)]) / "S_0"
    done = run_here("evaluate", ours, *FACTS, *FEW, "--protocol", "dd-ranking", "--augment", "none")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 10
    assert any("ARS compares the same twice" in line for line in lines_of(done, "note: "))
    assert [file.name[:10] for file in cache.iterdir()] == ["reference-"]


def test_random_images_with_a_teachers_labels(tmp_path: Path) -> None:
    """With MTT's protocol: if a reference is given or cached; otherwise a note says how to get them."""
    ours = writers.datm(tmp_path / "set", IMAGES, LOGITS, 0.02)
    words = ("evaluate", ours, *FACTS, *FEW)
    without = run_here(*words, "--json")
    assert json.loads(without.stdout)["random_real_soft"] is None
    assert any("give --reference FILE" in line for line in lines_of(without, "note: "))
    done = run_here(*words, "--reference", tmp_path / "r.safetensors", "--json")
    found = json.loads(done.stdout)
    assert found["random_real_soft"]["networks"] != []
    assert found["random_real"] == json.loads(without.stdout)["random_real"]
    table = run_here(*words, "--reference", tmp_path / "r.safetensors").stdout
    assert "(hard labels, learning rate" in table
    assert "(a teacher's labels, learning rate" in table


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--labels", "soft"], "--labels needs --protocol dd-ranking"),
        (["--soft-loss", "kl"], "--soft-loss needs --protocol dd-ranking"),
        (["--protocol", "dd-ranking", "--cross"], "--cross is not part of --protocol dd-ranking"),
        (["--protocol", "dd-ranking", "--temperature", "0"], "--temperature must be"),
        (["--protocol", "dd-ranking", "--reference-epochs", "0"], "0 is not in the range x>=1"),
        (["--protocol", "dd-ranking", "--reference", "nowhere/r.safetensors"], "found no such folder"),
        (["--protocol", "dd-ranking", "--reference", "."], "found a folder"),
        (["--no-baseline", "--reference", "r.safetensors"], "--reference is for the baseline, which"),
        (["--no-baseline", "--reference-epochs", "1"], "--reference-epochs is for the baseline, which"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, words: list[str], message: str) -> None:
    """The last line says what, with exit code 2, before any network is trained."""
    ours = writers.datm(tmp_path / "set", IMAGES, LOGITS, 0.02)
    done = run_here("evaluate", ours, *FACTS, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("option", ["--reference", "--reference-epochs"])
def test_a_reference_that_hard_labels_do_not_need_is_refused(tmp_path: Path, option: str) -> None:
    """The baseline of a set with class numbers has no teacher, whose file would be ignored."""
    ours = writers.seqmatch(tmp_path / "set", [(IMAGES, HARD, 0.03)]) / "S_0"
    done = run_here("evaluate", ours, *FACTS, "--networks", "1", "--epochs", "1", option, "1")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{option} is for sets with soft labels" in done.stderr.splitlines()[-1]

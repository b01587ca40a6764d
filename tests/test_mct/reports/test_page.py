"""The page of runs: what it shows and what it says is missing."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
from mct.reports.page import render
from mct.reports.run import Described, describe
from mct.results.origin import EarlierStage
from mct.settings.config import DistillConfig
from tests.helpers import run_folders
from tests.helpers.pages import assert_sound, browse, browser
from trajfmt.pages.report import MOST

HOSTILE = "\"'><script>alert(1)</script>\u202e"


def _described(folder: Path, **changes) -> Described:
    return describe(run_folders.write(folder, run_folders.origin(**changes)))


def test_a_run_is_shown(tmp_path: Path) -> None:
    """Images with the names of their classes, accuracy, settings with their source, and the machine."""
    page = assert_sound(render([_described(tmp_path / "run", ipc=3)]))
    text = " ".join(page.text.split())
    assert [image["alt"] for image in page.all("img")] == ["3 images of class cat", "3 images of class dog"]
    for words in (
        "75% ± 2%",
        "seed 7 given",
        "the CPU, 1 thread",
        "ab" * 32,
        "none beside the run",
        "of 2 networks",
    ):
        assert words in text
    assert "was not evaluated" not in text


def test_missing_things_are_said(tmp_path: Path) -> None:
    """No evaluation, no image, no step."""
    folder = run_folders.write(tmp_path / "run", run_folders.origin(evaluation=None), lines=[])
    (folder / "synthetic.safetensors").unlink()
    text = " ".join(assert_sound(render([describe(folder)])).text.split())
    for words in (
        "The run was not evaluated",
        "No result has been saved yet",
        "No outer step is recorded yet",
    ):
        assert words in text


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    """Images and classes that are not shown, and a lower resolution."""
    folder = run_folders.write(tmp_path / "run", run_folders.origin(ipc=12, size=100))
    text = " ".join(assert_sound(render([describe(folder, budget=40_000)])).text.split())
    assert "Of 12 images of each class, the first 1 are shown" in text or "the first 2 are shown" in text
    assert "lower resolution than their 100 × 100" in text
    few = assert_sound(render([describe(folder, budget=1)])).text
    assert "Of 2 classes, 1 are shown" in few


def test_runs_are_compared(tmp_path: Path) -> None:
    """Settings that differ, with the values; and equal runs."""
    one = _described(tmp_path / "one")
    two = _described(tmp_path / "two", config=DistillConfig(lr_img=50.0, outer_steps=3, seed=7))
    text = " ".join(assert_sound(render([one, two])).text.split())
    assert "Settings that differ run lr_img one 1,000 two 50" in text
    text = assert_sound(render([one] * (MOST + 2))).text
    assert "The runs agree in all settings" in text
    assert "2 more runs in the comparison only" in text
    assert render([one, two]) == render([one, two])


def test_images_of_earlier_stages_are_counted_apart(tmp_path: Path) -> None:
    """The accuracy of a run in stages is that of all images, so that its own number would mislead."""
    stage = {"learning_rate": 0.05, "joint": False, "artifact_sha256": None, "outer_step": 1, "sha256": "c"}
    runs = [_described(tmp_path / "one"), _described(tmp_path / "two")]
    later = replace(runs[1].facts, stages=(EarlierStage(images=6, **stage), EarlierStage(images=2, **stage)))
    text = " ".join(assert_sound(render([runs[0], replace(runs[1], facts=later)])).text.split())
    assert "one digits 1 ConvNet" in text
    assert "two digits 1 + 4 ConvNet" in text


def test_accuracies_on_other_images_are_apart(tmp_path: Path) -> None:
    """Held-out images, the test set once, and the best on the test set have a column each, and two charts."""
    lines = [run_folders.step(n, 0.5, accuracy=(0.5 + n / 8, 0.01), on="test") for n in (1, 2)]
    ours = run_folders.write(tmp_path / "a", run_folders.origin(outer_step=2), best=True)
    theirs = run_folders.write(tmp_path / "b", run_folders.origin(), lines=lines)
    accuracy = {"mean": 0.625, "networks": [0.625], "on": "test"}
    (ours / "test.json").write_text(json.dumps({"outer_step": 2, "accuracy": accuracy}))
    runs = [describe(ours), describe(theirs)]
    text = " ".join(assert_sound(render(runs)).text.split())
    assert "loss held-out accuracy test accuracy best test accuracy converged" in text
    assert "0.6 75% ± 2% 62.5% - 3" in text
    assert "0.5 - - 75% ± 1% 2" in text
    assert "Test accuracy 62.5% of the best images, measured once" in text
    for title in ("Accuracy on held-out training images", "Accuracy on the test set"):
        assert text.count(title) >= 2  # of the run, and of the comparison
    alone = " ".join(assert_sound(render(runs[:1])).text.split())
    assert "Accuracy on the test set" not in alone


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    """Names of classes and of the data set cannot add an element."""
    run = _described(tmp_path / "run", names=(HOSTILE, "b"), dataset=HOSTILE)
    page = assert_sound(render([run, run]))
    assert len(page.all("img")) == 4
    assert "<script>alert(1)</script>" in page.text


@pytest.mark.skipif(browser() is None, reason="needs Chromium")
def test_in_a_browser(tmp_path: Path) -> None:
    """The images are loaded, and there is no word on the console."""
    path = tmp_path / "page.html"
    path.write_bytes(render([_described(tmp_path / "run", names=(HOSTILE, "b"))]))
    dom, console = browse(tmp_path / "user", path, "--dump-dom")
    assert console == ""
    assert dom.count("<img") == 2
    assert "<script" not in dom

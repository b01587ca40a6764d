"""The facts of a run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
from mct.data import record
from mct.errors import CorruptError, MissingError
from mct.reports.run import SCHEMA, describe, to_json
from mct.results.origin import Change
from mct.settings.config import DistillConfig
from tests.helpers import run_folders


def test_facts_are_those_of_the_files(tmp_path: Path) -> None:
    """Curves, evaluations, times, memory, settings and images."""
    found = describe(run_folders.write(tmp_path / "run", run_folders.origin()))
    facts = found.facts
    assert facts.loss.mean == (0.8, 0.7, 0.6)
    assert [(one.step, one.mean, one.std, one.on) for one in facts.evaluations] == [
        (2, 0.5, 0.01, "heldout"),
        (3, 0.75, 0.02, "heldout"),
    ]
    assert (facts.converged, facts.steps_done, facts.step_seconds) == (3, 3, 0.25)
    assert facts.total_seconds == pytest.approx(0.75)
    assert list(facts.parts) == ["evaluate", "adjoint", "forward"]
    assert (facts.peak_memory_mb, facts.utilisation) == (403.0, 0.5)
    assert (facts.settings["seed"].value, facts.settings["seed"].known) == (7, "given")
    assert (facts.hardware, facts.versions) == ("the CPU, 1 thread", {"torch": "2.13.0"})
    assert facts.images is not None
    assert (facts.images.count, facts.images.shape, facts.images.learning_rate) == (2, (1, 8, 8), 0.05)
    assert [picture.label for picture in found.pictures] == [0, 1]


def test_json_is_strict_and_without_images(tmp_path: Path) -> None:
    """Every number of the page, and the version of the schema."""
    run = describe(run_folders.write(tmp_path / "run", run_folders.origin()))
    found = json.loads(to_json([run, run]), parse_constant=pytest.fail)
    assert found["schema"] == SCHEMA
    one = found["runs"][0]
    assert one["loss"]["mean"] == [0.8, 0.7, 0.6]
    assert one["settings"]["ipc"] == {"value": 1, "known": "default"}
    assert "png" not in json.dumps(found)


def test_images_whitened_as_directions_are_reported(tmp_path: Path) -> None:
    """Results have a kind of preprocessing that no bundle has."""
    own = run_folders.origin(preprocessing=record.Preprocessing(kind="unit-zca", eps=0.1))
    run = describe(run_folders.write(tmp_path / "run", own))
    assert run.facts.preprocessing == own.preprocessing
    assert json.loads(to_json([run]))["runs"][0]["preprocessing"] == {"kind": "unit-zca", "eps": 0.1}


def test_best_images_are_preferred(tmp_path: Path) -> None:
    """A run with evaluations shows the images that they chose."""
    own = run_folders.origin(outer_step=2, selected=run_folders.SELECTED)
    facts = describe(run_folders.write(tmp_path / "run", own, best=True)).facts
    assert facts.images is not None
    assert (facts.images.file, facts.images.outer_step) == ("best.safetensors", 2)


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    """No step and no image yet: nothing is made up."""
    folder = run_folders.write(tmp_path / "run", run_folders.origin(), lines=[])
    (folder / "synthetic.safetensors").unlink()
    facts = describe(folder).facts
    assert facts.images is facts.converged is facts.step_seconds is facts.peak_memory_mb is None
    assert (facts.loss.steps, facts.evaluations, facts.total_seconds) == ((), (), 0)


def test_the_test_of_the_best_images_is_a_fact(tmp_path: Path) -> None:
    """It is that of the images that are shown: a longer run may have chosen others since."""
    own = run_folders.origin(outer_step=2, selected=run_folders.SELECTED)
    folder = run_folders.write(tmp_path / "run", own, best=True)
    assert describe(folder).facts.tested is None
    accuracy = {"mean": 0.625, "std": None, "networks": [0.625], "learning_rate": 0.05, "on": "test"}
    for step, known in ((2, True), (1, False)):
        (folder / "test.json").write_text(json.dumps({"outer_step": step, "accuracy": accuracy}))
        found = json.loads(to_json([describe(folder)]))["runs"][0]["tested"]
        assert (found is not None) == known
        if known:
            told = {"step": 2, "mean": 0.625, "std": None, "networks": 1, "on": "test", "by_class": None}
            assert found == told


def test_one_evaluation_is_no_convergence(tmp_path: Path) -> None:
    """Nothing shows that the accuracy would not rise."""
    lines = [run_folders.step(1, 0.8, accuracy=(0.5, 0.01))]
    facts = describe(run_folders.write(tmp_path / "run", run_folders.origin(), lines=lines)).facts
    assert len(facts.evaluations) == 1
    assert facts.converged is None


def test_changes_of_a_resumed_run(tmp_path: Path) -> None:
    """A changed rate is attributed to its step."""
    change = Change(step=2, setting="lr_img", before=1000.0, after=500.0)
    own = run_folders.origin(config=DistillConfig(lr_img=500.0), changes=(change,))
    facts = describe(run_folders.write(tmp_path / "run", own)).facts
    assert facts.settings["lr_img"].known == "changed at step 2"
    assert facts.changes == (change,)


def test_the_bundle_beside_is_found_by_its_hash(tmp_path: Path, layout, walk, write_bundle) -> None:
    """A bundle of the name that the folder is called after counts only if it is the one that was matched."""
    import trajfmt

    path = write_bundle(layout, walk(layout), name="two.mct")
    own = run_folders.origin()
    assert describe(run_folders.write(tmp_path / "two-distilled", own)).facts.bundle is None
    (tmp_path / "two-distilled").rename(tmp_path / "elsewhere")
    with trajfmt.open(path) as bundle:
        same = replace(own, artifact_sha256=bundle.sha256)
    assert describe(run_folders.write(tmp_path / "two-distilled", same)).facts.bundle == "two.mct"


def test_folders_that_are_no_run(tmp_path: Path) -> None:
    """Missing and damaged settings, and images without pixels, are errors that name the file."""
    folder = run_folders.write(tmp_path / "run", run_folders.origin())
    whole = (folder / "settings.json").read_text()
    (folder / "settings.json").unlink()
    with pytest.raises(MissingError, match=r"contains no settings\.json"):
        describe(folder)
    for text in ("[]", "{", whole.replace('"ipc": 1', '"ipc": -1'), '{"settings": {}}'):
        (folder / "settings.json").write_text(text)
        with pytest.raises(CorruptError, match=r"settings\.json: not the settings of a run"):
            describe(folder)
    (folder / "settings.json").write_text(whole)
    file = folder / "synthetic.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CorruptError, match=r"synthetic\.safetensors"):
        describe(folder)

"""The jobs behind a number: what is shared, what is paired, and what is published."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch")

from mct.reproduce import SCALES, arms, table2, table3
from mct.settings import presets

PAPER = SCALES["paper"]


def test_equal_numbers_of_two_tables_are_one_job() -> None:
    """M = 6 of table 3 is MCT's number of table 1, and 50 experts are trained once."""
    (size, *_) = PAPER.data
    runs = [arms.distilled(PAPER, size, "MCT", 10, 0), table3.run_of(PAPER, 10, 6, 0)]
    assert {run.settings["expert_steps"] for run in runs} == {6}
    assert runs[0] == runs[1]
    assert table2.run_of(PAPER, "discrete", 5, 0).needs == runs[0].needs


def test_methods_of_one_seed_are_paired() -> None:
    """They differ in the trajectories and the sampling alone, at scales with common settings."""
    scale = SCALES["small"]
    mtt, mct = (arms.distilled(scale, scale.main, method, 1, 3).settings for method in ("MTT", "MCT"))
    assert {name for name in mtt.keys() | mct.keys() if mtt.get(name) != mct.get(name)} == {"sampling"}
    assert mtt["seed"] == mct["seed"] == 3


def test_the_paper_has_the_published_settings() -> None:
    """Those of the presets, written out."""
    for size in PAPER.data:
        for ipc in size.ipcs:
            for method in ("MTT", "MCT"):
                published = presets.default_preset(
                    size.dataset, ipc, size.preprocessing, method=method.lower()
                )  # type: ignore[arg-type]
                assert published is not None
                run = arms.distilled(PAPER, size, method, ipc, 0).settings
                assert run["inner_steps"] == published.inner_steps
                assert run["max_start"] == published.max_start
                assert run["lr_img"] == published.lr_img
                assert run.get("batch_syn") == published.batch_syn


def test_settings_for_other_images_are_named() -> None:
    """MTT has none for whitened images in some columns; with settings of the scale nothing is borrowed."""
    found = arms.guesses(PAPER)
    assert any("CIFAR-10 ipc 50" in line and "mtt-cifar10-ipc50" in line for line in found)
    assert not any("CIFAR-10 ipc 1:" in line for line in found)
    assert arms.guesses(SCALES["small"]) == []


def test_a_method_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row then has dashes with this reason."""
    kept = {name: module for name, module in presets.METHODS.items() if name != "dm"}
    monkeypatch.setattr(presets, "METHODS", kept)
    size = PAPER.main
    assert arms.lacking(size, "DM", 1) == "this version has no --method dm"
    assert arms.lacking(size, "MTT", 1) is None


def test_methods_without_published_settings_are_left_out() -> None:
    """DC has none for Tiny ImageNet, where the paper has a dash, and DM has some."""
    (tiny,) = (size for size in PAPER.data if size.dataset == "Tiny")
    assert arms.lacking(tiny, "DC", 1) == "no settings are published for Tiny-ImageNet with ipc 1"
    assert arms.lacking(tiny, "DM", 1) is None
    run = arms.distilled(PAPER, tiny, "DM", 1, 0)
    assert (run.settings["preprocessing"], run.settings["method"], run.needs) == ("normalize", "dm", ())


def test_a_smaller_data_set_is_a_job_of_its_own() -> None:
    """It is written once, and its number of images is part of the identity of everything that uses it."""
    scale = SCALES["small"]
    other = replace(scale.main, first=500)
    one, two = arms.experts(scale.main), arms.experts(other)
    assert [job.kind for job in one.needs] == ["images"]
    assert one != two
    assert arms.images(SCALES["tiny"].main) == ()

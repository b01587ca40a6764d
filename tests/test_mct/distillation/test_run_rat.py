"""RaT-BPTT from its name to its result, without a bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from mct.distillation.run import DistillRun  # noqa: E402
from mct.errors import ConfigError  # noqa: E402
from mct.results import synthetic  # noqa: E402
from mct.settings.config import DistillConfig  # noqa: E402
from tests.helpers.distilling import distiller_of  # noqa: E402

SETTINGS = {"method": "rat", "dataset": "digits", "model": "ConvNetD1W4", "preprocessing": "unit-zca",
            "inner_steps": 4, "min_steps": 2, "window": 2, "real_batch": 40, "labels": "learned"}  # fmt: skip


def test_a_run_without_a_bundle_is_evaluated_as_published_and_continues(tmp_path: Path) -> None:
    """Images begin as unit noise, labels as rows; protocol and whitening are recorded."""
    given = {"eval_every": 2, "eval_networks": 1, "eval_epochs": 2}
    with DistillRun.prepare(None, tmp_path / "run", outer_steps=2, **SETTINGS, **given) as run:
        start = run.distiller.initial().synthetic
        assert start.images.flatten(1).norm(dim=1).tolist() == pytest.approx([1.0] * 10)
        losses = [event.loss for event in run.events() if hasattr(event, "loss")]
        assert 1 < losses[0] < 4
        assert run.outcome().comparison.config.protocol == "rat"
    found = synthetic.load(tmp_path / "run" / "synthetic.safetensors")
    assert found.is_rows
    assert found.origin.preprocessing.kind == "unit-zca"
    assert found.learning_rate == 0.001
    assert float((found.images - start.images).abs().max()) == pytest.approx(0.002, rel=0.2)  # Adam, twice
    with DistillRun.prepare(None, tmp_path / "run", resume=True, outer_steps=3) as run:
        steps = [event.step for event in run.events() if hasattr(event, "loss")]
    assert steps == [3]


def test_code_that_builds_the_network_is_named_again(tmp_path: Path, monkeypatch) -> None:
    """A run that is resumed neither runs it unasked nor takes another network."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "linear_of_rat.py").write_text(
        "from torch import nn\n"
        "def make(channels, classes, image_size):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, classes))\n"
    )
    given = SETTINGS | {"model": "linear_of_rat:make"}
    with DistillRun.prepare(None, tmp_path / "run", outer_steps=1, **given) as run:
        list(run.events())
    with pytest.raises(ConfigError, match="give --model linear_of_rat:make if you trust it"):
        DistillRun.prepare(None, tmp_path / "run", resume=True, outer_steps=2)
    again = {"resume": True, "outer_steps": 2, "model": given["model"]}
    with DistillRun.prepare(None, tmp_path / "run", **again) as run:
        assert [event.step for event in run.events() if hasattr(event, "loss")] == [2]


def test_batches_that_cannot_be_even_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    """Fifteen images are neither fewer than ten classes nor the same number of each."""
    with pytest.raises(ConfigError, match="`batch_syn` must be less than the 10 classes"):
        DistillRun.prepare(None, tmp_path / "run", ipc=2, batch_syn=15, **SETTINGS)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_start": 3}, "`max_start` has no effect with `fresh_starts` 1"),
        ({"start_noise": 0.1}, "`start_noise` has no effect with `objective` real"),
        ({"labels": "hard", "label_form": "rows"}, "`label_form` has no effect without `labels` learned"),
    ],
    ids=str,
)
def test_settings_without_effect_are_refused(tmp_path: Path, given, words: str) -> None:
    """They are those of starts on trajectories, and of labels that are not learned."""
    with pytest.raises(ConfigError, match=words):
        DistillRun.prepare(None, tmp_path / "run", **SETTINGS | given)


def test_a_bundle_that_nothing_needs_is_said(bundle, digits, model) -> None:
    """It is allowed, since it names data set and network."""
    config = DistillConfig(objective="real", fresh_starts=1.0, expert_steps=2, max_start=3)
    for fresh, said in ((1.0, True), (0.5, False)):
        notes = distiller_of(bundle, digits, model, replace(config, fresh_starts=fresh)).notes
        assert any("trajectories are not used" in note for note in notes) == said

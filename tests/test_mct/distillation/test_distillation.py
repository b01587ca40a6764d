"""The outer loop: counting, updates, resuming, guards, and one tiny distillation end to end."""

import contextlib
import json
import os
import random as dice
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.distillation import state as states  # noqa: E402
from mct.distillation.distiller import Distiller  # noqa: E402
from mct.distillation.folder import RunFolder  # noqa: E402
from mct.distillation.loop import distill  # noqa: E402
from mct.errors import MismatchError  # noqa: E402
from mct.inner.unroll import Gradients  # noqa: E402
from mct.results import snapshots, synthetic  # noqa: E402
from tests.helpers.distilling import (  # noqa: E402
    CONFIG,
    PROTOCOL,
    Rehearsed,
    StubEngine,
    assert_same_run,
    distiller_of,
    metrics_of,
    run_whole,
)
from tests.helpers.fakes import written  # noqa: E402
from trajfmt.storage import partial_of  # noqa: E402

ALL = {"labels": "teacher", "eval_every": 2}
DATM = {"labels": "learned", "initial": "correct", "min_start": 1, "ramp_from": 1.5, "ramp_steps": 5,
        "image_average": 0.9, "eval_every": 3, "loss_threshold": 0.99995, "samples": 2}  # fmt: skip
PARTIAL = {"ipc": 2, "learned_share": 0.5, "image_average": 0.5, "snapshot_every": 2}
OTHERS = {"labels": "teacher", "label_time": "max-start", "initial": "noise", "start_noise": 0.1,
          "outer_optimizer": "adam", "lr_img_halving": 2, "image_average": 0.9, "drop": 0.1,
          "drop_by": "dissimilar", "samples": 2}  # fmt: skip
DRAWN = {"inner_optimizer": "adam", "inner_decay": 0.01, "lr_init": 1e-3, "lr_lr": 1e-9, "inner_steps": 5,
         "min_steps": 2, "steps_every": 2, "window": 3, "samples": 2, "labels": "learned"}  # fmt: skip
REAL = {"objective": "real", "real_batch": 30, "fresh_starts": 0.5, "labels": "learned", "label_form": "rows",
        "initial": "unit-noise", "outer_optimizer": "adam", "lr_img": 0.01, "clip_average": 0.9,
        "sampler": "classes", "batch_syn": 3, "inner_optimizer": "adam", "lr_init": 1e-3, "lr_lr": 0,
        "min_steps": 2, "steps_every": 2, "window": 2, "eval_every": 3}  # fmt: skip


@pytest.mark.parametrize(
    ("stop", "extra"),
    [(1, ALL), (4, ALL), (5, ALL), (5, {}), (2, {"augment": "none"}), (2, DATM), (4, DATM),
     (3, OTHERS), (3, {"end": "nearest"}), (3, {"drop": 0.5}), (3, {"drop": 0.5, "drop_by": "first"}),
     (3, PARTIAL), (3, DRAWN), (3, REAL)],
    ids=str,
)  # fmt: skip
def test_resumed_run_equals_one_that_never_stopped(
    tmp_path: Path, bundle, digits, model, stop, extra
) -> None:
    """Everything in the folder is the same, in the middle of a ramp and of an average, for every objective,
    and for inner loops of a length that is drawn."""
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    config = replace(CONFIG, **extra)
    run_whole(distiller_of(bundle, digits, model, config), whole)
    events = distill(distiller_of(bundle, digits, model, config), parts, evaluation=PROTOCOL)
    with contextlib.closing(events):
        for event in events:
            if event.step == stop:
                break
    assert metrics_of(parts)[-1]["step"] == stop
    run_whole(distiller_of(bundle, digits, model, config), parts, resume=True)
    assert_same_run(whole, parts)
    assert [line["step"] for line in metrics_of(parts) if line["step"]] == [1, 2, 3, 4, 5, 6]


KILLED = """
import json, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import trajfmt
from mct.settings.config import DistillConfig, EvaluateConfig
from mct.distillation.distiller import Distiller; from mct.distillation.loop import distill
from mct.distillation.folder import RunFolder
config, protocol = DistillConfig(**json.loads(sys.argv[3])), EvaluateConfig(**json.loads(sys.argv[4]))
with trajfmt.open(sys.argv[1]) as bundle:
    distiller = Distiller.from_bundle(bundle, base=config)
    for _ in distill(distiller, RunFolder(Path(sys.argv[2])), evaluation=protocol):
        pass
"""


def test_run_that_was_killed_loses_what_followed_its_last_state(
    tmp_path: Path, bundle, digits, model
) -> None:
    """SIGKILL at any moment: resumed, the run ends with the bits of one that was left alone."""
    path = written(tmp_path, bundle, digits, model)
    config = replace(CONFIG, outer_steps=24, labels="teacher", eval_every=10, save_every=7)
    whole, killed = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "killed")
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, path, killed.path, json.dumps(asdict(config)),
         json.dumps(asdict(PROTOCOL))], env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE
    )  # fmt: skip
    try:
        enough = dice.randint(1, 18)
        while not killed.metrics.exists() or len(killed.metrics.read_bytes().splitlines()) < enough:
            assert child.poll() is None, child.stderr.read().decode()
            time.sleep(0.001)
    finally:
        child.kill()
        child.wait()
        child.stderr.close()
    partial_of(killed.state).write_bytes(b"half a sta")
    done = metrics_of(killed)[-1]["step"]
    assert 0 <= done - states.load(killed.state).step <= config.save_every
    with trajfmt.open(path) as opened:
        for folder, resume in ((whole, False), (killed, True)):
            run_whole(Distiller.from_bundle(opened, base=config), folder, resume=resume)
    assert_same_run(whole, killed)


def test_interrupt_inside_a_step_keeps_the_state(tmp_path: Path, bundle, digits, model) -> None:
    """Ctrl-C in the middle of a step writes the state of the step before."""

    class Interrupting(StubEngine):
        calls = 0

        def gradients(self, problem, terminal) -> Gradients:
            Interrupting.calls += 1
            if Interrupting.calls == 3:
                raise KeyboardInterrupt
            return super().gradients(problem, terminal)

    folder = RunFolder(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        for _ in distill(distiller_of(bundle, digits, model, unroll=Interrupting()), folder):
            pass
    assert folder.origin().config == replace(CONFIG, max_start=3.0, sampling="continuous", engine="eager")
    assert synthetic.load(folder.result).origin.outer_step == 2
    assert len(folder.metrics.read_text().splitlines()) == 2


def test_evaluation_on_schedule(tmp_path: Path, bundle, digits, model) -> None:
    """Before the first step, every so many, and after the last; events and metrics say on what."""
    folder = RunFolder(tmp_path / "run")
    config = replace(CONFIG, outer_steps=5, eval_every=2)
    events = run_whole(distiller_of(bundle, digits, model, config), folder)
    assert [event.step for event in events] == [0, 1, 2, 3, 4, 5]
    assert [event.accuracy is not None for event in events] == [True, False, True, False, True, True]
    assert {event.accuracy.on for event in events if event.accuracy} == {"heldout"}
    lines = metrics_of(folder)
    assert [line["step"] for line in lines if "accuracy" in line] == [0, 2, 4, 5]
    assert set(lines[0]["accuracy"]) == {"mean", "std", "networks", "learning_rate", "on", "by_class"}
    assert "loss" not in lines[0]


def test_snapshots_are_kept_and_those_of_lost_steps_removed(tmp_path: Path, bundle, digits, model) -> None:
    """Of the first and the last step and every so many; a run that goes on has none of later steps."""
    folder = RunFolder(tmp_path / "run")
    config = replace(CONFIG, outer_steps=5, snapshot_every=2)
    run_whole(distiller_of(bundle, digits, model, config), folder)
    assert list(snapshots.listed(folder.path)) == [0, 2, 4, 5]
    snapshots.write(folder.path, 8, torch.zeros(1, 1, 8, 8), torch.zeros(1).long())  # before a kill
    longer = replace(config, outer_steps=6, snapshot_every=3)
    run_whole(distiller_of(bundle, digits, model, longer), folder, resume=True)
    assert list(snapshots.listed(folder.path)) == [0, 2, 4, 5, 6]


@pytest.mark.parametrize("select", ["heldout", "test"])
def test_best_images_are_kept(tmp_path: Path, bundle, digits, model, monkeypatch, select) -> None:
    """The first of the largest means wins; its images and why they were chosen are in their own file."""
    evaluation = Rehearsed([0.1, 0.4, 0.3, 0.4])
    monkeypatch.setattr("mct.distillation.judging.evaluate", evaluation)
    folder = RunFolder(tmp_path / "run")
    config = replace(CONFIG, eval_every=2, select=select, save_every=100)
    run_whole(distiller_of(bundle, digits, model, config), folder)
    best, last = synthetic.load(folder.best), synthetic.load(folder.result)
    assert torch.equal(best.images, evaluation.seen[1][0])
    assert best.origin.selected == synthetic.Selection(on=select, mean=0.4, std=None)
    assert (best.origin.outer_step, last.origin.outer_step, last.origin.selected) == (2, 6, None)
    assert best.origin.evaluation == last.origin.evaluation == PROTOCOL
    expected = digits.heldout() if select == "heldout" else digits
    assert all(torch.equal(seen[2], expected.test_images) for seen in evaluation.seen)
    assert {seen[4] for seen in evaluation.seen} == {select}


def test_best_of_a_resumed_run_is_compared_with_the_one_before(
    tmp_path: Path, bundle, digits, model, monkeypatch
) -> None:
    """Step and accuracy of the best are part of the state; a lost file comes back."""
    monkeypatch.setattr("mct.distillation.judging.evaluate", Rehearsed([0.1, 0.4, 0.3, 0.2]))
    folder, config = RunFolder(tmp_path / "run"), replace(CONFIG, eval_every=2)
    run_whole(distiller_of(bundle, digits, model, replace(config, outer_steps=3, eval_every=2)), folder)
    before = folder.best.read_bytes()
    folder.best.unlink()
    monkeypatch.setattr("mct.distillation.judging.evaluate", Rehearsed([0.39, 0.38]))
    run_whole(distiller_of(bundle, digits, model, config), folder, resume=True)
    assert folder.best.read_bytes() == before
    other = replace(PROTOCOL, epochs=2)
    with pytest.raises(MismatchError, match="two protocols cannot be compared"):
        next(distill(distiller_of(bundle, digits, model, config), folder, resume=True, evaluation=other))
    assert list(distill(distiller_of(bundle, digits, model, config), folder, resume=True)) == []

"""A run's checkpoints: order, names, buffers, what is refused, on files as training scripts write them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.runs import (  # noqa: E402
    BUFFERS,
    CASES,
    Case,
    assert_same,
    names_of,
    opened,
)
from trajfmt.bundle.validation import validate  # noqa: E402
from trajfmt.convert.events import Event  # noqa: E402
from trajfmt.convert.options import ConvertOptions  # noqa: E402
from trajfmt.convert.run import convert  # noqa: E402
from trajfmt.errors import CorruptError, UsageError  # noqa: E402
from trajfmt.export.run import export  # noqa: E402
from trajfmt.sources.discovery import open_source  # noqa: E402

# --- what training scripts write ------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_checkpoints_are_read_in_place(tmp_path: Path, trained: Any, case: Case) -> None:
    """Every tensor is the writer's bit for bit, by its name, and a view of the file; numbers are numeric."""
    folder = case.write(tmp_path / "run", *trained)
    collection, (trajectory,) = opened(folder)
    assert trajectory.numbers == case.numbers
    assert_same(collection, trajectory, trained[0], case.prefix)
    unit = collection.provenance.timestep
    assert (unit and unit.kind) == case.unit
    parameters = [case.prefix + name for name in trained[0][0] if name not in BUFFERS]
    assert (names_of(collection) == parameters) is case.ordered
    assert any("do not record the order" in notice for notice in collection.notices) is not case.ordered


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_checkpoints_convert(tmp_path: Path, trained: Any, case: Case) -> None:
    """The bundle has the weights at both ends bit for bit, and says which layout was recognised and why."""
    folder = case.write(tmp_path / "run", *trained)
    events: list[Event] = []
    convert(folder, tmp_path / "out.mct", on_event=events.append)
    assert validate(tmp_path / "out.mct") == []
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert len(bundle) == 1
        assert bundle[0].timesteps == 4
        for t, state in ((0, trained[0][0]), (3, trained[0][3])):
            for name, array in bundle.layout.split(bundle[0].at(t)).items():
                np.testing.assert_array_equal(array, state[name.removeprefix(case.prefix)].numpy())
    title = {"checkpoints": "checkpoints of a run", "step-folders": "folders of steps"}[case.layout]
    (found,) = [event.message for event in events if event.kind == "found"]
    assert found.startswith(title)


def test_no_torch_is_needed(tmp_path: Path, trained: Any) -> None:
    """Zip checkpoints with optimizer states are read where torch cannot be imported."""
    folder = foreign.lightning(tmp_path / "run", *trained)
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from trajfmt.convert.run import convert\n"
        "convert(sys.argv[1], sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", script, folder, tmp_path / "out.mct"], check=True)
    assert validate(tmp_path / "out.mct") == []


def test_what_is_not_read_is_said_in_one_remark(tmp_path: Path, trained: Any) -> None:
    """Optimizer states, in files of their own and inside of checkpoints, are named once."""
    folder = CASES["hf"].write(tmp_path / "hf", *trained)
    (remark,) = [n for n in open_source(folder).notices if "not read" in n]
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "training_args.bin"):
        assert name in remark
    folder = foreign.torchvision(tmp_path / "tv", *trained)
    (remark,) = [n for n in open_source(folder).notices if "not read" in n]
    assert "`optimizer`, `lr_scheduler`, `epoch`" in remark
    assert [n for n in open_source(folder).notices if n.startswith("left out: checkpoint.pth")]


def test_what_is_exported_comes_back(tmp_path: Path) -> None:
    """Two runs exported as checkpoints convert to the same weights, numbers, buffers and order."""
    for seed in range(2):
        states = foreign.training(3, seed)[0]
        foreign.plain(tmp_path / f"runs/{seed}", dict(zip((10, 20, 40), states, strict=True)))
    convert(tmp_path / "runs", tmp_path / "one.mtt")
    with trajfmt.open(tmp_path / "one.mtt") as bundle:
        export(bundle, tmp_path / "out", to="checkpoints")
    convert(tmp_path / "out", tmp_path / "two.mtt")
    with trajfmt.open(tmp_path / "one.mtt") as one, trajfmt.open(tmp_path / "two.mtt") as two:
        assert one.layout == two.layout
        for ours, theirs in zip(one, two, strict=True):
            assert ours.numbers == theirs.numbers == (10, 20, 40)
            for t in range(3):
                np.testing.assert_array_equal(ours.at(t), theirs.at(t))
                for name, array in ours.buffers(t).items():
                    np.testing.assert_array_equal(array, theirs.buffers(t)[name])


# --- buffers --------------------------------------------------------------------------------------------


def test_what_is_appended_counts_the_same_and_has_the_same_type(tmp_path: Path, trained: Any) -> None:
    """Epochs are not added to steps, nor float32 weights to bfloat16 knots without `--dtype`."""
    target = tmp_path / "out.mct"
    states = dict(enumerate(trained[0], 1))
    convert(foreign.plain(tmp_path / "a", states), target, ConvertOptions(dtype="BF16"))
    more = dict(enumerate(foreign.training(4, seed=5)[0], 1))
    epochs = foreign.plain(tmp_path / "b", more, "epoch_{}.pt")
    steps = foreign.plain(tmp_path / "c", more)
    with pytest.raises(UsageError, match="the bundle stores BF16, but the source has F32; pass --dtype bf16"):
        convert(steps, target, ConvertOptions(append=True))
    with pytest.raises(UsageError, match="its timesteps are steps, the source's are epochs"):
        convert(epochs, target, ConvertOptions(append=True, dtype="BF16"))
    convert(steps, target, ConvertOptions(append=True, dtype="BF16"))
    assert not validate(target)


# --- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["plain", "safetensors"])
def test_more_checkpoints_than_descriptors(tmp_path: Path, trained: Any, case: str) -> None:
    """One line that says what to do; looking at them needs few."""
    states = {t: trained[0][t % 4] for t in range(100)}
    folder = (foreign.plain if case == "plain" else foreign.tensors)(tmp_path / "run", states)
    limited = f"ulimit -n 64; exec {sys.executable} -m traj_cli.traj"
    for command in (f"inspect {folder}", f"convert {folder} {tmp_path / 'out.mct'}"):
        done = subprocess.run(["bash", "-c", f"{limited} {command}"], capture_output=True, text=True)
        assert "Traceback" not in done.stderr
        assert (done.returncode == 0) is command.startswith("inspect")
    (line,) = [line for line in done.stderr.splitlines() if "error" in line]
    assert "ulimit -n" in line
    assert not (tmp_path / "out.mct").exists()


@pytest.mark.parametrize("case", ["plain", "lightning", "safetensors", "hf", "hf_shards"])
def test_truncated_files(tmp_path: Path, trained: Any, case: str) -> None:
    """A file that ends early is named, at whatever byte it ends; with --keep-going the rest converts."""
    folder = CASES[case].write(tmp_path / "run", *trained)
    pattern = {"plain": "*.pt", "lightning": "epoch*.ckpt"}.get(case, "**/*.safetensors")
    victim = sorted(folder.glob(pattern))[1]
    data = victim.read_bytes()
    for length in (0, 5, 100, len(data) // 2, len(data) - 1):
        victim.write_bytes(data[:length])
        with pytest.raises(CorruptError) as caught:
            convert(folder, tmp_path / "out.mct")
        assert caught.value.reason in ("source_truncated", "source_invalid")
        assert victim.name in str(caught.value)
        assert "\n" not in str(caught.value)
    events: list[Event] = []
    convert(folder, tmp_path / "out.mct", ConvertOptions(keep_going=True), on_event=events.append)
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert bundle[0].timesteps == 3
    assert [e for e in events if e.kind == "notice" and "left out" in e.message and "step" not in e.kind]

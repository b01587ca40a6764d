"""Recording a module in training: the same files as a conversion of all timesteps."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import trajfmt
from tests.helpers.folders import contents
from trajfmt import SourceError, UsageError
from trajfmt.errors import UnsavedError


def test_recorder_of_a_module_equals_the_converted_buffer(tmp_path: Path) -> None:
    """A plain training loop, recorded and saved as MTT does: the same files apart from provenance."""
    torch = pytest.importorskip("torch")
    from trajfmt.convert.options import ConvertOptions
    from trajfmt.convert.run import convert
    from trajfmt.torch import Recorder

    torch.manual_seed(0)
    x, y = torch.randn(64, 3, 8, 8), torch.randint(0, 10, (64,))
    for number in range(2):
        network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 32, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.Flatten(),
            torch.nn.Linear(2048, 10),
        )
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        steps = [[p.detach().clone() for p in network.parameters()]]
        with Recorder(network, tmp_path / "recorded.mct", knots=(2, 5), every=2) as recorder:
            for step in range(1, 17):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(network(x), y).backward()
                optimizer.step()
                recorder.step()
                if step % 2 == 0:
                    steps.append([p.detach().clone() for p in network.parameters()])
        (tmp_path / "buffer").mkdir(exist_ok=True)
        torch.save([steps], tmp_path / "buffer" / f"replay_buffer_{number}.pt")
    convert(tmp_path / "buffer", tmp_path / "converted.mct", ConvertOptions(knots=(2, 5)))
    with trajfmt.open(tmp_path / "recorded.mct") as ours, trajfmt.open(tmp_path / "converted.mct") as theirs:
        assert len(ours) == len(theirs) == 2
        for one, other in zip(ours, theirs, strict=True):
            assert [one.knot(k).tobytes() for k in range(4)] == [other.knot(k).tobytes() for k in range(4)]
            assert one.u.tobytes() == other.u.tobytes()
            assert one.step_norms.tobytes() == other.step_norms.tobytes()


def test_dir_shows_what_is_public() -> None:
    """Of the module with torch, too."""
    pytest.importorskip("torch")
    import trajfmt.torch

    assert dir(trajfmt.torch) == sorted(trajfmt.torch.__all__)


def test_recorder_of_one_run_writes_the_same_bytes(tmp_path: Path) -> None:
    """One trajectory: the numbers of knots and tables are byte for byte those of the conversion."""
    torch = pytest.importorskip("torch")
    from trajfmt.convert.run import convert
    from trajfmt.torch import Recorder

    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Linear(7, 2))
    steps = [[p.detach().clone() for p in network.parameters()]]
    with Recorder(network, tmp_path / "recorded.mct") as recorder:
        for _ in range(6):
            with torch.no_grad():
                for p in network.parameters():
                    p.add_(torch.randn_like(p) * 0.1)
            recorder.step()
            steps.append([p.detach().clone() for p in network.parameters()])
    torch.save([steps], tmp_path / "replay_buffer_0.pt")
    convert(tmp_path / "replay_buffer_0.pt", tmp_path / "converted.mct")
    ours, theirs = (contents(tmp_path / name) for name in ("recorded.mct", "converted.mct"))
    manifests = [json.loads(files.pop("manifest.json")) for files in (ours, theirs)]
    tables = [
        h5py.File(tmp_path / name / "tables/00000.h5")["00000"] for name in ("recorded.mct", "converted.mct")
    ]
    for name in ("u", "step_norms"):
        assert tables[0][name][()].tobytes() == tables[1][name][()].tobytes()
    data = [manifest["trajectories"][0]["data"] for manifest in manifests]
    # A foreign buffer has no parameter names, so labels and headers differ; the weights do not.
    assert ours["knots/00000.safetensors"][data[0] :] == theirs["knots/00000.safetensors"][data[1] :]


@pytest.mark.parametrize("knots", [(), (2, 4)])
def test_recorder_keeps_module_buffers_as_a_conversion_does(tmp_path: Path, knots: tuple[int, ...]) -> None:
    """Batch-norm statistics at every knot: the files are those of saved state dicts, byte for byte."""
    torch = pytest.importorskip("torch")
    from trajfmt.convert.options import ConvertOptions
    from trajfmt.convert.run import convert
    from trajfmt.torch import Recorder

    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))
    network.register_buffer("seen", torch.zeros(2, dtype=torch.bool))
    network.register_buffer("temporary", torch.zeros(2), persistent=False)
    (tmp_path / "run").mkdir()
    torch.save(network.state_dict(), tmp_path / "run" / "step_0.pt")
    with Recorder(network, tmp_path / "recorded.mct", knots=knots) as recorder:
        for step in range(1, 7):
            network(torch.randn(8, 4)).square().mean().backward()
            with torch.no_grad():
                for p in network.parameters():
                    p.sub_(0.1 * p.grad)
            network.seen[0] = step % 2
            recorder.step()
            torch.save(network.state_dict(), tmp_path / "run" / f"step_{step}.pt")
    convert(tmp_path / "run", tmp_path / "converted.mct", ConvertOptions(knots=knots))
    ours, theirs = (contents(tmp_path / name) for name in ("recorded.mct", "converted.mct"))
    for files in (ours, theirs):
        del files["manifest.json"]
    assert ours == theirs
    with trajfmt.open(tmp_path / "recorded.mct") as bundle:
        for t, counted in ((0, 0), (3, 2 if knots else 0), (6, 6)):
            held = bundle[0].buffers(t)
            assert held["1.num_batches_tracked"] == counted
            assert sorted(held) == ["1.num_batches_tracked", "1.running_mean", "1.running_var", "seen"]


def test_recorder_keeps_narrow_buffers_and_refuses_others_before_the_training(tmp_path: Path) -> None:
    """A bfloat16 buffer is kept bit for bit; a type that no bundle holds is an error at construction."""
    torch = pytest.importorskip("torch")
    from trajfmt.torch import Recorder

    network = torch.nn.Linear(3, 2)
    network.register_buffer("scale", torch.tensor([1.5, -2.0], dtype=torch.bfloat16))
    with Recorder(network, tmp_path / "out.mct") as recorder:
        with torch.no_grad():
            network.weight.add_(1.0)
        recorder.step()
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        held = bundle[0].buffers(1)["scale"]
        assert (held.dtype.name, held.astype("f4").tolist()) == ("bfloat16", [1.5, -2.0])
    network.register_buffer("phases", torch.zeros(2, dtype=torch.complex128))
    with pytest.raises(UsageError, match=r"`phases` is torch\.complex128"):
        Recorder(network, tmp_path / "other.mct")


def test_recorder_saves_nothing_on_an_error(tmp_path: Path) -> None:
    """A run that fails leaves no trajectory, and the bundle of earlier runs as it was."""
    torch = pytest.importorskip("torch")
    from trajfmt.torch import Recorder

    def train(fail: bool) -> None:
        network = torch.nn.Linear(3, 2)
        with Recorder(network, tmp_path / "out.mct") as recorder:
            with torch.no_grad():
                network.weight.add_(1.0)
            recorder.step()
            if fail:
                raise ArithmeticError

    with pytest.raises(ArithmeticError):
        train(fail=True)
    assert not (tmp_path / "out.mct").exists()
    train(fail=False)
    before = contents(tmp_path / "out.mct")
    with pytest.raises(ArithmeticError):
        train(fail=True)
    assert contents(tmp_path / "out.mct") == before
    train(fail=False)
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert len(bundle) == 2


def test_recorder_refuses_early(tmp_path: Path) -> None:
    """Another suffix, half precision, no step: one clear error each, before training."""
    torch = pytest.importorskip("torch")
    from trajfmt.torch import Recorder

    network = torch.nn.Linear(3, 2)
    with pytest.raises(UsageError, match=r"end the path in \.mct"):
        Recorder(network, tmp_path / "out.mtt")
    with pytest.raises(UsageError, match="`every` must be >= 1"):
        Recorder(network, tmp_path / "out.mct", every=0)
    with pytest.raises(TypeError, match=r"`every` must be a whole number, got 2\.5"):
        Recorder(network, tmp_path / "out.mct", every=2.5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="float32"):
        Recorder(network.half(), tmp_path / "out.mct")


def test_recorder_takes_knots_once(tmp_path: Path) -> None:
    """An iterator of knots is read at construction, for the measuring and for the bundle."""
    torch = pytest.importorskip("torch")
    from trajfmt.torch import Recorder

    network = torch.nn.Linear(2, 1)
    with Recorder(network, tmp_path / "a.mct", knots=iter((1, 2))) as recorder:  # type: ignore[arg-type]
        for _ in range(3):
            with torch.no_grad():
                network.bias += 1
            recorder.step()
    assert trajfmt.open(tmp_path / "a.mct")[0].knots == (0, 1, 2, 3)


def test_recorder_reads_parameters_by_name(tmp_path: Path) -> None:
    """Pruning that is made permanent registers a parameter again, last; its weights stay in their place."""
    torch = pytest.importorskip("torch")
    from torch.nn.utils import prune

    from trajfmt.torch import Recorder

    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    order = [name for name, _ in network.named_parameters()]
    with Recorder(network, tmp_path / "a.mct") as recorder:
        prune.l1_unstructured(network[0], "weight", amount=0.5)
        prune.remove(network[0], "weight")
        recorder.step()
    assert [name for name, _ in network.named_parameters()] != order
    with trajfmt.open(tmp_path / "a.mct") as bundle:
        stored = bundle.layout.split(bundle[0].at(1))
    assert list(stored) == order
    for name, value in network.named_parameters():
        assert stored[name].tobytes() == value.detach().numpy().tobytes()


@pytest.mark.parametrize("change", ["shape", "name", "more", "type"])
def test_recorder_refuses_a_changed_network(tmp_path: Path, change: str) -> None:
    """Of the same size, too; what was recorded before can still be saved."""
    torch = pytest.importorskip("torch")
    from trajfmt.torch import Recorder

    network = torch.nn.Sequential(torch.nn.Linear(4, 3, bias=False), torch.nn.Linear(3, 2))
    recorder = Recorder(network, tmp_path / "a.mct")
    with torch.no_grad():
        network[1].bias += 1
    recorder.step()
    kept = network[1].bias.detach().numpy().tobytes()
    if change == "shape":
        network[0] = torch.nn.Linear(3, 4, bias=False)
        words = "`0.weight` must be (3, 4) F32, got (4, 3) F32"
    elif change == "name":
        weight = network[0].weight
        del network[0].weight
        network[0].register_parameter("kernel", weight)
        words = "`0.weight` must be (3, 4) F32, got none"
    elif change == "more":
        network[0].bias = torch.nn.Parameter(torch.ones(3))
        words = "`0.bias` must be absent, got (3,) F32"
    else:
        network[1].half()
        words = "`1.weight` must be (2, 3) F32, got (2, 3) F16"
    with pytest.raises(SourceError, match=re.escape(words)) as caught:
        recorder.step()
    assert caught.value.reason == "mixed_architectures"
    assert "\n" not in str(caught.value)
    recorder.save()
    with trajfmt.open(tmp_path / "a.mct") as bundle:
        assert bundle[0].timesteps == 2
        assert bundle.layout.split(bundle[0].at(1))["1.bias"].tobytes() == kept


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"dataset": "MNIST"}, "its dataset is CIFAR10, `provenance` says MNIST; choose another path"),
        ({"recipe": {"lr": 0.1}}, "its recipe is unknown, `provenance` says lr 0.1"),
        ({"timestep": trajfmt.TimestepUnit(kind="step")}, "its timestep is kind step, every 5, `provenance`"),
        ({"dataset": "CIFAR10"}, None),
        ({"timestep": trajfmt.TimestepUnit(kind="step", every=5)}, None),
    ],
)
def test_recorder_refuses_facts_that_the_bundle_does_not_state(
    tmp_path: Path, facts: dict[str, object], words: str | None
) -> None:
    """Before the training, and when it saves to a bundle that came later; nothing is dropped."""
    torch = pytest.importorskip("torch")
    from trajfmt.torch import Recorder

    known = trajfmt.Provenance(dataset="CIFAR10", timestep=trajfmt.TimestepUnit(kind="step", every=5))
    given = trajfmt.Provenance(**facts)  # type: ignore[arg-type]
    recorders = []
    network = torch.nn.Linear(2, 1)

    def train(path: Path, provenance: trajfmt.Provenance | None) -> Recorder:
        recorder = Recorder(network, path, provenance=provenance)
        with torch.no_grad():
            network.bias += 1
        recorder.step()
        return recorder

    recorders.append(train(tmp_path / "a.mct", given))
    train(tmp_path / "a.mct", known).save()
    train(tmp_path / "a.mct", None).save()
    if words is None:
        recorders.append(train(tmp_path / "a.mct", given))
        assert [each.save() for each in recorders] == [2, 3]
        return
    with pytest.raises(UsageError, match=re.escape(words)):
        Recorder(network, tmp_path / "a.mct", provenance=given)
    with pytest.raises(UnsavedError, match=re.escape(words)):
        recorders[0].save()
    assert len(trajfmt.open(tmp_path / "a.mct", verify=True)) == 2


def test_recorder_refuses_timesteps_that_cannot_be_those_of_the_bundle(tmp_path: Path) -> None:
    """Every second call is not every fifth step: before the training, and at a bundle that came later."""
    torch = pytest.importorskip("torch")
    from trajfmt.torch import Recorder

    network = torch.nn.Linear(2, 1)
    known = trajfmt.Provenance(timestep=trajfmt.TimestepUnit(kind="step", every=5))
    early = Recorder(network, tmp_path / "a.mct", every=2)
    for provenance in (known, None):
        recorder = Recorder(network, tmp_path / "a.mct", every=5, provenance=provenance)
        for _ in range(10):
            with torch.no_grad():
                network.bias += 1
            recorder.step()
            early.step()
        recorder.save()
    words = "its timesteps are 5 steps apart, which is no multiple of `every`, 2; record"
    for path, facts in ((tmp_path / "a.mct", None), (tmp_path / "b.mct", known)):
        with pytest.raises(UsageError, match=words):
            Recorder(network, path, every=2, provenance=facts)
    with pytest.raises(UnsavedError, match=words):
        early.save()
    assert len(trajfmt.open(tmp_path / "a.mct", verify=True)) == 2


@pytest.mark.parametrize("first", [True, False])
def test_recorder_says_if_only_some_trajectories_have_buffers(tmp_path: Path, first: bool) -> None:
    """A warning after the trajectory is stored, as a conversion gives a note."""
    torch = pytest.importorskip("torch")
    from trajfmt.torch import Recorder

    def train(buffers: bool) -> None:
        network = torch.nn.Linear(2, 1)
        if buffers:
            network.register_buffer("seen", torch.zeros(1))
        with Recorder(network, tmp_path / "a.mct") as recorder:
            with torch.no_grad():
                network.bias += 1
            recorder.step()

    train(first)
    train(first)
    told, ours = ("2 of 2", "none") if first else ("0 of 2", "some")
    words = f"a.mct: {told} trajectories of the bundle have module buffers; the recorded network has {ours}"
    with pytest.warns(UserWarning, match=words):
        train(not first)
    assert len(trajfmt.open(tmp_path / "a.mct", verify=True)) == 3


def test_recorder_refuses_a_provenance_before_the_training(tmp_path: Path) -> None:
    """One that could not be written would lose what was recorded."""
    torch = pytest.importorskip("torch")
    from trajfmt.torch import Recorder

    wrong = trajfmt.Preprocessing(kind="normalize", mean=[0.5], std=[0.0])
    with pytest.raises(UsageError, match="deviations must be > 0"):
        Recorder(
            torch.nn.Linear(2, 1), tmp_path / "a.mct", provenance=trajfmt.Provenance(preprocessing=wrong)
        )
    with pytest.raises(TypeError, match="`provenance` must be a Provenance, got dict"):
        Recorder(torch.nn.Linear(2, 1), tmp_path / "a.mct", provenance={"dataset": "MNIST"})  # type: ignore[arg-type]


def test_recorder_refuses_a_bundle_with_other_layers(tmp_path: Path) -> None:
    """A recorder makes one layer of every tensor."""
    torch = pytest.importorskip("torch")
    from trajfmt.torch import Recorder, layout_of

    network = torch.nn.Linear(2, 1)
    layout = layout_of(network, layers="all")
    with trajfmt.create(tmp_path / "a.mct", layout, encoding="convex") as writer:
        writer.add(trajfmt.ArrayTrajectory(np.eye(3, dtype=np.float32)[:2], layout))
    with pytest.raises(UsageError, match="the bundle has 1 layer, a recorder makes one of every tensor"):
        Recorder(network, tmp_path / "a.mct")
    assert len(trajfmt.open(tmp_path / "a.mct", verify=True)) == 1


def _train(path: Path, steps: int, **options: Any) -> None:
    """Record a training of some steps, at whose end a folder `gone` vanishes if there is one."""
    torch = pytest.importorskip("torch")
    from trajfmt.torch import Recorder

    network = torch.nn.Linear(2, 1)
    with Recorder(network, path, **options) as recorder:
        for _ in range(steps):
            with torch.no_grad():
                network.bias += 1
            recorder.step()
        if path.parent.name == "gone":
            path.parent.rmdir()


def test_recorder_saves_a_training_that_ended_early(tmp_path: Path) -> None:
    """Without the knots that it did not reach, which a warning names; the block ends without an error."""
    words = "ended at timestep 4, before the end of the segments at 5, 50; trajectory 0 was saved without"
    with pytest.warns(UserWarning, match=words) as told:
        _train(tmp_path / "a.mct", 4, knots=(2, 5, 50))
    assert told[0].filename == __file__
    assert trajfmt.open(tmp_path / "a.mct", verify=True)[0].knots == (0, 2, 4)


def test_recorder_keeps_what_it_cannot_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error at the end of the block names the place."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsavedError, match=r"the trajectory is kept in .*/a-unsaved\.mct"):
        _train(tmp_path / "gone" / "a.mct", 1)
    assert trajfmt.open(tmp_path / "a-unsaved.mct", verify=True)[0].timesteps == 2


def test_recorder_stops_at_the_limit_of_the_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One warning, no error during the training, and the timesteps up to the limit are saved."""
    pytest.importorskip("torch")
    monkeypatch.setattr("trajfmt.bundle.recording.MAX_TIMESTEPS", 4)
    with pytest.warns(UserWarning, match="at most 4 timesteps of this network") as told:
        _train(tmp_path / "a.mct", 7)
    assert len(told) == 1
    assert trajfmt.open(tmp_path / "a.mct")[0].timesteps == 4


def test_recorder_saves_to_another_path(tmp_path: Path) -> None:
    """Any number of times, as the trajectory stays in memory; the other path is checked as the first one."""
    torch = pytest.importorskip("torch")
    from trajfmt.torch import Recorder

    network = torch.nn.Linear(2, 1)
    recorder = Recorder(network, tmp_path / "a.mct")
    with torch.no_grad():
        network.bias += 1
    recorder.step()
    assert (recorder.save(), recorder.save(tmp_path / "b.mct")) == (0, 0)
    assert contents(tmp_path / "a.mct") == contents(tmp_path / "b.mct")
    with pytest.raises(UsageError, match=r"end the path in \.mct"):
        recorder.save(tmp_path / "b.mtt")


def test_recorder_refuses_changed_buffers_at_once(tmp_path: Path) -> None:
    """What could not be written in the end is an error at the step; the timesteps before can be saved."""
    torch = pytest.importorskip("torch")
    from trajfmt.torch import Recorder

    network = torch.nn.Linear(2, 1)
    recorder = Recorder(network, tmp_path / "a.mct")
    with torch.no_grad():
        network.bias += 1
    recorder.step()
    network.register_buffer("cache", torch.zeros(3))
    with pytest.raises(SourceError, match=r"its module buffer `cache` must be absent, got \(3,\) float32"):
        recorder.step()
    assert recorder.save() == 0


def test_wrappers_are_taken_off(tmp_path: Path) -> None:
    """A conversion of their checkpoints removes their prefixes, too."""
    torch = pytest.importorskip("torch")
    from trajfmt.torch import Recorder, flatten

    network = torch.nn.Linear(2, 1)
    compiled = torch.nn.Module()
    compiled._orig_mod = network  # as torch.compile does, whose import takes seconds
    for number, wrapped in enumerate((torch.nn.DataParallel(network), compiled)):
        path = tmp_path / f"{number}.mct"
        with Recorder(wrapped, path) as recorder:
            with torch.no_grad():
                network.weight += 1
            recorder.step()
        with trajfmt.open(path) as bundle:
            assert [parameter.name for parameter in bundle.layout.parameters] == ["weight", "bias"]
            assert np.array_equal(bundle[0].at(1), flatten(network).numpy())


def test_parameters_that_fsdp_has_split_are_refused(tmp_path: Path) -> None:
    """A process has a part of them, which would be recorded as the network."""
    torch = pytest.importorskip("torch")
    from trajfmt.torch import Recorder

    network = torch.nn.Linear(2, 1)

    class FullyShardedDataParallel(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = network

    network.weight.device_mesh = object()  # as distributed tensors have
    for sharded in (FullyShardedDataParallel(), network):
        with pytest.raises(UsageError, match="FSDP has split the parameters over processes"):
            Recorder(sharded, tmp_path / "a.mct")
    assert list(tmp_path.iterdir()) == []


def test_steps_after_the_last_timestep_are_said(tmp_path: Path) -> None:
    """With `every=2`, the fifth call makes no timestep, and the weights after it are in no bundle."""
    torch = pytest.importorskip("torch")
    from trajfmt.torch import Recorder

    network = torch.nn.Linear(2, 1)
    recorder = Recorder(network, tmp_path / "a.mct", every=2)
    for _ in range(5):
        with torch.no_grad():
            network.weight += 1
        recorder.step()
    with pytest.warns(UserWarning, match=r"the last call of `step` made no timestep \(`every` is 2\)"):
        recorder.save()


def test_recorder_says_what_it_has(tmp_path: Path) -> None:
    """Its path, and how many timesteps were recorded so far."""
    torch = pytest.importorskip("torch")
    from trajfmt.torch import Recorder

    net = torch.nn.Linear(2, 1)
    recorder = Recorder(net, tmp_path / "expert.mct")
    assert repr(recorder) == f"<trajfmt.torch.Recorder '{tmp_path}/expert.mct': 1 timestep, 3 weights F32>"
